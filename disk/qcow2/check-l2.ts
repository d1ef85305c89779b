import type { ReferenceCounter, Say } from "./check-counter.ts";
import type { CheckedImage } from "./check-image.ts";
import type { StoredCounts } from "./check-refcounts.ts";
import { hex64, type Tally } from "./check-tally.ts";
import { SECTOR_BYTES } from "./format.ts";
import { isCompressed } from "./l2-entry.ts";

const TWO_32 = 2 ** 32;
const OFFSET_HI_MASK = 0x00ffffff;
const OFFSET_LO_MASK = 0xfffffe00;
const RESERVED_HI = 0x3f000000;
const RESERVED_LO = 0x1fe;
const ZERO_LO = 1;

/** What reading L2 tables needs and adds to. */
export interface L2Check {
  readonly image: CheckedImage;
  readonly counter: ReferenceCounter;
  readonly tally: Tally;
  /** Entries that a repair can turn into zeros are left out of the count and returned. */
  readonly fix: boolean;
  /** To hold the COPIED flags against, where that is done in the same pass. */
  readonly stored: StoredCounts | undefined;
  /** Wrong COPIED flags so far. */
  copiedErrors: number;
}

/** One L2 table, and how often L1 tables point to it. */
export interface L2Visit {
  readonly offsetBytes: number;
  readonly active: number;
  readonly inactive: number;
  /** Whether its entries' COPIED flags count: not where nothing is known of the table's own cluster. */
  readonly flags: boolean;
  readonly say: Say;
  readonly sayCopied: Say;
}

/**
 * Checks the entries of one L2 table and counts what they refer to.
 *
 * The zero flag is honoured in version 2 images too, as QEMU does.
 *
 * @param table the table's bytes.
 * @returns indexes of entries that are to become plain zeros: preallocated clusters that are not aligned.
 */
export function checkL2Table(check: L2Check, table: DataView, visit: L2Visit): number[] | undefined {
  const { image, counter, tally, fix, stored } = check;
  const { active, say } = visit;
  const times = active + visit.inactive;
  const { clusterSizeBytes, l2EntryBytes } = image;
  const extended = l2EntryBytes === 16;
  const inCluster = clusterSizeBytes - 1;
  const perByte = 1 / clusterSizeBytes;
  const entries = clusterSizeBytes / l2EntryBytes;
  let fixes: number[] | undefined;
  let expectedOffset = 0;
  // Most entries of most tables are 0; whole words tell that fastest, whatever their byte order.
  const words = new Uint32Array(table.buffer, table.byteOffset, clusterSizeBytes / 4);
  const entryWords = l2EntryBytes / 4;
  for (let index = 0, word = 0; index < entries; index++, word += entryWords) {
    if (words[word] === 0 && words[word + 1] === 0 && (!extended || words[word + 3] === 0)) continue;
    const at = word * 4;
    const hi = table.getUint32(at);
    const lo = table.getUint32(at + 4);
    const zeroBits = extended ? table.getUint32(at + 8) : 0;
    const dataBits = extended ? table.getUint32(at + 12) : 0;
    if (isCompressed(hi)) {
      checkCompressed(check, hi, lo, index, zeroBits | dataBits, visit);
      continue;
    }
    if (hi & RESERVED_HI || lo & RESERVED_LO) {
      tally.corruptions += times;
      say?.(`ERROR found l2 entry with reserved bits set: ${hex64(hi, lo)}`);
    }
    const offset = (hi & OFFSET_HI_MASK) * TWO_32 + ((lo & OFFSET_LO_MASK) >>> 0);
    if (offset === 0) {
      if (dataBits !== 0) {
        tally.corruptions += times;
        say?.("ERROR: Unallocated cluster has non-zero subcluster allocation map");
      }
      continue;
    }
    if ((zeroBits & dataBits) !== 0) {
      tally.corruptions += times;
      say?.(
        `ERROR offset=${offset.toString(16)}: Allocated cluster has corrupted subcluster allocation bitmap`,
      );
    }
    const unaligned = (lo & OFFSET_LO_MASK & inCluster) !== 0;
    if (unaligned) {
      const holdsData = extended ? dataBits !== 0 : (lo & ZERO_LO) === 0;
      const text = offset.toString(16);
      if (holdsData) {
        tally.corruptions += times;
        say?.(`ERROR offset=${text}: Data cluster is not properly aligned; L2 entry corrupted.`);
      } else {
        say?.(
          `${fix ? "Repairing" : "ERROR"} offset=${text}: Preallocated cluster is not properly aligned; L2 entry corrupted.`,
        );
        if (fix) {
          fixes ??= [];
          fixes.push(index);
          continue;
        }
        tally.corruptions += times;
      }
    }
    if (active > 0) {
      tally.allocatedClusters += active;
      if (expectedOffset !== 0 && offset !== expectedOffset) tally.fragmentedClusters += active;
      expectedOffset = offset + clusterSizeBytes;
    }
    const cluster = Math.floor(offset * perByte);
    if (unaligned || counter.isBeyond(offset, clusterSizeBytes))
      counter.countRange(offset, clusterSizeBytes, times, say);
    else counter.countCluster(cluster, times);
    if (active > 0 && visit.flags && stored !== undefined) {
      const count = stored.countOf(cluster);
      if ((count === 1) !== hi >>> 31 > 0 && !Number.isNaN(count)) {
        check.copiedErrors += active;
        visit.sayCopied?.(copiedDataLine(hi, lo, stored.print(cluster, count), "ERROR"));
      }
    }
  }
  return fixes;
}

/** The report's line for a wrong COPIED flag in an L2 entry. */
export function copiedDataLine(hi: number, lo: number, count: string, word: "ERROR" | "Repairing"): string {
  return `${word} OFLAG_COPIED data cluster: l2_entry=${hex64(hi, lo)} refcount=${count}`;
}

/** Writes plain zeros over an entry: no cluster of its own, reads as zeros. */
export function zeroL2Entry(table: DataView, index: number, entryBytes: 8 | 16): void {
  const at = index * entryBytes;
  table.setUint32(at, 0);
  table.setUint32(at + 4, entryBytes === 16 ? 0 : ZERO_LO);
  if (entryBytes === 8) return;
  table.setUint32(at + 8, table.getUint32(at + 8) | table.getUint32(at + 12));
  table.setUint32(at + 12, 0);
}

function checkCompressed(
  check: L2Check,
  hi: number,
  lo: number,
  index: number,
  subclusterBits: number,
  visit: L2Visit,
): void {
  const { image, counter, tally } = check;
  const { active, say } = visit;
  const times = active + visit.inactive;
  // Offset in the low x bits, further sectors above it: x = 62 - (cluster_bits - 8).
  const highBits = 62 - (image.clusterBits - 8) - 32;
  const offsetHi = hi & (2 ** highBits - 1);
  if (hi >>> 31) {
    tally.corruptions += times;
    say?.(`ERROR: coffset=0x${hex64(offsetHi, lo)}: copied flag must never be set for compressed clusters`);
  }
  if (subclusterBits !== 0) {
    tally.corruptions += times;
    say?.(
      `ERROR compressed cluster ${index} with non-zero subcluster allocation bitmap, ` +
        `entry=0x${hex64(hi & 0x7fffffff, lo)}`,
    );
    return;
  }
  const offset = offsetHi * TWO_32 + lo;
  const moreSectors = (hi & 0x3fffffff) >>> highBits;
  const length = (moreSectors + 1) * SECTOR_BYTES - (lo % SECTOR_BYTES);
  if (counter.isBeyond(offset, length)) counter.complainBeyond(hex64(offsetHi, lo), length, times, say);
  else counter.countRange(offset, length, times, say);
  // Compressed clusters are fragmented by nature: neighbours share sectors.
  tally.allocatedClusters += active;
  tally.compressedClusters += active;
  tally.fragmentedClusters += active;
}
