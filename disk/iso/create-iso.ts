import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { createBlobFile } from "../files/blob-file.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { encodeDescriptor, endDescriptor, MAX_VOLUME_ID_BYTES } from "./iso-descriptors.ts";
import { IsoDirectories } from "./iso-directories.ts";
import { SECTOR_BYTES } from "./iso-records.ts";
import { buildIsoTree, type IsoNode } from "./iso-tree.ts";
import { createJoinedFile, type FilePlace } from "./joined-file.ts";

/** A file to be put on a disc. */
export interface IsoFile {
  /** Its name, after those of its directories: `folder/file.txt`. */
  readonly path: string;
  /** Bytes are copied; the others are read when the disc is. A file is owned by the disc from now on: closed with it. */
  readonly content: Uint8Array | Blob | BlockFile;
  /** When it was last changed, in milliseconds since 1970. */
  readonly mtimeMs: number;
}

export interface CreateIsoOptions {
  /** What the disc is called: 1 to 32 characters. Systems that know no other letters show A to Z, digits and `_`. Default: FILES. */
  volumeId?: string;
  /** For messages. Default: its volume id with `.iso`. */
  name?: string;
}

/** Of the system area before the descriptors, which is for boot loaders (ECMA-119, 6.2.1). */
const FIRST_DESCRIPTOR = 16;
const DESCRIPTORS = 3;
/** Memory for what was read of Blobs, for all of them together, and the least that one is given. */
const BLOB_CACHE_BYTES = 32 * 1024 * 1024;
const LEAST_CACHE_BYTES = 256 * 1024;

/**
 * Makes a CD of files: an ISO 9660 image with their whole names in Joliet (Windows, up to 64 characters; longer ones are
 * shortened) and in Rock Ridge (Linux and others). Files are not read here: the image reads them when it is read itself.
 * The same files make the same image.
 *
 * @param files at most 8 levels deep, each below 4 GiB, with names of at most 253 bytes.
 * @returns the image, read-only. Closing it closes the files.
 * @throws ByreError INVALID_ARGUMENT for a path that is none, is there twice or is too deep, or for a volume id; TOO_LARGE
 *   for a file, a name or more directories than a disc can have. The files are not closed then.
 */
export function createIso(files: readonly IsoFile[], options: CreateIsoOptions = {}): BlockFile {
  const { volumeId = "FILES" } = options;
  if (volumeId.length === 0 || volumeId.length > MAX_VOLUME_ID_BYTES)
    throw new ByreError(
      "INVALID_ARGUMENT",
      `A CD cannot be called "${volumeId}": its name has 1 to ${MAX_VOLUME_ID_BYTES} characters.`,
      { volumeId },
    );
  const sizes = files.map(({ content }) => sizeOf(content));
  const root = buildIsoTree(
    files.map(({ path, mtimeMs }, index) => ({ path, mtimeMs, sizeBytes: sizes[index] ?? 0 })),
  );
  const trees = [new IsoDirectories(root, "rock ridge"), new IsoDirectories(root, "joliet")] as const;

  let sector = FIRST_DESCRIPTOR + DESCRIPTORS;
  const take = (sectors: number): number => {
    const first = sector;
    sector += sectors;
    return first;
  };
  const pathTables = trees.map(({ pathTableBytes }) => {
    const sectors = Math.ceil(pathTableBytes / SECTOR_BYTES);
    return [take(sectors), take(sectors)] as const;
  });
  const directories = trees.map((tree) => {
    const first = take(tree.sectors);
    tree.place(first);
    return first;
  });
  const tablesEnd = sector;
  const places = sizes.map((size) => take(Math.ceil(size / SECTOR_BYTES)));

  const tables = new Uint8Array(tablesEnd * SECTOR_BYTES);
  const put = (at: number, bytes: Uint8Array) => tables.set(bytes, at * SECTOR_BYTES);
  // An empty file stands nowhere.
  const sectorOf = ({ fileIndex, sizeBytes }: IsoNode) =>
    sizeBytes > 0 ? (places[fileIndex ?? -1] ?? 0) : 0;
  for (const [index, tree] of trees.entries()) {
    const [littleEndianPathTable = 0, bigEndianPathTable = 0] = pathTables[index] ?? [];
    put(littleEndianPathTable, tree.pathTable(true));
    put(bigEndianPathTable, tree.pathTable(false));
    put(directories[index] ?? 0, tree.encode(sectorOf));
    put(
      FIRST_DESCRIPTOR + index,
      encodeDescriptor({
        kind: index === 0 ? "primary" : "joliet",
        volumeId,
        totalSectors: sector,
        pathTableBytes: tree.pathTableBytes,
        littleEndianPathTable,
        bigEndianPathTable,
        rootRecord: tree.rootRecord(),
        timeMs: root.mtimeMs,
      }),
    );
  }
  put(FIRST_DESCRIPTOR + trees.length, endDescriptor());

  const name = options.name ?? `${volumeId}.iso`;
  const parts: FilePlace[] = [{ offsetBytes: 0, file: createMemoryFile({ name, content: tables }) }];
  const cacheBytes = Math.max(LEAST_CACHE_BYTES, Math.floor(BLOB_CACHE_BYTES / Math.max(1, files.length)));
  for (const [index, { path, content }] of files.entries())
    parts.push({ offsetBytes: (places[index] ?? 0) * SECTOR_BYTES, file: open(path, content, cacheBytes) });
  return createJoinedFile(name, sector * SECTOR_BYTES, parts);
}

function sizeOf(content: IsoFile["content"]): number {
  if (content instanceof Uint8Array) return content.length;
  return content instanceof Blob ? content.size : content.sizeBytes;
}

function open(name: string, content: IsoFile["content"], cacheBytes: number): BlockFile {
  if (content instanceof Uint8Array) return createMemoryFile({ name, content });
  return content instanceof Blob ? createBlobFile(content, { name, cacheBytes }) : content;
}
