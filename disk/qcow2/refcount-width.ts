import { WriteStage } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { alone } from "./bulk-change.ts";
import type { Qcow2Core } from "./core.ts";
import { ENTRY_BYTES, HeaderField } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { decodeTableOffset } from "./l2-entry.ts";
import { untilReady, whenWritable } from "./needs.ts";
import { maxRefcount, readRefcount, refcountsPerBlock, writeRefcount } from "./refcount-entry.ts";
import { fitRefcounts, isTableTooLong } from "./refcount-layout.ts";
import { viewOf, writeU64 } from "./u64.ts";

/** Where new refcount structures stand: blocks first, then their table, after all that is in use. */
interface Layout {
  readonly firstCluster: number;
  readonly blocks: number;
  readonly tableClusters: number;
}

/**
 * Gives an image refcounts of another width. The new structures are written where nothing is; one sector of
 * the header then points to them, and the old ones are free.
 *
 * @param order 2^order bits, 0 to 6.
 * @throws ByreError INVALID_ARGUMENT when a count does not fit the new width; TOO_LARGE.
 */
export async function changeRefcountWidth(
  core: Qcow2Core,
  order: number,
  onProgress: (fraction: number) => void = () => {},
): Promise<void> {
  const { image, allocator } = core;
  if (order === image.refcountOrder) return;
  await alone(core, async () => {
    await core.flush();
    const endCluster = await untilReady((needs) => allocator.findEnd(needs));
    const layout = layOut(image, endCluster, order);
    const table = new Uint8Array(layout.tableClusters * image.clusterSizeBytes);
    const counts = new OldCounts(image);
    for (let block = 0; block < layout.blocks; block++) {
      const offsetBytes = (layout.firstCluster + block) * image.clusterSizeBytes;
      await put(image, offsetBytes, await convertBlock(image, counts, layout, block, order));
      writeU64(viewOf(table), block * ENTRY_BYTES, offsetBytes);
      onProgress((block + 1) / layout.blocks);
    }
    const tableOffset = (layout.firstCluster + layout.blocks) * image.clusterSizeBytes;
    await put(image, tableOffset, table);
    await core.flush();
    const fields = new Uint8Array(12);
    writeU64(viewOf(fields), 0, tableOffset);
    viewOf(fields).setUint32(8, layout.tableClusters);
    const orderField = new Uint8Array(4);
    viewOf(orderField).setUint32(0, order);
    await image.whenHeaderReady(() => {
      image.file.write(HeaderField.REFCOUNT_TABLE_OFFSET, fields, WriteStage.HEADER);
      image.file.write(HeaderField.REFCOUNT_ORDER, orderField, WriteStage.HEADER);
      image.setRefcounts(table, tableOffset, order);
    });
    allocator.forgetCounts();
    await core.flush();
  });
}

function layOut(image: Qcow2Image, endCluster: number, order: number): Layout {
  const { clusterSizeBytes } = image;
  const countsPerBlock = refcountsPerBlock(clusterSizeBytes, order);
  const { blocks, tableClusters } = fitRefcounts(endCluster, { clusterSizeBytes, countsPerBlock });
  if (isTableTooLong(tableClusters, clusterSizeBytes))
    throw new ByreError(
      "TOO_LARGE",
      `${image.file.name}: with refcounts of ${2 ** order} bits its refcount table would be larger than 8 MiB.`,
      { file: image.file.name, refcountBits: 2 ** order },
    );
  return { firstCluster: endCluster, blocks, tableClusters };
}

async function convertBlock(
  image: Qcow2Image,
  counts: OldCounts,
  layout: Layout,
  block: number,
  order: number,
): Promise<Uint8Array> {
  const { clusterSizeBytes, refcountTableOffsetBytes, refcountTable } = image;
  const countsPerBlock = refcountsPerBlock(clusterSizeBytes, order);
  const bytes = new Uint8Array(clusterSizeBytes);
  const newEnd = layout.firstCluster + layout.blocks + layout.tableClusters;
  const tableStart = refcountTableOffsetBytes / clusterSizeBytes;
  const tableEnd = tableStart + refcountTable.byteLength / clusterSizeBytes;
  for (let i = 0; i < countsPerBlock; i++) {
    const index = block * countsPerBlock + i;
    if (index >= newEnd) break;
    const isNew = index >= layout.firstCluster;
    const isOld = (index >= tableStart && index < tableEnd) || counts.isBlock(index);
    const value = isNew ? 1 : isOld ? 0 : await counts.at(index);
    if (value > maxRefcount(order))
      throw new ByreError(
        "INVALID_ARGUMENT",
        `${image.file.name}: cluster ${index} is referred to ${value} times, which refcounts of ${2 ** order} bits ` +
          "do not hold. Choose a wider one, or delete snapshots.",
        { file: image.file.name, clusterIndex: index, refcount: value, refcountBits: 2 ** order },
      );
    writeRefcount(bytes, i, order, value);
  }
  return bytes;
}

/** The present counts, block by block. */
class OldCounts {
  private readonly blocks = new Set<number>();
  private current = -1;
  private readonly bytes: Uint8Array;

  constructor(private readonly image: Qcow2Image) {
    this.bytes = new Uint8Array(image.clusterSizeBytes);
    for (let at = 0; at < image.refcountTable.byteLength; at += ENTRY_BYTES)
      this.blocks.add(this.offsetAt(at) / image.clusterSizeBytes);
    this.blocks.delete(0);
  }

  isBlock(index: number): boolean {
    return this.blocks.has(index);
  }

  async at(index: number): Promise<number> {
    const { image, bytes } = this;
    const { blockOffsetBytes, indexInBlock } = image.findRefcountBlock(index);
    if (blockOffsetBytes !== this.current) {
      if (blockOffsetBytes === 0) bytes.fill(0);
      else await image.file.read(blockOffsetBytes, bytes);
      this.current = blockOffsetBytes;
    }
    return readRefcount(bytes, indexInBlock, image.refcountOrder);
  }

  private offsetAt(at: number): number {
    const { refcountTable } = this.image;
    return decodeTableOffset(refcountTable.getUint32(at), refcountTable.getUint32(at + 4));
  }
}

async function put(image: Qcow2Image, offsetBytes: number, bytes: Uint8Array): Promise<void> {
  const { file } = image;
  await whenWritable(file, offsetBytes, bytes.length, () => file.write(offsetBytes, bytes, WriteStage.DATA));
}
