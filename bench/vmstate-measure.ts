import type { Machine } from "../emulator/index.ts";
import type { V86Emulator } from "../emulator/v86-internals.ts";
import { waitForText } from "./wait-for-text.ts";

/** Ours, and the reference's, measured one right after the other. */
export type Pair = readonly [ours: number, reference: number];

/** What saving and loading one machine took. Times in milliseconds. */
export interface StateMeasurements {
  /** Guest stopped by a save, against v86's save_state. */
  readonly stops: readonly Pair[];
  /** A load, against v86's restore_state of the same state from memory. */
  readonly loads: readonly Pair[];
  /** The same of a state that was not the last to be saved or loaded: all that differs comes from storage. */
  readonly storedLoads: readonly Pair[];
  /** Bytes written by a save after ten seconds of idling, against those of the save before. */
  readonly written: readonly Pair[];
  /** Whole saves, from the call to what is durable. */
  readonly saves: readonly number[];
  /** Longest time for which nothing else had a turn: in each save, outside of the guest's stop. */
  readonly blocked: readonly number[];
  /** The same of as much time in which nothing was saved: what the guest itself does. */
  readonly blockedIdle: readonly number[];
}

export interface MeasureOptions {
  readonly pairs: number;
  /** Bytes that have been written to storage so far. */
  readonly writtenBytes: () => number;
  readonly onStep: (what: string) => void;
}

const IDLE_MS = 10_000;
export const PROMPT = "linux:~# ";
/** Changes some of the guest's memory, so that a load has something to put back: 16 MiB, and what find reads. */
const DISTURB = "dd if=/dev/urandom of=/dev/null bs=16M count=1 2>/dev/null; find / -xdev >/dev/null 2>&1";

/**
 * Saves and loads a machine that stands at its prompt.
 *
 * @param reference a machine in the same state, which never runs on: what v86 itself does is measured with it, so
 *   that its own loading does not disturb the disks of the other.
 */
export async function measureStates(
  machine: Machine,
  reference: Machine,
  { pairs, writtenBytes, onStep }: MeasureOptions,
): Promise<StateMeasurements> {
  const v86 = v86Of(reference);
  const watch = watchStops(v86Of(machine));
  const stops: Pair[] = [];
  const loads: Pair[] = [];
  const storedLoads: Pair[] = [];
  const written: Pair[] = [];
  const saves: number[] = [];
  const blocked: number[] = [];
  const blockedIdle: number[] = [];
  await reference.pause();

  const timeReference = async () => {
    const start = performance.now();
    await v86.save_state();
    return performance.now() - start;
  };
  const save = async (name: string) => {
    const before = writtenBytes();
    watch.stops.length = 0;
    const beat = startHeartbeat();
    const start = performance.now();
    await machine.save(name);
    saves.push(performance.now() - start);
    const gaps = beat.stop();
    const stop = watch.stops[0];
    if (!stop) throw new Error("a save did not stop the guest");
    blocked.push(longestOutside(gaps, stop));
    return { stoppedMs: stop.end - stop.start, bytes: writtenBytes() - before };
  };

  // Both once before it counts: the first of each also makes its memory.
  await timeReference();
  const first = await save("first");
  onStep(`first save: ${(first.bytes / 2 ** 20).toFixed(1)} MiB`);
  blocked.length = 0;
  saves.length = 0;
  for (let i = 0; i < Math.min(pairs, 3); i++) {
    const beat = startHeartbeat();
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    blockedIdle.push(longest(beat.stop()));
    const second = await save("idle");
    written.push([second.bytes, first.bytes]);
    onStep(`save after idling: ${(second.bytes / 2 ** 20).toFixed(1)} MiB`);
  }
  for (let i = 0; i < pairs; i++) {
    await run(machine, DISTURB);
    // The order turns, so that a drift within a pair does not favour one of them.
    const early = i % 2 === 0 ? (await save("busy")).stoppedMs : undefined;
    const theirs = await timeReference();
    stops.push([early ?? (await save("busy")).stoppedMs, theirs]);
    onStep(
      `guest stopped ${stops
        .at(-1)
        ?.map((ms) => ms.toFixed(0))
        .join(" against ")} ms`,
    );
  }
  const state = await v86.save_state();
  await v86.restore_state(state);
  const load = async (name: string, i: number): Promise<Pair> => {
    await run(machine, DISTURB);
    const timeLoad = async () => {
      const start = performance.now();
      await machine.load(name);
      return performance.now() - start;
    };
    const early = i % 2 === 0 ? await timeLoad() : undefined;
    const start = performance.now();
    await v86.restore_state(state);
    const theirs = performance.now() - start;
    const pair = [early ?? (await timeLoad()), theirs] as const;
    onStep(`load ${name} ${pair.map((ms) => ms.toFixed(0)).join(" against ")} ms`);
    return pair;
  };
  for (let i = 0; i < pairs; i++) loads.push(await load("busy", i));
  await run(machine, DISTURB);
  await save("other");
  for (let i = 0; i < pairs; i++) storedLoads.push(await load(i % 2 === 0 ? "busy" : "other", i));
  watch.end();
  return { stops, loads, storedLoads, written, saves, blocked, blockedIdle };
}

/** Runs a shell command on a machine that stands at its prompt. */
export async function run(machine: Machine, line: string): Promise<void> {
  const from = machine.serial.text().length;
  machine.serial.send(`${line}; echo do''ne\n`);
  await waitForText(machine, "done\r\n", from);
}

/** The emulator inside a machine: no part of what a machine is to others, and what it is measured against. */
function v86Of(machine: Machine): V86Emulator {
  return (machine as unknown as { parts: { emulator: V86Emulator } }).parts.emulator;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** Notes when the emulator was stopped, and went on. */
function watchStops(emulator: V86Emulator): { readonly stops: Span[]; end(): void } {
  const { stop, run: goOn } = emulator;
  const stops: Span[] = [];
  let start: number | undefined;
  emulator.stop = () => {
    start ??= performance.now();
    return stop.call(emulator);
  };
  emulator.run = () => {
    if (start !== undefined) stops.push({ start, end: performance.now() });
    start = undefined;
    return goOn.call(emulator);
  };
  return {
    stops,
    end() {
      emulator.stop = stop;
      emulator.run = goOn;
    },
  };
}

/** Asks for a turn again and again; the gaps between are how long others kept it from one. */
function startHeartbeat(): { stop(): Span[] } {
  const gaps: Span[] = [];
  const { port1, port2 } = new MessageChannel();
  let last = performance.now();
  port1.onmessage = () => {
    const now = performance.now();
    if (now - last >= 4) gaps.push({ start: last, end: now });
    last = now;
    port2.postMessage(undefined);
  };
  port2.postMessage(undefined);
  return {
    stop() {
      gaps.push({ start: last, end: performance.now() });
      port1.close();
      return gaps;
    },
  };
}

function longest(gaps: readonly Span[]): number {
  return Math.max(0, ...gaps.map(({ start, end }) => end - start));
}

/** Of each gap what lies before and after the span, the longer of the two. */
function longestOutside(gaps: readonly Span[], { start, end }: Span): number {
  return Math.max(
    0,
    ...gaps.map((gap) =>
      gap.end <= start || gap.start >= end
        ? gap.end - gap.start
        : Math.max(0, start - gap.start, gap.end - end),
    ),
  );
}
