/** A range with how often each of two parties refers to it. */
export interface WeightedRange {
  readonly start: number;
  /** First place after it. */
  readonly end: number;
  readonly active: number;
  readonly inactive: number;
}

/**
 * Cuts ranges that may lie over each other into pieces that do not, each with the sum of the weights over
 * it. So a table that ten thousand snapshots point to is read once.
 *
 * @returns the pieces with any weight, in order.
 */
export function layerRanges(ranges: readonly WeightedRange[]): WeightedRange[] {
  const edges = ranges
    .filter(({ start, end }) => start < end)
    .flatMap(({ start, end, active, inactive }) => [
      { at: start, active, inactive },
      { at: end, active: -active, inactive: -inactive },
    ])
    .sort((a, b) => a.at - b.at);
  const pieces: WeightedRange[] = [];
  let active = 0;
  let inactive = 0;
  let start = 0;
  for (const edge of edges) {
    if (edge.at > start && active + inactive > 0) pieces.push({ start, end: edge.at, active, inactive });
    start = edge.at;
    active += edge.active;
    inactive += edge.inactive;
  }
  return pieces;
}

/** An array of numbers that grows, 8 bytes each. */
export class NumberList {
  private values = new Float64Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.values.length) {
      const longer = new Float64Array(this.values.length * 2);
      longer.set(this.values);
      this.values = longer;
    }
    this.values[this.length++] = value;
  }

  /** The values in rising order, each once. */
  sortedUnique(): Float64Array {
    const sorted = this.values.subarray(0, this.length);
    sorted.sort();
    let kept = 0;
    for (let i = 0; i < sorted.length; i++) {
      const value = sorted[i] ?? 0;
      if (i === 0 || value !== sorted[kept - 1]) sorted[kept++] = value;
    }
    return sorted.subarray(0, kept);
  }

  view(): Float64Array {
    return this.values.subarray(0, this.length);
  }
}

/** Where `value` stands in a rising array that has it. */
export function indexInSorted(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
