import type { BlockFile, WriteStage } from "../block-file.ts";
import type { Need } from "./needs.ts";

/**
 * Smallest unit that is loaded and written. A multiple of every file's own blocks, so that a unit is written
 * without loading anything first.
 */
const MIN_UNIT_BYTES = 64 * 1024;

interface Mark {
  readonly offsetBytes: number;
  lengthBytes: number;
  readonly stage: WriteStage;
}

/**
 * Changes of many tables, made to copies and applied at once: what is loaded may wait and fail, and nothing of
 * the file has changed then; the applying waits for nothing.
 */
export class TablePatch {
  private readonly unitBytes: number;
  private readonly units = new Map<number, Uint8Array>();
  /** What the units were, for a file whose flush can be undone. */
  private readonly originals = new Map<number, Uint8Array>();
  private fileBytesBefore = 0;
  private readonly marks: Mark[] = [];
  private endBytes = 0;

  constructor(
    private readonly file: BlockFile,
    clusterSizeBytes: number,
  ) {
    this.unitBytes = Math.max(MIN_UNIT_BYTES, clusterSizeBytes);
  }

  /** Makes a range ready for `bytes`. What lies past the end of the file is zeros. */
  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    const { unitBytes, units, file } = this;
    for (
      let index = Math.floor(offsetBytes / unitBytes);
      index * unitBytes < offsetBytes + lengthBytes;
      index++
    ) {
      if (units.has(index)) continue;
      const unit = new Uint8Array(unitBytes);
      const inFile = Math.max(0, Math.min(unitBytes, file.sizeBytes - index * unitBytes));
      if (inFile > 0) await file.read(index * unitBytes, unit.subarray(0, inFile));
      units.set(index, unit);
      if (file.transactional) this.originals.set(index, unit.slice());
    }
  }

  /** The copy of a loaded range within one cluster. Change it and `mark` what was changed. */
  bytes(offsetBytes: number, lengthBytes: number): Uint8Array {
    const inUnit = offsetBytes % this.unitBytes;
    const unit = this.units.get((offsetBytes - inUnit) / this.unitBytes);
    if (!unit) throw new RangeError(`bytes at ${offsetBytes} were not loaded`);
    return unit.subarray(inUnit, inUnit + lengthBytes);
  }

  isLoaded(offsetBytes: number): boolean {
    return this.units.has(Math.floor(offsetBytes / this.unitBytes));
  }

  mark(offsetBytes: number, lengthBytes: number, stage: WriteStage): void {
    const last = this.marks.at(-1);
    if (last && last.stage === stage && last.offsetBytes + last.lengthBytes === offsetBytes)
      last.lengthBytes += lengthBytes;
    else this.marks.push({ offsetBytes, lengthBytes, stage });
    this.endBytes = Math.max(this.endBytes, offsetBytes + lengthBytes);
  }

  /** Loads a range, sets it and marks it. */
  async put(offsetBytes: number, data: Uint8Array, stage: WriteStage): Promise<void> {
    await this.load(offsetBytes, data.length);
    const { unitBytes } = this;
    for (let done = 0; done < data.length; ) {
      const at = offsetBytes + done;
      const length = Math.min(data.length - done, unitBytes - (at % unitBytes));
      this.bytes(at, length).set(data.subarray(done, done + length));
      done += length;
    }
    this.mark(offsetBytes, data.length, stage);
  }

  /** Writes everything marked; undefined after noting needs, and then nothing is written. */
  tryApply(needs: Need[]): true | undefined {
    const { file, unitBytes } = this;
    const writes = file.transactional ? this.markedUnits() : this.marks;
    for (const { offsetBytes, lengthBytes } of writes)
      if (!file.canWriteNow(offsetBytes, lengthBytes)) needs.push(() => file.load(offsetBytes, lengthBytes));
    if (needs.length > 0) return undefined;
    this.fileBytesBefore = file.sizeBytes;
    for (const { offsetBytes, lengthBytes, stage } of writes)
      for (let done = 0; done < lengthBytes; ) {
        const at = offsetBytes + done;
        const length = Math.min(lengthBytes - done, unitBytes - (at % unitBytes));
        file.write(at, this.bytes(at, length), stage);
        done += length;
      }
    return true;
  }

  /** Takes back what was applied, on a file with transactions: nothing else may have been written since. */
  revert(): void {
    const { file, unitBytes, originals } = this;
    for (const { offsetBytes, lengthBytes } of this.markedUnits()) {
      const before = originals.get(offsetBytes / unitBytes);
      if (before) file.write(offsetBytes, before.subarray(0, lengthBytes));
    }
    if (file.sizeBytes > this.fileBytesBefore) file.truncate(this.fileBytesBefore);
  }

  /** Whole units that hold marks; the order of writes is nothing to a file with transactions. */
  private markedUnits(): Mark[] {
    const { unitBytes } = this;
    const end = Math.max(this.file.sizeBytes, this.endBytes);
    const indexes = new Set<number>();
    for (const { offsetBytes, lengthBytes } of this.marks)
      for (let i = Math.floor(offsetBytes / unitBytes); i * unitBytes < offsetBytes + lengthBytes; i++)
        indexes.add(i);
    const stage = this.marks[0]?.stage ?? 0;
    return [...indexes].map((index) => ({
      offsetBytes: index * unitBytes,
      lengthBytes: Math.min(unitBytes, end - index * unitBytes),
      stage,
    }));
  }
}
