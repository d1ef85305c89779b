import type { BlockDevice } from "../block-device.ts";
import { ByreError } from "../errors.ts";
import { checkRange } from "../ranges.ts";
import { deflateCluster } from "./compression.ts";
import type { Qcow2Image } from "./image.ts";
import { describeImage, type Qcow2Info } from "./info.ts";
import { untilReady } from "./needs.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

/** zlib's own choice between speed and size. */
const DEFAULT_DEFLATE_LEVEL = 6;

/** A qcow2 image as a device, with what only this format can do. */
export interface Qcow2Device extends BlockDevice {
  /** What the header says. */
  readonly info: Qcow2Info;
  /** The device that unallocated clusters read from, opened by this one. */
  readonly backing: BlockDevice | undefined;

  /**
   * Writes one whole cluster as a compressed one, or plain when that is not smaller. For making images: a
   * compressed cluster is unpacked again by the first write to it.
   *
   * @param offsetBytes a cluster's start.
   * @param cluster exactly one cluster; at the disk's end, padded with zeros.
   * @param level zlib's 1 (fast) to 9 (small).
   * @throws ByreError INVALID_ARGUMENT, and as `write`.
   */
  writeCompressed(offsetBytes: number, cluster: Uint8Array, level?: number): Promise<void>;
}

/** The device over an image whose tables are open. Takes ownership of the file and the backing. */
export function createQcow2Device(
  image: Qcow2Image,
  backing: BlockDevice | undefined,
  writable: boolean,
): Qcow2Device {
  return new Device(image, backing, writable);
}

class Device implements Qcow2Device {
  readonly sizeBytes: number;
  readonly info: Qcow2Info;
  private readonly reader: Reader;
  private readonly writer: Writer;
  private closed = false;

  constructor(
    private readonly image: Qcow2Image,
    readonly backing: BlockDevice | undefined,
    readonly writable: boolean,
  ) {
    this.sizeBytes = image.header.sizeBytes;
    this.info = describeImage(image.header);
    this.reader = new Reader(image, backing);
    this.writer = new Writer(image, this.reader);
  }

  get name(): string {
    return this.image.file.name;
  }

  get dirtyBytes(): number {
    return this.image.file.dirtyBytes;
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    this.checkRequest(offsetBytes, target.length);
    return this.reader.tryRead(offsetBytes, target, []) === true;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.checkRequest(offsetBytes, target.length);
    for (let done = 0; done < target.length; )
      done += await untilReady((needs) =>
        this.reader.tryReadRun(offsetBytes + done, target.subarray(done), needs),
      );
  }

  writeNow(offsetBytes: number, data: Uint8Array): boolean {
    this.checkWrite(offsetBytes, data.length);
    for (let done = 0; done < data.length; ) {
      const written = this.writer.tryWriteRun(offsetBytes + done, data.subarray(done), []);
      if (written === undefined) return false;
      done += written;
    }
    return true;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    for (let done = 0; done < data.length; )
      done += await untilReady((needs) =>
        this.writer.tryWriteRun(offsetBytes + done, data.subarray(done), needs),
      );
  }

  async writeCompressed(
    offsetBytes: number,
    cluster: Uint8Array,
    level = DEFAULT_DEFLATE_LEVEL,
  ): Promise<void> {
    const { clusterSizeBytes } = this.image;
    this.checkWrite(offsetBytes, Math.min(cluster.length, this.sizeBytes - offsetBytes));
    if (offsetBytes % clusterSizeBytes !== 0 || cluster.length !== clusterSizeBytes)
      throw new ByreError(
        "INVALID_ARGUMENT",
        `${this.name}: a compressed write is one whole cluster of ${clusterSizeBytes} bytes at its start, ` +
          `not ${cluster.length} bytes at ${offsetBytes}.`,
        { file: this.name, offsetBytes, lengthBytes: cluster.length },
      );
    const packed = deflateCluster(cluster, level);
    await untilReady((needs) => this.writer.tryWriteCompressed(offsetBytes, cluster, packed, needs));
  }

  async flush(): Promise<void> {
    this.checkOpen();
    if (!this.writable) return;
    const { allocator } = this.writer;
    // Clusters are let go on disk only after the tables that let go of them are there.
    const frees = allocator.takePendingFrees();
    try {
      await this.image.file.flush();
    } catch (error) {
      allocator.putBackPendingFrees(frees);
      throw error;
    }
    if (frees.size === 0) return;
    await untilReady((needs) => allocator.tryFree(frees, needs));
    await this.image.file.flush();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    try {
      await this.flush();
    } finally {
      this.closed = true;
      try {
        await this.backing?.close();
      } finally {
        await this.image.file.close();
      }
    }
  }

  private checkOpen(): void {
    if (this.closed) throw new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private checkRequest(offsetBytes: number, lengthBytes: number): void {
    this.checkOpen();
    checkRange(this.name, this.sizeBytes, offsetBytes, lengthBytes);
  }

  private checkWrite(offsetBytes: number, lengthBytes: number): void {
    if (!this.writable)
      throw new ByreError("READ_ONLY", `${this.name} was opened read-only.`, { file: this.name });
    this.checkRequest(offsetBytes, lengthBytes);
  }
}
