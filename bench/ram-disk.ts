import type { BlockDevice, BlockStatus } from "../disk/index.ts";

const PAGE_BYTES = 1024 * 1024;

/**
 * The reference of the benchmarks: a disk that is nothing but bytes in memory, the least a disk can cost. In
 * pages, so that a disk of 1 GiB that is nearly empty need not be allocated.
 */
export class RamDisk implements BlockDevice {
  readonly name = "ram";
  readonly writable = true;
  readonly dirtyBytes = 0;

  private constructor(
    readonly sizeBytes: number,
    private readonly pages: (Uint8Array | undefined)[],
  ) {}

  /** Copies a device and closes it. */
  static async copyOf(device: BlockDevice): Promise<RamDisk> {
    const pages: (Uint8Array | undefined)[] = [];
    for (let offset = 0; offset < device.sizeBytes; offset += PAGE_BYTES) {
      const page = new Uint8Array(PAGE_BYTES);
      await device.read(offset, page.subarray(0, Math.min(PAGE_BYTES, device.sizeBytes - offset)));
      pages.push(page.some((byte) => byte !== 0) ? page : undefined);
    }
    const { sizeBytes } = device;
    await device.close();
    return new RamDisk(sizeBytes, pages);
  }

  /** A disk of its own with the same content. */
  fork(): RamDisk {
    return new RamDisk(
      this.sizeBytes,
      this.pages.map((page) => page?.slice()),
    );
  }

  readNow(offsetBytes: number, target: Uint8Array): boolean {
    for (let done = 0; done < target.length; ) {
      const inPage = (offsetBytes + done) % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - inPage, target.length - done);
      const page = this.pages[Math.floor((offsetBytes + done) / PAGE_BYTES)];
      if (page) target.set(page.subarray(inPage, inPage + length), done);
      else target.fill(0, done, done + length);
      done += length;
    }
    return true;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.readNow(offsetBytes, target);
  }

  writeNow(offsetBytes: number, data: Uint8Array): boolean {
    for (let done = 0; done < data.length; ) {
      const inPage = (offsetBytes + done) % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - inPage, data.length - done);
      const index = Math.floor((offsetBytes + done) / PAGE_BYTES);
      let page = this.pages[index];
      if (!page) {
        page = new Uint8Array(PAGE_BYTES);
        this.pages[index] = page;
      }
      page.set(data.subarray(done, done + length), inPage);
      done += length;
    }
    return true;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.writeNow(offsetBytes, data);
  }

  async writeZeroes(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.writeNow(offsetBytes, new Uint8Array(lengthBytes));
  }

  discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.writeZeroes(offsetBytes, lengthBytes);
  }

  async blockStatus(_offsetBytes: number, lengthBytes: number): Promise<BlockStatus> {
    return {
      lengthBytes,
      allocated: true,
      zero: false,
      data: true,
      compressed: false,
      hostOffsetBytes: undefined,
    };
  }

  async flush(): Promise<void> {
    // Nothing outlives it.
  }

  async close(): Promise<void> {
    this.pages.length = 0;
  }
}
