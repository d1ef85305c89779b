/** Chunks to fetch, `count` of them from `first` on. */
export interface ChunkRun {
  first: number;
  count: number;
}

/** One place that someone reads on from. */
interface Head {
  /** The chunk after everything asked for at this head. */
  next: number;
  /** How many chunks the last reading ahead took. */
  window: number;
  /** Reading this one says that the reader goes on, and is the time to ask for more. */
  trigger: number;
}

/** A guest reads a few files at once: its own, its tables', its page cache's. */
const MAX_HEADS = 4;

/**
 * Decides how far to read ahead. A lone miss gets nothing more than it asked for; each sign that someone
 * reads on doubles what is fetched, up to `maxChunks`, and asks for it before the reader gets there.
 */
export class ReadAhead {
  /** The most recently used last. */
  private heads: Head[] = [];

  constructor(private readonly maxChunks: number) {}

  /** Of a miss of `count` chunks from `first` on: how many more to fetch after them. */
  missed(first: number, count: number): number {
    const known = this.heads.find((head) => first >= head.next - head.window - 1 && first <= head.next + 1);
    const head = known ?? { next: 0, window: 0, trigger: -1 };
    head.window = known ? this.doubled(known.window) : 0;
    head.next = first + count + head.window;
    head.trigger = first + count;
    this.heads = [...this.heads.filter((other) => other !== head), head].slice(-MAX_HEADS);
    return head.window;
  }

  /** A chunk was read: what to fetch now, if anything. */
  touched(index: number): ChunkRun | undefined {
    const head = this.heads.find(({ trigger, window }) => trigger === index && window > 0);
    if (!head) return undefined;
    const run = { first: head.next, count: this.doubled(head.window) };
    head.trigger = head.next;
    head.window = run.count;
    head.next += run.count;
    return run;
  }

  private doubled(window: number): number {
    return Math.min(Math.max(window * 2, 2), this.maxChunks);
  }
}
