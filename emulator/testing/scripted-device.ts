import type { BlockDevice, ByreError } from "../../disk/index.ts";

export type Operation = "read" | "write" | "flush";

/** A device over another whose requests wait and fail as a test tells it. */
export interface ScriptedDevice extends BlockDevice {
  /** Every request that came to the slow path, and `flush`, in order: `read 512+512`. */
  readonly log: readonly string[];
  /** Requests of this kind wait from now on, until `release`. */
  hold(operation: Operation): void;
  release(operation: Operation): void;
  /** Requests of this kind fail from now on; `undefined` ends it. */
  fail(operation: Operation, error: ByreError | undefined): void;
  /** Resolves when `count` requests of this kind have come since the device was made, held or not. */
  requested(operation: Operation, count: number): Promise<void>;
  /** What `dirtyBytes` says, when set. */
  pretendDirty(bytes: number | undefined): void;
}

/** @param options.immediate whether requests may complete in the call (`readNow`, `writeNow`). */
export function createScriptedDevice(below: BlockDevice, options: { immediate: boolean }): ScriptedDevice {
  const log: string[] = [];
  const held = new Map<Operation, { promise: Promise<void>; open: () => void }>();
  const failures = new Map<Operation, ByreError>();
  const counts = { read: 0, write: 0, flush: 0 };
  const watchers: (() => void)[] = [];
  let dirtyBytes: number | undefined;

  const pass = async (operation: Operation, detail: string) => {
    log.push(`${operation}${detail}`);
    counts[operation]++;
    for (const watch of [...watchers]) watch();
    await held.get(operation)?.promise;
    const failure = failures.get(operation);
    if (failure) throw failure;
  };
  const immediate = (operation: Operation) =>
    options.immediate && !held.has(operation) && !failures.has(operation);
  return {
    log,
    name: below.name,
    sizeBytes: below.sizeBytes,
    writable: below.writable,
    get dirtyBytes() {
      return dirtyBytes ?? below.dirtyBytes;
    },
    readNow: (offset, target) => immediate("read") && below.readNow(offset, target),
    writeNow: (offset, data) => immediate("write") && below.writeNow(offset, data),
    async read(offset, target) {
      await pass("read", ` ${offset}+${target.length}`);
      await below.read(offset, target);
    },
    async write(offset, data) {
      await pass("write", ` ${offset}+${data.length}`);
      await below.write(offset, data);
    },
    async flush() {
      await pass("flush", "");
      await below.flush();
    },
    writeZeroes: (offset, length, zeroOptions) => below.writeZeroes(offset, length, zeroOptions),
    discard: (offset, length) => below.discard(offset, length),
    blockStatus: (offset, length) => below.blockStatus(offset, length),
    close: () => below.close(),
    hold(operation) {
      let open = () => {};
      const promise = new Promise<void>((resolve) => {
        open = resolve;
      });
      held.set(operation, { promise, open });
    },
    release(operation) {
      held.get(operation)?.open();
      held.delete(operation);
    },
    fail(operation, error) {
      if (error) failures.set(operation, error);
      else failures.delete(operation);
    },
    requested(operation, count) {
      return new Promise((resolve) => {
        const watch = () => {
          if (counts[operation] < count) return;
          const index = watchers.indexOf(watch);
          if (index >= 0) watchers.splice(index, 1);
          resolve();
        };
        watchers.push(watch);
        watch();
      });
    },
    pretendDirty(bytes) {
      dirtyBytes = bytes;
    },
  };
}
