/** Clusters whose counts stand together; ranges without any count take no memory. */
const PAGE_BITS = 12;
const COUNTS_PER_PAGE = 2 ** PAGE_BITS;
const IN_PAGE = COUNTS_PER_PAGE - 1;

type Page = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/**
 * A count for every cluster of a file, at most 2^31 of them: one byte each until a count needs more, and
 * nothing where there are none. Most clusters of most images have a count of 0 or 1, so an image of a
 * terabyte in 64 KiB clusters is counted in 16 MiB.
 *
 * NaN stands for a count that could not be read.
 */
export class ClusterCounts {
  private readonly pages: (Page | undefined)[];

  /** @param clusters how many the file has; a few more may be counted. */
  constructor(clusters: number) {
    this.pages = new Array<Page | undefined>(Math.ceil(clusters / COUNTS_PER_PAGE) + 1).fill(undefined);
  }

  get(cluster: number): number {
    const page = this.pages[cluster >>> PAGE_BITS];
    return page === undefined ? 0 : (page[cluster & IN_PAGE] ?? 0);
  }

  set(cluster: number, count: number): void {
    const index = cluster >>> PAGE_BITS;
    let page = this.pages[index];
    if (page === undefined) {
      if (count === 0) return;
      page = new Uint8Array(COUNTS_PER_PAGE);
      this.pages[index] = page;
    }
    page[cluster & IN_PAGE] = count;
    if (page[cluster & IN_PAGE] !== count) this.widen(index, page, cluster & IN_PAGE, count);
  }

  /**
   * Adds to a count, up to a limit.
   *
   * @returns how much of `amount` did not fit under the limit.
   */
  add(cluster: number, amount: number, limit: number): number {
    const page = this.pages[cluster >>> PAGE_BITS];
    const value = (page?.[cluster & IN_PAGE] ?? 0) + amount;
    if (page !== undefined && value <= limit && value <= 0xff) {
      // Fits a page of any width.
      page[cluster & IN_PAGE] = value;
      return 0;
    }
    if (value <= limit) {
      this.set(cluster, value);
      return 0;
    }
    this.set(cluster, limit);
    return value - limit;
  }

  /** The first cluster at or after `from` and before `end` whose count is not 0; `end` when there is none. */
  nextCounted(from: number, end: number): number {
    for (let at = from; at < end; ) {
      const page = this.pages[at >>> PAGE_BITS];
      const pageEnd = Math.min(end, at - (at & IN_PAGE) + COUNTS_PER_PAGE);
      if (page !== undefined) for (; at < pageEnd; at++) if (page[at & IN_PAGE] !== 0) return at;
      at = pageEnd;
    }
    return end;
  }

  /**
   * Goes through the differences of two sets of counts.
   *
   * @param visit is told of each cluster below `clusters` where the two differ, in order.
   * @returns the last cluster that either counts; 0 when there is none.
   */
  static compare(
    stored: ClusterCounts,
    referenced: ClusterCounts,
    clusters: number,
    visit: (cluster: number, stored: number, referenced: number) => void,
  ): number {
    for (let first = 0; first < clusters; first += COUNTS_PER_PAGE) {
      const a = stored.pages[first >>> PAGE_BITS] ?? NO_COUNTS;
      const b = referenced.pages[first >>> PAGE_BITS] ?? NO_COUNTS;
      if (a === NO_COUNTS && b === NO_COUNTS) continue;
      const end = Math.min(COUNTS_PER_PAGE, clusters - first);
      for (let i = 0; i < end; i++) if (a[i] !== b[i]) visit(first + i, a[i] ?? 0, b[i] ?? 0);
    }
    for (let cluster = clusters - 1; cluster > 0; cluster--) {
      const page = cluster >>> PAGE_BITS;
      if (stored.pages[page] === undefined && referenced.pages[page] === undefined)
        cluster = page * COUNTS_PER_PAGE;
      // Where the stored count cannot be read, nothing is known to be used.
      else if (stored.get(cluster) > 0 || (stored.get(cluster) === 0 && referenced.get(cluster) > 0))
        return cluster;
    }
    return 0;
  }

  private widen(index: number, page: Page, at: number, count: number): void {
    const wider =
      count <= 0xffff
        ? new Uint16Array(COUNTS_PER_PAGE)
        : count <= 0xffffffff
          ? new Uint32Array(COUNTS_PER_PAGE)
          : new Float64Array(COUNTS_PER_PAGE);
    wider.set(page);
    // What was just written over was cut to the old width; every other count is whole.
    wider[at] = count;
    this.pages[index] = wider;
  }
}

const NO_COUNTS = new Uint8Array(COUNTS_PER_PAGE);
