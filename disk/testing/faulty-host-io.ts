import type { HostIo } from "../files/host-io.ts";
import { SECTOR_BYTES } from "../files/staged-sectors.ts";

type Unsynced = { offsetBytes: number; bytes: Uint8Array } | { sizeBytes: number };

/** A host in memory that loses power on demand. */
export interface FaultyHostIo extends HostIo {
  /** How many writes, syncs and changes of size it has been asked for. */
  readonly operations: number;
  /** From this operation on (counted from 0) each fails with `code`, until it is set to another number. */
  failFrom: number;
  /** The operations from this one on succeed again. */
  failTo: number;
  failCode: string;
  /** How many things are written and not synced: the sectors of writes, and changes of size. */
  readonly unsynced: number;
  /**
   * What the disk holds after the power went: what was synced, and of the rest those that `survives` names,
   * in the order they were made. A disk writes its cache back in any order, sector by sector.
   */
  afterCrash(survives: (position: number) => boolean): Uint8Array<ArrayBuffer>;
}

export function createFaultyHostIo(content: Uint8Array = new Uint8Array(0)): FaultyHostIo {
  let current = content.slice();
  let synced = content.slice();
  let unsynced: Unsynced[] = [];
  let operations = 0;

  function begin(): void {
    const operation = operations++;
    if (operation < host.failFrom || operation >= host.failTo) return;
    throw Object.assign(new Error(`the host failed with ${host.failCode}`), { code: host.failCode });
  }

  const host: FaultyHostIo = {
    failFrom: Number.POSITIVE_INFINITY,
    failTo: Number.POSITIVE_INFINITY,
    failCode: "EIO",
    get operations() {
      return operations;
    },
    get unsynced() {
      return unsynced.length;
    },
    sizeBytes: () => current.length,
    read(offsetBytes, target) {
      const bytes = current.subarray(offsetBytes, offsetBytes + target.length);
      target.set(bytes);
      return bytes.length;
    },
    async write(offsetBytes, data) {
      begin();
      for (let done = 0; done < data.length; ) {
        const length = Math.min(SECTOR_BYTES - ((offsetBytes + done) % SECTOR_BYTES), data.length - done);
        const change = { offsetBytes: offsetBytes + done, bytes: data.slice(done, done + length) };
        unsynced.push(change);
        current = apply(current, change);
        done += length;
      }
    },
    async sync() {
      begin();
      synced = current.slice();
      unsynced = [];
    },
    async setSize(sizeBytes) {
      begin();
      unsynced.push({ sizeBytes });
      current = apply(current, { sizeBytes });
    },
    close: async () => {},
    afterCrash: (survives) =>
      unsynced.filter((_change, position) => survives(position)).reduce(apply, synced.slice()),
  };
  return host;
}

function apply(before: Uint8Array<ArrayBuffer>, change: Unsynced): Uint8Array<ArrayBuffer> {
  const sizeBytes =
    "sizeBytes" in change
      ? change.sizeBytes
      : Math.max(before.length, change.offsetBytes + change.bytes.length);
  let after = before;
  if (sizeBytes !== before.length) {
    after = new Uint8Array(sizeBytes);
    after.set(before.subarray(0, sizeBytes));
  }
  if ("bytes" in change) after.set(change.bytes, change.offsetBytes);
  return after;
}
