import { closeSync, openSync, statSync } from "node:fs";
import type { DirectLayer } from "./convert-jobs.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { type ChainLayer, chainOf } from "./map-chain.ts";
import { type ChainStatus, statusAbove } from "./map-status.ts";
import { type OpenedImage, type OpenImageOptions, openImage } from "./open-image.ts";

const SECTOR_BYTES = 512;

/** Images to be read as one disk, one after the other. */
export class ConvertSource {
  readonly sizeBytes: number;
  private readonly starts: number[] = [];

  private constructor(readonly parts: readonly SourcePart[]) {
    let start = 0;
    for (const { diskBytes } of parts) {
      this.starts.push(start);
      start += diskBytes;
    }
    this.sizeBytes = start;
  }

  /**
   * @param specs the images as the command line names them; a snapshot, when asked for, is the first one's.
   * @throws as `openImage`; nothing stays open then.
   */
  static async open(specs: readonly string[], options: OpenImageOptions): Promise<ConvertSource> {
    const parts: SourcePart[] = [];
    try {
      for (const spec of specs) {
        const opened = await openImage(spec, options);
        const part: SourcePart = { opened, layers: [], diskBytes: roundUp(opened.device.sizeBytes) };
        parts.push(part);
        part.layers = await chainOf(opened.device, spec, options);
      }
      return new ConvertSource(parts);
    } catch (error) {
      await closeParts(parts);
      throw error;
    }
  }

  /**
   * The images as threads can read them: plain files that are not encrypted.
   *
   * @returns undefined where only the devices can read them.
   */
  get direct(): DirectLayer[] | undefined {
    const [part] = this.parts;
    if (!part || this.parts.length > 1) return undefined;
    const layers: DirectLayer[] = [];
    for (const { device, qcow2, path } of part.layers) {
      if (path === undefined || qcow2?.image.cipher || !isPlainFile(path)) return undefined;
      layers.push({ path, sizeBytes: device.sizeBytes, image: qcow2?.image });
    }
    return layers;
  }

  /** Bytes of plain files behind it: how much there is to read, at most. */
  get storedBytes(): number {
    let bytes = 0;
    for (const { layers } of this.parts)
      for (const { path, device } of layers)
        bytes += path === undefined ? device.sizeBytes : statSync(path).blocks * SECTOR_BYTES;
    return bytes;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    for (let done = 0; done < target.length; ) {
      const { part, inPart } = this.partAt(offsetBytes + done);
      const length = Math.min(target.length - done, part.diskBytes - inPart);
      const bytes = target.subarray(done, done + length);
      // A raw image may end inside its last sector; the rest of that reads as zeros.
      const stored = Math.max(0, Math.min(length, part.opened.device.sizeBytes - inPart));
      if (stored > 0) await part.opened.device.read(inPart, bytes.subarray(0, stored));
      bytes.fill(0, stored);
      done += length;
    }
  }

  /** @param topOnly what is behind an image is not asked: it will be behind the target too. */
  async status(offsetBytes: number, lengthBytes: number, topOnly = false): Promise<ChainStatus> {
    const { part, inPart } = this.partAt(offsetBytes);
    const stored = part.opened.device.sizeBytes - inPart;
    if (stored <= 0)
      return {
        lengthBytes: Math.min(lengthBytes, part.diskBytes - inPart),
        allocated: true,
        zero: true,
        data: false,
        hostOffsetBytes: undefined,
        depth: 0,
        layer: undefined,
      };
    const status = await statusAbove(
      part.layers,
      inPart,
      Math.min(lengthBytes, stored),
      topOnly ? 1 : part.layers.length,
    );
    return status;
  }

  /** Whether a file is one of those that are read: it must not be written then. */
  reads(path: string): boolean {
    const target = statSync(path, { throwIfNoEntry: false });
    if (!target) return false;
    return this.parts.some(({ layers }) =>
      layers.some((layer) => {
        const stats = layer.path === undefined ? undefined : statSync(layer.path, { throwIfNoEntry: false });
        return stats?.ino === target.ino && stats.dev === target.dev;
      }),
    );
  }

  async close(): Promise<void> {
    await closeParts(this.parts);
  }

  private partAt(offsetBytes: number): { part: SourcePart; inPart: number } {
    for (const [i, part] of this.parts.entries()) {
      const inPart = offsetBytes - (this.starts[i] ?? 0);
      if (inPart < part.diskBytes) return { part, inPart };
    }
    throw new ExitError(ExitCode.FAILED, `offset ${offsetBytes} is past the end of what is converted`);
  }
}

interface SourcePart {
  readonly opened: OpenedImage;
  layers: ChainLayer[];
  /** Its size in whole sectors. */
  readonly diskBytes: number;
}

async function closeParts(parts: readonly SourcePart[]): Promise<void> {
  for (const { opened, layers } of [...parts].reverse()) {
    for (const { holes } of layers) holes?.close();
    await opened.device.close();
  }
}

/** Block devices and pipes have no size that `stat` tells, and threads need one. */
function isPlainFile(path: string): boolean {
  if (!statSync(path).isFile()) return false;
  // Each thread opens it again, by its name: so the name must still lead there.
  closeSync(openSync(path, "r"));
  return true;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}
