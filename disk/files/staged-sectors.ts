import { WRITE_STAGES, WriteStage } from "../block-file.ts";

/** Smallest unit that a disk writes whole, and so the smallest that a crash leaves either old or new. */
export const SECTOR_BYTES = 512;
/** Longest single write that neighbouring sectors are gathered into. */
const RUN_BYTES = 1024 * 1024;

interface Sector {
  bytes: Uint8Array<ArrayBuffer>;
  stage: WriteStage;
}

/** Neighbouring sectors, as one write. */
export interface SectorRun {
  offsetBytes: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Sectors that are to be written, each with its stage. */
export class StagedSectors {
  private readonly sectors = new Map<number, Sector>();

  get bytes(): number {
    return this.sectors.size * SECTOR_BYTES;
  }

  get(index: number): Uint8Array<ArrayBuffer> | undefined {
    return this.sectors.get(index)?.bytes;
  }

  /** Takes the bytes over. A sector written at several stages goes out at the latest of them. */
  set(index: number, bytes: Uint8Array<ArrayBuffer>, stage: WriteStage): void {
    const before = this.sectors.get(index)?.stage ?? stage;
    this.sectors.set(index, { bytes, stage: before > stage ? before : stage });
  }

  stageOf(index: number): WriteStage {
    return this.sectors.get(index)?.stage ?? WriteStage.DATA;
  }

  deleteFrom(index: number): void {
    for (const key of this.sectors.keys()) if (key >= index) this.sectors.delete(key);
  }

  /** Puts older sectors under these: those that were not written since keep their bytes. */
  addOlder(older: StagedSectors, before: number): void {
    for (const [index, { bytes, stage }] of older.sectors) {
      if (index >= before) continue;
      const newer = this.sectors.get(index);
      this.set(index, newer?.bytes ?? bytes, stage);
    }
  }

  /**
   * The writes of a flush: groups in the order they must reach the disk, with a sync after each. Data and
   * refcount blocks share the first, since neither points to the other.
   */
  groups(): SectorRun[][] {
    const indexes = [...this.sectors.keys()].sort((a, b) => a - b);
    const groups: SectorRun[][] = [];
    for (let stage = WriteStage.REFCOUNT_BLOCK as number; stage < WRITE_STAGES; stage++) {
      const own = indexes.filter(
        (index) => Math.max(this.stageOf(index), WriteStage.REFCOUNT_BLOCK) === stage,
      );
      if (own.length > 0) groups.push(this.runs(own));
    }
    return groups;
  }

  private runs(indexes: number[]): SectorRun[] {
    const runs: SectorRun[] = [];
    const most = RUN_BYTES / SECTOR_BYTES;
    for (let start = 0; start < indexes.length; ) {
      const first = indexes[start] ?? 0;
      let count = 1;
      while (count < most && indexes[start + count] === first + count) count++;
      const bytes = new Uint8Array(count * SECTOR_BYTES);
      for (let i = 0; i < count; i++) bytes.set(this.get(first + i) ?? [], i * SECTOR_BYTES);
      runs.push({ offsetBytes: first * SECTOR_BYTES, bytes });
      start += count;
    }
    return runs;
  }
}
