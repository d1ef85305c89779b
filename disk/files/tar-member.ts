import type { BlockFile } from "../block-file.ts";
import { ByreError, type ByreErrorCode } from "../errors.ts";
import { createSliceFile } from "./slice-file.ts";
import { parsePaxRecords, parseTarHeader, TAR_BLOCK_BYTES, text } from "./tar-header.ts";

/** One member of an archive, and where in it its bytes stand. */
export interface TarMember {
  readonly name: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** Only a file can be opened; a sparse one is stored in pieces, so its bytes are nowhere in one row. */
  readonly kind: "file" | "sparse" | "other";
}

/** Headers read of one archive, extended ones included: what lists in a second or so from a disk. */
const MAX_HEADERS = 100_000;
/** Bytes of one extended header or long name. A path is 4 KiB at most; other records are small. */
const MAX_EXTENDED_BYTES = 1024 * 1024;
/** All of one archive's together: names are kept, and nobody needs gigabytes of them. */
const MAX_ALL_EXTENDED_BYTES = 64 * 1024 * 1024;

/**
 * Opens a file inside a tar archive where it stands, without unpacking it: it can be read, and written in
 * place where the archive can, but its length is fixed (FIXED_SIZE). The archive must not be compressed.
 *
 * @param file the archive; owned by the member from now on, and closed here when opening fails.
 * @param memberName as `tar -t` lists it; a leading "./" makes no difference. Of several members of one name
 *   the last is meant, as it is when unpacking.
 * @throws ByreError NOT_FOUND; UNSUPPORTED_FEATURE for a sparse member, a link or a folder; and what
 *   `listTarMembers` throws.
 */
export async function openTarMember(file: BlockFile, memberName: string): Promise<BlockFile> {
  try {
    const members = await listTarMembers(file);
    const wanted = plainName(memberName);
    const member = members.findLast(({ name }) => plainName(name) === wanted);
    if (!member) throw fail(file, "NOT_FOUND", 0, `it has no member "${memberName}"`);
    if (member.kind === "sparse")
      throw fail(
        file,
        "UNSUPPORTED_FEATURE",
        member.offsetBytes,
        `its member "${memberName}" is stored sparse, in pieces, and can only be unpacked (tar -x), not opened in place`,
      );
    if (member.kind === "other")
      throw fail(
        file,
        "UNSUPPORTED_FEATURE",
        member.offsetBytes,
        `its member "${memberName}" is a link, a folder or a device, not a file`,
      );
    return createSliceFile(file, {
      offsetBytes: member.offsetBytes,
      sizeBytes: member.sizeBytes,
      name: `${file.name}/${member.name}`,
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Lists an archive by its headers; no data is read. Ustar, pax (names and sizes) and GNU (long names, sizes
 * past 8 GiB) are understood.
 *
 * @param file stays the caller's.
 * @throws ByreError CORRUPT when a header is damaged or this is no tar archive, TRUNCATED when a member goes
 *   past the end, TOO_LARGE past 100,000 headers.
 */
export async function listTarMembers(file: BlockFile): Promise<TarMember[]> {
  const members: TarMember[] = [];
  const block = new Uint8Array(TAR_BLOCK_BYTES);
  let global: ReadonlyMap<string, string> = new Map();
  let extended: ReadonlyMap<string, string> = new Map();
  let longName: string | undefined;
  let headers = 0;
  let allExtendedBytes = 0;
  const countHeader = (at: number) => {
    if (++headers > MAX_HEADERS)
      throw fail(file, "TOO_LARGE", at, `it has more than ${MAX_HEADERS} headers, too many to look through`);
  };
  for (let at = 0; at + TAR_BLOCK_BYTES <= file.sizeBytes; ) {
    countHeader(at);
    await file.read(at, block);
    // Two blocks of zeros end an archive; as with tar, one is enough.
    if (block.every((byte) => byte === 0)) return members;
    const header = parseTarHeader(block);
    if (!header)
      throw fail(
        file,
        "CORRUPT",
        at,
        at === 0
          ? "this is not a tar archive, or it is compressed (unpack it with gzip -d or the like first)"
          : "a header's checksum or size is wrong",
      );
    let dataAt = at + TAR_BLOCK_BYTES;
    for (let goesOn = header.sparseMapGoesOn; goesOn; dataAt += TAR_BLOCK_BYTES) {
      countHeader(dataAt);
      await readChecked(file, dataAt, block);
      goesOn = block[504] !== 0;
    }
    const isExtension = "xgLK".includes(header.type);
    const records = new Map([...global, ...extended]);
    const sizeBytes = isExtension ? header.sizeBytes : memberSize(file, at, header, records);
    if (sizeBytes > file.sizeBytes - dataAt)
      throw fail(
        file,
        "TRUNCATED",
        at,
        `a member of ${sizeBytes} bytes begins there, but the archive ends after ${file.sizeBytes} bytes`,
      );
    if (isExtension) {
      allExtendedBytes += sizeBytes;
      if (sizeBytes > MAX_EXTENDED_BYTES || allExtendedBytes > MAX_ALL_EXTENDED_BYTES)
        throw fail(
          file,
          "TOO_LARGE",
          at,
          `an extended header has ${sizeBytes} bytes; 1 MiB is read, and 64 MiB of all of them`,
        );
      const data = new Uint8Array(sizeBytes);
      await readChecked(file, dataAt, data);
      if (header.type === "L") longName = text(data);
      if (header.type === "x" || header.type === "g") {
        const parsed = usedRecords(parsePaxRecords(data));
        if (!parsed) throw fail(file, "CORRUPT", at, "an extended header's records are damaged");
        if (header.type === "x") extended = parsed;
        else global = new Map([...global, ...parsed]);
      }
    } else {
      const isSparse =
        header.type === "S" || [...records.keys()].some((key) => key.startsWith("GNU.sparse."));
      // A sparse member's own path is made up ("./GNUSparseFile.7/disk.raw").
      const name = records.get("GNU.sparse.name") ?? records.get("path") ?? longName ?? header.name;
      members.push({
        name,
        offsetBytes: dataAt,
        sizeBytes,
        kind: isSparse ? "sparse" : isFile(header.type, name) ? "file" : "other",
      });
      extended = new Map();
      longName = undefined;
    }
    at = dataAt + Math.ceil(sizeBytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
  }
  if (members.length === 0 && headers === 0)
    throw fail(file, "TRUNCATED", 0, `it has only ${file.sizeBytes} bytes`);
  return members;
}

/** The records that say something here: an archive may have any others. */
function usedRecords(records: ReadonlyMap<string, string> | undefined): Map<string, string> | undefined {
  if (!records) return undefined;
  const isUsed = ([key]: [string, string]) =>
    key === "path" || key === "size" || key.startsWith("GNU.sparse.");
  return new Map([...records].filter(isUsed));
}

/** "0" a file, "7" a file that was laid out in one piece; a name that ends with a slash is an old folder. */
function isFile(type: string, name: string): boolean {
  return type === "7" || (type === "0" && !name.endsWith("/"));
}

function memberSize(
  file: BlockFile,
  at: number,
  header: { type: string; sizeBytes: number },
  records: ReadonlyMap<string, string>,
): number {
  // A hard link has a size and no data.
  if (header.type === "1") return 0;
  const size = records.get("size");
  if (size === undefined) return header.sizeBytes;
  if (!/^[0-9]+$/.test(size) || !Number.isSafeInteger(Number(size)))
    throw fail(file, "CORRUPT", at, `an extended header gives the size "${size.slice(0, 40)}"`);
  return Number(size);
}

async function readChecked(file: BlockFile, offsetBytes: number, target: Uint8Array): Promise<void> {
  if (offsetBytes + target.length > file.sizeBytes)
    throw fail(file, "TRUNCATED", offsetBytes, `the archive ends after ${file.sizeBytes} bytes`);
  await file.read(offsetBytes, target);
}

function plainName(name: string): string {
  return name.replace(/^(\.\/)+/, "");
}

function fail(file: BlockFile, code: ByreErrorCode, offsetBytes: number, what: string): ByreError {
  return new ByreError(code, `${file.name}: ${what} (offset ${offsetBytes}).`, {
    file: file.name,
    offsetBytes,
  });
}
