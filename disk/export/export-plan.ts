import { ENTRY_BYTES, SECTOR_BYTES } from "../qcow2/format.ts";
import { isAllZero } from "../zero-bytes.ts";
import type { ClusterPacker } from "./cluster-packer.ts";
import type { ExportView, PackedPlace } from "./export-view.ts";

/**
 * What becomes of a cluster, in one number, since there are as many as the disk has clusters:
 * 0 it is zeros and nowhere; -1 it is stored plain; -2 - v it is the one that view v has at the same place; above 0 it is
 * stored packed.
 */
export const Stored = { NOWHERE: 0, PLAIN: -1 } as const;

/** Set for data that may begin at any byte; else it begins where it did in its sector. */
const ANYWHERE = 2 ** 30;

/**
 * Packed data taken over as it is has a length that is only known in whole sectors. Beginning in its sector where
 * it did, it has the same length in the copy, and copies of copies do not grow.
 */
export function packedAsItWas({ entry }: PackedPlace): number {
  return entry.lengthBytes * SECTOR_BYTES + (entry.hostOffsetBytes % SECTOR_BYTES);
}

export function packedAnew(lengthBytes: number): number {
  return ANYWHERE + lengthBytes * SECTOR_BYTES;
}

export function packedLength(stored: number): number {
  return Math.floor((stored % ANYWHERE) / SECTOR_BYTES);
}

export function isPackedAnew(stored: number): boolean {
  return stored >= ANYWHERE;
}

/** Where packed data begins when the next free byte is at `offsetBytes`. */
export function packedStart(stored: number, offsetBytes: number): number {
  if (isPackedAnew(stored)) return offsetBytes;
  const wait = (stored % SECTOR_BYTES) - (offsetBytes % SECTOR_BYTES);
  return offsetBytes + (wait < 0 ? wait + SECTOR_BYTES : wait);
}

export function sharedWith(viewIndex: number): number {
  return -2 - viewIndex;
}

/** The view whose cluster it is, where it is shared. */
export function sharedView(stored: number): number | undefined {
  return stored <= -2 ? -2 - stored : undefined;
}

/** Clusters that one L2 table covers: of each view what becomes of them, where anything is stored. */
export interface PlannedRange {
  readonly index: number;
  readonly views: readonly (Int32Array | undefined)[];
}

/** How many clusters are packed at once, where that is done elsewhere. */
export const PACKED_AT_ONCE = 8;

/**
 * Looks at what one L2 table of each view covers. Data is read only where it is to be packed, or might be zeros.
 *
 * @param advance told of every few clusters that were looked at.
 */
export async function planRange(
  index: number,
  views: readonly ExportView[],
  packer: ClusterPacker,
  advance: (clusters: number) => Promise<void>,
): Promise<PlannedRange | undefined> {
  const planned: (Int32Array | undefined)[] = [];
  for (const viewIndex of views.keys())
    planned.push(await planTable(index, viewIndex, views, planned, packer, advance));
  return planned.some((table) => table) ? { index, views: planned } : undefined;
}

async function planTable(
  range: number,
  viewIndex: number,
  views: readonly ExportView[],
  earlier: readonly (Int32Array | undefined)[],
  packer: ClusterPacker,
  advance: (clusters: number) => Promise<void>,
): Promise<Int32Array | undefined> {
  const view = views[viewIndex];
  const { clusterSizeBytes } = packer;
  const count = clusterSizeBytes / ENTRY_BYTES;
  const first = range * count;
  if (!view || first >= view.endCluster) return undefined;
  const table = new Int32Array(count);
  const isShared = await share(table, first, viewIndex, views, earlier);
  let waits: Promise<void>[] = [];
  const read = (i: number, packs: boolean) => {
    waits.push(
      readToPlan(view, viewIndex, first + i, packer, packs).then((stored) => {
        table[i] = stored;
      }),
    );
  };
  for (let i = 0; i < count; ) {
    let end = i;
    while (end < count && !isShared[end]) end++;
    if (end === i) {
      i++;
      continue;
    }
    const run = await view.status(first + i, end - i);
    for (let k = i; k < i + run.clusters; k++) {
      const isState = first + k >= view.firstStateCluster;
      const packs = packer.packs(run.kind, isState);
      if (run.kind === "zero") table[k] = Stored.NOWHERE;
      else if (run.packed && packer.takes(run.packed, isState)) table[k] = packedAsItWas(run.packed);
      else if (packs || run.kind === "unknown") read(k, packs);
      else table[k] = Stored.PLAIN;
      if (waits.length < PACKED_AT_ONCE) continue;
      await Promise.all(waits);
      await advance(waits.length);
      waits = [];
    }
    i += run.clusters;
    await advance(0);
  }
  await Promise.all(waits);
  await advance(0);
  return table.some((stored) => stored !== Stored.NOWHERE) ? table : undefined;
}

async function readToPlan(
  view: ExportView,
  viewIndex: number,
  cluster: number,
  packer: ClusterPacker,
  packs: boolean,
): Promise<number> {
  const bytes = new Uint8Array(packer.clusterSizeBytes);
  await view.read(cluster, bytes);
  if (isAllZero(bytes)) return Stored.NOWHERE;
  const packed = packs ? await packer.pack(bytes) : undefined;
  if (!packed) return Stored.PLAIN;
  packer.keep(viewIndex, cluster, packed);
  return packedAnew(packed.length);
}

/** Notes which clusters earlier views have already; says for which that is so. */
async function share(
  table: Int32Array,
  first: number,
  viewIndex: number,
  views: readonly ExportView[],
  earlier: readonly (Int32Array | undefined)[],
): Promise<boolean[]> {
  const isShared: boolean[] = new Array(table.length).fill(false);
  const view = views[viewIndex];
  for (let other = 0; view && other < viewIndex; other++) {
    const otherView = views[other];
    const otherTable = earlier[other];
    // Without a table there is nothing stored to share; but what has the same identity is zeros then.
    if (!otherView || first >= otherView.endCluster) continue;
    const [mine, theirs] = await Promise.all([
      view.identities(first, table.length, otherView.device.sizeBytes),
      otherView.identities(first, table.length, view.device.sizeBytes),
    ]);
    for (let i = 0; i < table.length; i++) {
      if (isShared[i] || mine[i] === undefined || mine[i] !== theirs[i]) continue;
      isShared[i] = true;
      const stored = otherTable?.[i] ?? Stored.NOWHERE;
      table[i] = stored === Stored.NOWHERE || stored <= -2 ? stored : sharedWith(other);
    }
  }
  return isShared;
}
