import type { BlockDevice } from "../block-device.ts";
import { Allocator } from "./allocator.ts";
import { CompressedWriter } from "./compressed-writer.ts";
import { EntryEditor } from "./entry-editor.ts";
import type { Qcow2Image } from "./image.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";
import { ZeroWriter } from "./zero-writer.ts";

/** The parts that read and change one open image, as they work together. */
export interface Qcow2Core {
  readonly image: Qcow2Image;
  readonly backing: BlockDevice | undefined;
  readonly reader: Reader;
  readonly allocator: Allocator;
  readonly entries: EntryEditor;
  readonly writer: Writer;
  readonly compressed: CompressedWriter;
  readonly zeros: ZeroWriter;
  /** All who pack clusters one after the other into host clusters: `compressed`, and saves under way. */
  readonly packers: Set<CompressedWriter>;
  /** Resolves when the last change of the whole image that was asked for is over. */
  readonly bulk: { last: Promise<void> };
  /** What follows the first half of a change of the whole image, a flush after each: see bulk-change.ts. */
  readonly unfinished: (() => Promise<void>)[];
  /** Makes everything durable, clusters let go included. */
  flush(): Promise<void>;
}

/** @param prepare see EntryEditor. */
export function assembleCore(
  image: Qcow2Image,
  backing: BlockDevice | undefined,
  prepare: () => Promise<void>,
  flush: () => Promise<void>,
): Qcow2Core {
  const reader = new Reader(image, backing);
  const packers = new Set<CompressedWriter>();
  const allocator = new Allocator(image, (index) => {
    for (const packer of packers) packer.leave(index);
  });
  const entries = new EntryEditor(image, reader, allocator, prepare);
  const writer = new Writer(image, reader, allocator, entries);
  const compressed = new CompressedWriter(image, allocator, entries);
  packers.add(compressed);
  const zeros = new ZeroWriter(image, reader, writer, allocator, entries);
  return {
    image,
    backing,
    reader,
    allocator,
    entries,
    writer,
    compressed,
    zeros,
    packers,
    bulk: { last: Promise.resolve() },
    unfinished: [],
    flush,
  };
}
