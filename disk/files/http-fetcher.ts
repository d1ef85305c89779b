import { ChunkAssembler } from "./chunk-assembler.ts";
import type { ChunkCache } from "./chunk-cache.ts";
import type { FileIdentity } from "./http-identity.ts";
import { fetchRange } from "./http-range.ts";
import { type ChunkRun, ReadAhead } from "./http-read-ahead.ts";
import type { HttpSource } from "./http-request.ts";
import { settled } from "./single-flight.ts";

/** Furthest to read ahead of a sequential reader. */
const READ_AHEAD_BYTES = 4 * 1024 * 1024;
/** One background request: few enough round trips, and little lost when one fails. */
const BACKGROUND_BYTES = 4 * 1024 * 1024;
/** A chunk this near in a background stream is waited for; one further off is asked for by itself. */
const NEAR_BYTES = 1024 * 1024;

export interface ChunkFetcherOptions {
  source: HttpSource;
  identity: FileIdentity;
  chunkBytes: number;
  cache: ChunkCache;
  /** Bytes came over the wire. */
  received: (bytes: number) => void;
  /** A chunk that was not there before is in the cache. */
  arrived: (bytes: number) => void;
}

/** Someone waits for the chunks; someone soon will; or perhaps nobody does for long. */
type Purpose = "demand" | "ahead" | "background";

/** One request under way. */
interface Flight {
  purpose: Purpose;
  /** The next chunk it will complete. */
  next: number;
  /** Those of its chunks that are still to come. */
  expected: Map<number, Arrival>;
}

interface Arrival {
  flight: Flight;
  promise: Promise<void>;
  /** With an error only when the flight was made on demand: others' failures are no one's. */
  settle: (error?: unknown) => void;
}

/** Brings chunks of a remote file into a cache, with few round trips and none of them twice. */
export class ChunkFetcher {
  private readonly arrivals = new Map<number, Arrival>();
  private readonly flights = new Set<Promise<void>>();
  private readonly readAhead: ReadAhead;
  private readonly chunkCount: number;
  private readonly cache: ChunkCache;
  private wantsAll = false;
  private inBackground = false;

  constructor(private readonly options: ChunkFetcherOptions) {
    this.cache = options.cache;
    this.chunkCount = Math.ceil(options.identity.sizeBytes / options.chunkBytes);
    this.readAhead = new ReadAhead(Math.max(1, Math.floor(READ_AHEAD_BYTES / options.chunkBytes)));
  }

  /** The chunk, if it is there; notes that it was read. */
  get(index: number): Uint8Array | undefined {
    const chunk = this.cache.get(index);
    if (chunk) this.fetchAhead(this.readAhead.touched(index));
    return chunk;
  }

  /**
   * Brings in chunks `first` to `last`.
   *
   * @throws ByreError as `fetchRange`; the next call tries again.
   */
  async load(first: number, last: number): Promise<void> {
    for (;;) {
      this.options.source.signal.throwIfAborted();
      const runs: ChunkRun[] = [];
      const waits: Promise<void>[] = [];
      for (let index = first; index <= last; index++) {
        if (this.cache.has(index)) continue;
        const arrival = this.arrivals.get(index);
        if (arrival && this.isSoon(arrival, index)) waits.push(arrival.promise);
        else extend(runs, index);
      }
      if (runs.length === 0 && waits.length === 0) break;
      for (const run of runs) waits.push(...this.demand(run));
      await Promise.all(waits);
    }
    for (let index = first; index <= last; index++) this.cache.get(index);
    this.cache.trim((last - first + 1) * this.options.chunkBytes);
    this.goOnInBackground();
  }

  /** Fetches everything, in order, behind what is asked for. */
  fetchAll(): void {
    this.wantsAll = true;
    this.goOnInBackground();
  }

  /** Waits for the requests under way to end; the source's signal has ended them. */
  async close(): Promise<void> {
    this.wantsAll = false;
    await Promise.all(this.flights);
  }

  private isSoon({ flight }: Arrival, index: number): boolean {
    return flight.purpose !== "background" || (index - flight.next) * this.options.chunkBytes < NEAR_BYTES;
  }

  private demand(run: ChunkRun): Promise<void>[] {
    const ahead = this.absentAfter(run.first + run.count, this.readAhead.missed(run.first, run.count));
    const flight = this.start({ first: run.first, count: run.count + ahead }, "demand");
    const wanted: Promise<void>[] = [];
    for (let index = run.first; index < run.first + run.count; index++) {
      const arrival = flight.expected.get(index);
      if (arrival) wanted.push(arrival.promise);
    }
    return wanted;
  }

  private fetchAhead(run: ChunkRun | undefined): void {
    if (!run) return;
    const count = this.absentAfter(run.first, run.count);
    if (count > 0) this.start({ first: run.first, count }, "ahead");
  }

  /** How many chunks from `first` on, at most `limit`, are neither there nor under way. */
  private absentAfter(first: number, limit: number): number {
    let count = 0;
    while (count < limit && first + count < this.chunkCount && !this.isKnown(first + count)) count++;
    return count;
  }

  private isKnown(index: number): boolean {
    return this.cache.has(index) || this.arrivals.has(index);
  }

  private start(run: ChunkRun, purpose: Purpose): Flight {
    const flight: Flight = { purpose, next: run.first, expected: new Map() };
    for (let index = run.first; index < run.first + run.count; index++) {
      const arrival = makeArrival(flight);
      flight.expected.set(index, arrival);
      this.arrivals.set(index, arrival);
    }
    const flying = this.fly(flight, run).then(
      () => this.land(flight),
      (error: unknown) => this.land(flight, error),
    );
    this.flights.add(flying);
    void flying.finally(() => this.flights.delete(flying));
    return flight;
  }

  private async fly(flight: Flight, run: ChunkRun): Promise<void> {
    const { source, identity, chunkBytes, received } = this.options;
    const assembler = new ChunkAssembler(chunkBytes, (chunk) => this.arrive(flight, chunk));
    const startBytes = run.first * chunkBytes;
    const endBytes = Math.min(startBytes + run.count * chunkBytes, identity.sizeBytes);
    // Priority is all that holds the background back. Pausing it while someone waits was tried, and
    // readers waited longer for it, at 2.5 MB/s as at full speed: 1.1 to 2.7 times as long.
    const priority = flight.purpose === "background" ? "low" : "auto";
    await fetchRange(source, identity, { startBytes, endBytes }, priority, (piece) => {
      received(piece.length);
      assembler.take(piece);
    });
    assembler.finish();
  }

  private arrive(flight: Flight, chunk: Uint8Array): void {
    const index = flight.next++;
    if (!this.cache.has(index)) {
      this.cache.put(index, chunk);
      // Nobody reads what was fetched ahead yet, so it must not push out more than it must.
      if (flight.purpose !== "demand") this.cache.trim();
      this.options.arrived(chunk.length);
    }
    this.settleArrival(index, flight);
  }

  private land(flight: Flight, error?: unknown): void {
    for (const index of [...flight.expected.keys()]) this.settleArrival(index, flight, error);
  }

  private settleArrival(index: number, flight: Flight, error?: unknown): void {
    const arrival = flight.expected.get(index);
    flight.expected.delete(index);
    if (this.arrivals.get(index) === arrival) this.arrivals.delete(index);
    arrival?.settle(error);
  }

  private goOnInBackground(): void {
    if (!this.wantsAll || this.inBackground) return;
    this.inBackground = true;
    void this.fetchRest().finally(() => {
      this.inBackground = false;
    });
  }

  private async fetchRest(): Promise<void> {
    const limit = Math.max(1, Math.floor(BACKGROUND_BYTES / this.options.chunkBytes));
    for (let first = 0; first < this.chunkCount && this.wantsAll; ) {
      const count = this.absentAfter(first, limit);
      if (count === 0) {
        first++;
        continue;
      }
      const flight = this.start({ first, count }, "background");
      const arrivals = [...flight.expected.values()].map(({ promise }) => promise);
      await settled(Promise.all(arrivals));
      // It failed: the next load that goes well starts it again.
      if (flight.next < first + count) return;
      first += count;
    }
  }
}

function makeArrival(flight: Flight): Arrival {
  let settle: Arrival["settle"] = () => {};
  const promise = new Promise<void>((resolve, reject) => {
    settle = (error) => (error !== undefined && flight.purpose === "demand" ? reject(error) : resolve());
  });
  // Those read ahead may have nobody who waits for them.
  promise.catch(() => {});
  return { flight, promise, settle };
}

function extend(runs: ChunkRun[], index: number): void {
  const last = runs.at(-1);
  if (last && last.first + last.count === index) last.count++;
  else runs.push({ first: index, count: 1 });
}
