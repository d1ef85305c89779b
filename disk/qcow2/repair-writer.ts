import { type BlockFile, WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import type { CheckedImage } from "./check-image.ts";
import { keptAutoclearFeatures } from "./features.ts";
import { HeaderField, IncompatibleFeature } from "./format.ts";
import { hasIncompatible } from "./header.ts";
import { whenWritable } from "./needs.ts";
import { viewOf, writeU64 } from "./u64.ts";

/** What may wait in memory before it goes to disk. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/**
 * Writes a repair to the file. A crash between any two flushes must leave an image no worse than it was:
 * what is pointed to is on disk before what points to it, and what is let go of falls last.
 */
export class RepairWriter {
  private waitingBytes = 0;
  /** Whether anything was written. */
  changed = false;

  constructor(private readonly file: BlockFile) {
    if (file.writable) return;
    throw new ByreError("READ_ONLY", `${file.name} was opened read-only: it cannot be repaired.`, {
      file: file.name,
    });
  }

  /** Writes; goes to disk with the next flush at the latest, within a stage's order before it. */
  async put(offsetBytes: number, bytes: Uint8Array, stage: WriteStage): Promise<void> {
    await whenWritable(this.file, offsetBytes, bytes.length, () =>
      this.file.write(offsetBytes, bytes, stage),
    );
    this.changed = true;
    this.waitingBytes += bytes.length;
    if (this.waitingBytes >= MAX_WAITING_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.waitingBytes === 0) return;
    await this.file.flush();
    this.waitingBytes = 0;
  }

  /** Writes header fields that follow each other, in one write, and makes it durable. */
  async putHeader(fieldBytes: number, bytes: Uint8Array): Promise<void> {
    await this.flush();
    await this.put(fieldBytes, bytes, WriteStage.HEADER);
    await this.flush();
  }
}

/** Points the header at a refcount table. */
export async function setRefcountTable(
  writer: RepairWriter,
  image: CheckedImage,
  table: Uint8Array,
  offsetBytes: number,
): Promise<void> {
  const bytes = new Uint8Array(12);
  writeU64(viewOf(bytes), 0, offsetBytes);
  viewOf(bytes).setUint32(8, table.length / image.clusterSizeBytes);
  await writer.putHeader(HeaderField.REFCOUNT_TABLE_OFFSET, bytes);
  image.refcountTable = viewOf(table);
  image.refcountTableOffsetBytes = offsetBytes;
}

/** Clears the autoclear bits that are not known here: a repair does not keep right what they stand for. */
export async function clearUnknownAutoclear(writer: RepairWriter, image: CheckedImage): Promise<void> {
  const { autoclearFeatures } = image.header;
  const kept = keptAutoclearFeatures(autoclearFeatures);
  if (kept === autoclearFeatures) return;
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, kept);
  await writer.putHeader(HeaderField.AUTOCLEAR_FEATURES, bytes);
}

/** Clears the dirty and the corrupt bit: the image is sound again. */
export async function clearDamageBits(writer: RepairWriter, image: CheckedImage): Promise<void> {
  await writer.flush();
  const { header } = image;
  if (
    !hasIncompatible(header, IncompatibleFeature.DIRTY) &&
    !hasIncompatible(header, IncompatibleFeature.CORRUPT)
  )
    return;
  const damage = (1n << BigInt(IncompatibleFeature.DIRTY)) | (1n << BigInt(IncompatibleFeature.CORRUPT));
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, header.incompatibleFeatures & ~damage);
  await writer.putHeader(HeaderField.INCOMPATIBLE_FEATURES, bytes);
}
