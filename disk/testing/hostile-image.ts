import { afterEach, beforeEach, expect } from "vitest";
import { ByreError } from "../errors.ts";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { checkQcow2 } from "../qcow2/check.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { HeaderField } from "../qcow2/format.ts";
import { openQcow2, readQcow2Info } from "../qcow2/open.ts";
import { viewOf } from "../qcow2/u64.ts";

export const CLUSTER_BYTES = 4096;
export const SIZE_BYTES = 1024 * 1024;
/** A file as long as the claims made about it, all of it a hole: no claim is refused for the file's length. */
export const SPARSE_BYTES = 2 ** 45;
/** Generous on purpose: what is looked for loops over billions, and tests run on busy machines. */
const MAX_MILLISECONDS = 1000;
const MAX_ARRAY_BYTES = 64 * 1024 * 1024;

const OFFSET_MASK = 0xff_ffff_ffff_fe00n;

/** The largest array asked for since the test began; nothing may be allocated on an image's word. */
let largestArrayBytes = 0;

/** Before each test of the file: looks at how large the arrays are that are made. */
export function watchArrays(): void {
  const Plain = globalThis.Uint8Array;
  function Watched(first: ArrayBuffer, offset?: number, length?: number): Uint8Array {
    if (typeof first === "number") largestArrayBytes = Math.max(largestArrayBytes, first);
    return new Plain(first, offset, length);
  }
  Watched.prototype = Plain.prototype;
  Object.setPrototypeOf(Watched, Plain);
  beforeEach(() => {
    largestArrayBytes = 0;
    globalThis.Uint8Array = Watched as unknown as typeof Plain;
  });
  afterEach(() => {
    globalThis.Uint8Array = Plain;
  });
}

/** Where things stand in the image that the attacks start from. */
export interface Layout {
  readonly l1: number;
  readonly l2: number;
  readonly data: number;
  readonly refcountTable: number;
  readonly refcountBlock: number;
  readonly snapshots: number;
  readonly snapshotL1: number;
}

/** A change to an image. */
export type Edit = (view: DataView, at: Layout) => void;

/** A sound image with data, a compressed cluster (guest cluster 20) and a snapshot, then changed. */
export async function attack(edit: Edit, fileBytes?: number): Promise<MemoryFile> {
  const file = createMemoryFile({ name: "evil.qcow2" });
  await createQcow2(file, { sizeBytes: SIZE_BYTES, clusterSizeBytes: CLUSTER_BYTES });
  const device = await openQcow2(file);
  await device.write(0, new Uint8Array(10 * CLUSTER_BYTES).fill(1));
  await device.createSnapshot({ name: "before" });
  await device.write(0, new Uint8Array(5 * CLUSTER_BYTES).fill(2));
  await device.writeCompressed(20 * CLUSTER_BYTES, new Uint8Array(CLUSTER_BYTES).fill(3));
  await device.flush();
  const bytes = file.toBytes();
  const view = viewOf(bytes);
  const u64 = (offset: number) => Number(view.getBigUint64(offset) & OFFSET_MASK);
  const l1 = u64(HeaderField.L1_OFFSET);
  const refcountTable = u64(HeaderField.REFCOUNT_TABLE_OFFSET);
  const snapshots = u64(HeaderField.SNAPSHOTS_OFFSET);
  edit(view, {
    l1,
    l2: u64(l1),
    data: u64(u64(l1)),
    refcountTable,
    refcountBlock: u64(refcountTable),
    snapshots,
    snapshotL1: u64(snapshots),
  });
  const changed = createMemoryFile({ name: "evil.qcow2", content: bytes });
  if (fileBytes !== undefined) changed.truncate(fileBytes);
  return changed;
}

/** What a victim does with an image, until something is refused. */
export const STEPS = {
  info: async (file: MemoryFile) => void (await readQcow2Info(file)),
  open: async (file: MemoryFile) => void (await openQcow2(file, { writable: false })),
  read: async (file: MemoryFile) => {
    const device = await openQcow2(file, { writable: false });
    await device.read(0, new Uint8Array(Math.min(SIZE_BYTES, device.sizeBytes)));
  },
  write: async (file: MemoryFile) => {
    const device = await openQcow2(file);
    await device.write(0, new Uint8Array(12 * CLUSTER_BYTES).fill(9));
    await device.flush();
  },
  snapshot: async (file: MemoryFile) => {
    const device = await openQcow2(file);
    await device.applySnapshot("before");
    await device.deleteSnapshot("before");
  },
} satisfies Record<string, (file: MemoryFile) => Promise<void>>;

/** Does a step and holds what it took against the limits. */
export async function inBounds<Result>(step: () => Promise<Result>): Promise<Result> {
  const start = process.cpuUsage();
  try {
    return await step();
  } finally {
    const { user, system } = process.cpuUsage(start);
    expect((user + system) / 1000).toBeLessThan(MAX_MILLISECONDS);
    expect(largestArrayBytes).toBeLessThanOrEqual(MAX_ARRAY_BYTES);
  }
}

/** Every other step ends in success or a typed error too, in bounds; so do check and repair. */
export async function survivesAll(file: MemoryFile): Promise<void> {
  const bytes = file.sizeBytes < SPARSE_BYTES ? file.toBytes() : undefined;
  const fresh = () => (bytes ? createMemoryFile({ name: "evil.qcow2", content: bytes }) : file);
  const steps: ((file: MemoryFile) => Promise<unknown>)[] = [
    ...Object.values(STEPS),
    (one: MemoryFile) => checkQcow2(one),
    (one: MemoryFile) => checkQcow2(one, { repair: "leaks" }),
    (one: MemoryFile) => checkQcow2(one, { repair: "all" }),
  ];
  for (const step of steps)
    try {
      await inBounds(() => step(fresh()));
    } catch (error) {
      if (!(error instanceof ByreError) || error.code === "INTERNAL") throw error;
    }
}
