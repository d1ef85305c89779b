const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** How long a guest has run since it was switched on: what a snapshot calls its VM clock. Stops do not count. */
export interface GuestClock {
  readonly nanoseconds: bigint;
  start(): void;
  stop(): void;
  /** Goes on from another time: a saved state's, or 0 after a reset. */
  set(nanoseconds: bigint): void;
}

/** @param now milliseconds that never go back. */
export function createGuestClock(now: () => number = () => performance.now()): GuestClock {
  let before = 0n;
  let startedAtMs: number | undefined;
  const sinceStart = () =>
    startedAtMs === undefined ? 0n : BigInt(Math.round((now() - startedAtMs) * NANOSECONDS_PER_MILLISECOND));
  return {
    get nanoseconds() {
      return before + sinceStart();
    },
    start() {
      startedAtMs ??= now();
    },
    stop() {
      before += sinceStart();
      startedAtMs = undefined;
    },
    set(nanoseconds) {
      before = nanoseconds;
      if (startedAtMs !== undefined) startedAtMs = now();
    },
  };
}
