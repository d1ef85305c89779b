import { basename } from "node:path";
import { type BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { type HostIo, openHostIo } from "./host-io.ts";
import { hostError } from "./node-errors.ts";
import { SingleFlight, settled } from "./single-flight.ts";
import { SECTOR_BYTES, StagedSectors } from "./staged-sectors.ts";

export interface NodeFileOptions {
  /** Opens it for writing too. Default: false, or true with `create`. */
  writable?: boolean;
  /** Makes it, and fails with IN_USE when there is one. */
  create?: boolean;
}

/**
 * Opens a plain file under Node.
 *
 * Reads are synchronous. Writes stay in memory until `flush`, which orders them by their stage; so a long
 * run of writes without a flush takes as much memory as it writes.
 *
 * @throws ByreError NOT_FOUND, ACCESS_DENIED, IN_USE, INVALID_ARGUMENT (a directory), STORAGE.
 */
export async function openNodeFile(path: string, options: NodeFileOptions = {}): Promise<BlockFile> {
  const writable = options.writable ?? options.create ?? false;
  const flags = options.create ? "wx+" : writable ? "r+" : "r";
  try {
    return createHostFile(await openHostIo(path, flags), { name: basename(path), writable });
  } catch (error) {
    throw hostError(error, path, options.create ? "create" : "open");
  }
}

/** A file over any host; what `openNodeFile` returns, and what tests put over a faulty one. */
export function createHostFile(io: HostIo, options: { name: string; writable: boolean }): BlockFile {
  return new StagedHostFile(io, options.name, options.writable);
}

class StagedHostFile implements BlockFile {
  readonly transactional = false;
  sizeBytes: number;
  /** Written since the last flush began. */
  private dirty = new StagedSectors();
  /** What the flush under way is writing. */
  private flying = new StagedSectors();
  /** Length of the host's file, which a truncation changes only with a flush. */
  private hostBytes: number;
  /** Bytes below `dirty` count only up to here: what was cut off since the last flush began. */
  private cutAt = Number.POSITIVE_INFINITY;
  /** The same for the host's file, until the flush under way has cut it. */
  private hostCutAt = Number.POSITIVE_INFINITY;
  private changed = false;
  private closed = false;
  private readonly flushes = new SingleFlight(() => this.flushOnce());

  constructor(
    private readonly io: HostIo,
    readonly name: string,
    readonly writable: boolean,
  ) {
    this.hostBytes = io.sizeBytes();
    this.sizeBytes = this.hostBytes;
  }

  get dirtyBytes(): number {
    return this.dirty.bytes + this.flying.bytes;
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, target.length);
    this.readHost(offsetBytes, target);
    if (this.dirtyBytes > 0) this.overlay(offsetBytes, target);
    return true;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.readNow(offsetBytes, target);
  }

  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.checkOpen();
    checkRange(this.name, Math.max(this.sizeBytes, offsetBytes + lengthBytes), offsetBytes, lengthBytes);
  }

  canWriteNow(): boolean {
    return true;
  }

  write(offsetBytes: number, data: Uint8Array, stage: WriteStage = WriteStage.DATA): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER, offsetBytes, data.length);
    let done = 0;
    while (done < data.length) {
      const at = offsetBytes + done;
      const inSector = at % SECTOR_BYTES;
      const length = Math.min(SECTOR_BYTES - inSector, data.length - done);
      const index = (at - inSector) / SECTOR_BYTES;
      const bytes = length < SECTOR_BYTES ? this.sector(index) : new Uint8Array(SECTOR_BYTES);
      bytes.set(data.subarray(done, done + length), inSector);
      this.dirty.set(index, bytes, stage);
      done += length;
    }
    if (data.length === 0) return;
    this.sizeBytes = Math.max(this.sizeBytes, offsetBytes + data.length);
    this.changed = true;
  }

  truncate(sizeBytes: number): void {
    this.checkWritable();
    checkRange(this.name, Number.MAX_SAFE_INTEGER, sizeBytes, 0);
    if (sizeBytes < this.sizeBytes) {
      const edge = Math.floor(sizeBytes / SECTOR_BYTES);
      const isDirty = this.dirty.get(edge) ?? this.flying.get(edge);
      if (sizeBytes % SECTOR_BYTES !== 0 && isDirty) {
        const stage = Math.max(this.dirty.stageOf(edge), this.flying.stageOf(edge)) as WriteStage;
        const bytes = this.sector(edge).fill(0, sizeBytes % SECTOR_BYTES);
        this.dirty.set(edge, bytes, stage);
      }
      this.dirty.deleteFrom(Math.ceil(sizeBytes / SECTOR_BYTES));
      this.cutAt = Math.min(this.cutAt, sizeBytes);
    }
    if (sizeBytes !== this.sizeBytes) this.changed = true;
    this.sizeBytes = sizeBytes;
  }

  forget(): void {
    // All the same to a host that has room: what is written is written.
    this.checkWritable();
  }

  async flush(): Promise<void> {
    this.checkOpen();
    await this.flushes.run(!this.changed);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    if (this.flushes.current) await settled(this.flushes.current);
    try {
      await this.io.close();
    } catch (error) {
      throw hostError(error, this.name, "close");
    }
  }

  private async flushOnce(): Promise<void> {
    if (!this.changed) return;
    const { sizeBytes } = this;
    this.changed = false;
    this.flying = this.dirty;
    this.dirty = new StagedSectors();
    this.hostCutAt = Math.min(this.hostCutAt, this.cutAt);
    this.cutAt = Number.POSITIVE_INFINITY;
    // What was cut off had never reached the host.
    if (this.hostCutAt >= this.hostBytes) this.hostCutAt = Number.POSITIVE_INFINITY;
    try {
      await this.writeOut(this.flying, sizeBytes);
      this.flying = new StagedSectors();
    } catch (error) {
      const kept = Number.isFinite(this.cutAt) ? Math.ceil(this.cutAt / SECTOR_BYTES) : this.cutAt;
      this.dirty.addOlder(this.flying, kept);
      this.flying = new StagedSectors();
      this.changed = true;
      throw hostError(error, this.name, "write");
    }
  }

  /**
   * A crash after any line here leaves what the last flush made durable, and of this one only what nothing
   * on the disk points to yet, or what is whole.
   */
  private async writeOut(sectors: StagedSectors, sizeBytes: number): Promise<void> {
    // Cut and grown again within one flush: what is between must read zeros, so it is really cut.
    const cutAt = Math.min(this.hostCutAt, this.hostBytes);
    if (cutAt < this.hostBytes && sizeBytes > cutAt) await this.setHostSize(cutAt);
    const grows = sizeBytes > this.hostBytes;
    if (grows) await this.setHostSize(sizeBytes);
    const groups = sectors.groups();
    for (const group of groups) {
      for (const { offsetBytes, bytes } of group)
        await this.io.write(offsetBytes, bytes.subarray(0, sizeBytes - offsetBytes));
      await this.io.sync();
    }
    const shrinks = sizeBytes < this.hostBytes;
    if (shrinks) await this.setHostSize(sizeBytes);
    if (shrinks || (grows && groups.length === 0)) await this.io.sync();
  }

  private async setHostSize(sizeBytes: number): Promise<void> {
    await this.io.setSize(sizeBytes);
    this.hostBytes = sizeBytes;
    // Nothing of the host's file is left above it; what it grows by from here on is zeros.
    if (this.hostCutAt >= sizeBytes) this.hostCutAt = Number.POSITIVE_INFINITY;
  }

  /** A copy of a sector as it now reads, zeros past the end of the file. */
  private sector(index: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(SECTOR_BYTES);
    const start = index * SECTOR_BYTES;
    const length = Math.max(0, Math.min(SECTOR_BYTES, this.sizeBytes - start));
    if (length > 0) this.readNow(start, bytes.subarray(0, length));
    return bytes;
  }

  private readHost(offsetBytes: number, target: Uint8Array): void {
    const validBytes = Math.min(this.hostBytes, this.hostCutAt, this.cutAt);
    const length = Math.max(0, Math.min(target.length, validBytes - offsetBytes));
    target.fill(0, length);
    if (length === 0) return;
    let count: number;
    try {
      count = this.io.read(offsetBytes, target.subarray(0, length));
    } catch (error) {
      throw hostError(error, this.name, "read");
    }
    if (count === length) return;
    throw new ByreError(
      "FILE_CHANGED",
      `${this.name} ends at ${offsetBytes + count}, though it had ${this.hostBytes} bytes when it was opened. ` +
        "Another program has cut it; open it again.",
      { file: this.name, offsetBytes, lengthBytes: length, hostBytes: this.hostBytes },
    );
  }

  private overlay(offsetBytes: number, target: Uint8Array): void {
    let done = 0;
    while (done < target.length) {
      const at = offsetBytes + done;
      const inSector = at % SECTOR_BYTES;
      const length = Math.min(SECTOR_BYTES - inSector, target.length - done);
      const index = (at - inSector) / SECTOR_BYTES;
      const dirty =
        this.dirty.get(index) ?? (at - inSector < this.cutAt ? this.flying.get(index) : undefined);
      if (dirty) target.set(dirty.subarray(inSector, inSector + length), done);
      done += length;
    }
  }

  private checkOpen(): void {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private checkWritable(): void {
    this.checkOpen();
    if (this.writable) return;
    throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
  }
}
