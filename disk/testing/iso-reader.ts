import type { BlockFile } from "../block-file.ts";

/** A file or directory as one of a disc's trees has it. */
export interface IsoListing {
  /** As the tree's own names are, or Rock Ridge's where it has them. */
  readonly path: string;
  /** The name in the directory record. */
  readonly id: string;
  readonly isDirectory: boolean;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly mtime: string;
  readonly mode: number | undefined;
}

export interface IsoVolume {
  readonly volumeId: string;
  readonly sizeBytes: number;
  /** Depth first, each directory in the disc's order. */
  readonly entries: readonly IsoListing[];
  /** The directories by the path table: their names and their parents' numbers, in its order. */
  readonly pathTable: readonly string[];
}

const SECTOR = 2048;

/**
 * Reads a disc as ECMA-119 and Joliet say, and Rock Ridge's entries; for tests. Knows nothing of how this program
 * writes one, and holds what is told twice (two byte orders, path table and directories) against each other.
 */
export async function readIso(file: BlockFile): Promise<{ primary: IsoVolume; joliet: IsoVolume }> {
  const descriptors: Uint8Array[] = [];
  for (let sector = 16; ; sector++) {
    const descriptor = await readAt(file, sector * SECTOR, SECTOR);
    if (text(descriptor.subarray(1, 6)) !== "CD001") throw new Error(`Sector ${sector} is no descriptor.`);
    if (descriptor[0] === 255) break;
    descriptors.push(descriptor);
  }
  const primary = descriptors.find(([type]) => type === 1);
  const joliet = descriptors.find((bytes) => bytes[0] === 2 && text(bytes.subarray(88, 91)) === "%/E");
  if (!primary || !joliet) throw new Error("There are not both trees.");
  return { primary: await readVolume(file, primary, text), joliet: await readVolume(file, joliet, ucs2) };
}

async function readVolume(
  file: BlockFile,
  descriptor: Uint8Array,
  decode: (bytes: Uint8Array) => string,
): Promise<IsoVolume> {
  const view = viewOf(descriptor);
  const entries: IsoListing[] = [];
  const found = new Map<number, string>();
  const root = both32(view, 156 + 2);
  const walk = async (path: string, sector: number, sizeBytes: number) => {
    found.set(sector, path);
    const bytes = await readAt(file, sector * SECTOR, sizeBytes);
    for (let at = 0, position = 0; at < sizeBytes; ) {
      const length = bytes[at] ?? 0;
      if (length === 0) {
        at = (Math.floor(at / SECTOR) + 1) * SECTOR;
        continue;
      }
      if ((at % SECTOR) + length > SECTOR) throw new Error(`A record of ${path} lies in two sectors.`);
      const record = bytes.subarray(at, at + length);
      const entry = await readRecord(file, path, record, decode);
      at += length;
      // The directory itself, and the one above it.
      if (position++ < 2) continue;
      entries.push(entry);
      if (entry.isDirectory) await walk(entry.path, entry.offsetBytes / SECTOR, entry.sizeBytes);
    }
  };
  await walk("", root, both32(view, 156 + 10));
  const tableBytes = both32(view, 132);
  const little = readPathTable(
    await readAt(file, view.getUint32(140, true) * SECTOR, tableBytes),
    true,
    decode,
  );
  const big = readPathTable(await readAt(file, view.getUint32(148) * SECTOR, tableBytes), false, decode);
  if (JSON.stringify(little) !== JSON.stringify(big)) throw new Error("The two path tables differ.");
  for (const { sector } of little)
    if (!found.has(sector)) throw new Error(`No directory is at sector ${sector}.`);
  if (little.length !== found.size) throw new Error("The path table has not every directory once.");
  return {
    volumeId: decode(descriptor.subarray(40, 72)).trimEnd(),
    sizeBytes: both32(view, 80) * SECTOR,
    entries,
    pathTable: little.map(({ id, parent }) => `${parent} ${id}`),
  };
}

async function readRecord(
  file: BlockFile,
  directory: string,
  record: Uint8Array,
  decode: (bytes: Uint8Array) => string,
): Promise<IsoListing> {
  const view = viewOf(record);
  const idBytes = record[32] ?? 0;
  const id = decode(record.subarray(33, 33 + idBytes));
  const systemUse = record.subarray(33 + idBytes + ((idBytes + 1) % 2));
  const rockRidge = decode === text ? await readSystemUse(file, systemUse) : {};
  const name = rockRidge.name ?? id.replace(/;1$/, "");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = record.subarray(18, 25);
  return {
    path: directory === "" ? name : `${directory}/${name}`,
    id,
    isDirectory: ((record[25] ?? 0) & 2) !== 0,
    offsetBytes: both32(view, 2) * SECTOR,
    sizeBytes: both32(view, 10),
    mtime: new Date(Date.UTC(1900 + year, month - 1, day, hour, minute, second)).toISOString(),
    mode: rockRidge.mode,
  };
}

async function readSystemUse(file: BlockFile, bytes: Uint8Array): Promise<{ name?: string; mode?: number }> {
  const name: Uint8Array[] = [];
  let mode: number | undefined;
  let next: [at: number, lengthBytes: number] | undefined;
  for (let at = 0; at + 4 <= bytes.length; ) {
    const signature = text(bytes.subarray(at, at + 2));
    const length = bytes[at + 2] ?? 0;
    if (length < 4 || at + length > bytes.length) break;
    const entry = bytes.subarray(at, at + length);
    const view = viewOf(entry);
    if (signature === "NM") name.push(entry.subarray(5));
    if (signature === "PX") mode = both32(view, 4);
    if (signature === "CE") next = [both32(view, 4) * SECTOR + both32(view, 12), both32(view, 20)];
    at += length;
  }
  let rest: { name?: string; mode?: number } = {};
  if (next) {
    if ((next[0] % SECTOR) + next[1] > SECTOR) throw new Error("A continuation lies in two sectors.");
    const more = await readAt(file, ...next);
    rest = await readSystemUse(file, more);
  }
  const own = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(name));
  const whole = own + (rest.name ?? "");
  return { ...(whole !== "" && { name: whole }), ...(mode !== undefined && { mode }) };
}

function readPathTable(bytes: Uint8Array, littleEndian: boolean, decode: (bytes: Uint8Array) => string) {
  const view = viewOf(bytes);
  const directories: { id: string; sector: number; parent: number }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const idBytes = bytes[at] ?? 0;
    directories.push({
      id: decode(bytes.subarray(at + 8, at + 8 + idBytes)),
      sector: view.getUint32(at + 2, littleEndian),
      parent: view.getUint16(at + 6, littleEndian),
    });
    at += 8 + idBytes + (idBytes % 2);
  }
  return directories;
}

function both32(view: DataView, at: number): number {
  const value = view.getUint32(at, true);
  if (value !== view.getUint32(at + 4))
    throw new Error(`The number at ${at} is not the same in both byte orders.`);
  return value;
}

async function readAt(file: BlockFile, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes).fill(0xa5);
  await file.read(offsetBytes, bytes);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

function ucs2(bytes: Uint8Array): string {
  // A root is named by one byte.
  return bytes.length === 1 ? text(bytes) : new TextDecoder("utf-16be", { fatal: true }).decode(bytes);
}
