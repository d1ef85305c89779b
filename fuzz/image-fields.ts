/**
 * Where the fields of a qcow2 image stand, found by a reading of the format of its own: a fuzzer that asked
 * the driver would only reach what the driver understands.
 */
export interface ImageField {
  /** What it is, for reports: `header.l1_size`, `snapshot[1].name_size`, `l2[0][17]`. */
  readonly name: string;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Big-endian numbers are given odd values; bytes are flipped, overwritten and moved. */
  readonly kind: "number" | "bytes";
}

/** Entries listed of one table: the first, and those in use. */
const MAX_ENTRIES = 24;

const HEADER_FIELDS: readonly [string, number, number][] = [
  ["magic", 0, 4],
  ["version", 4, 4],
  ["backing_file_offset", 8, 8],
  ["backing_file_size", 16, 4],
  ["cluster_bits", 20, 4],
  ["size", 24, 8],
  ["crypt_method", 32, 4],
  ["l1_size", 36, 4],
  ["l1_table_offset", 40, 8],
  ["refcount_table_offset", 48, 8],
  ["refcount_table_clusters", 56, 4],
  ["nb_snapshots", 60, 4],
  ["snapshots_offset", 64, 8],
];
const HEADER_FIELDS_V3: readonly [string, number, number][] = [
  ["incompatible_features", 72, 8],
  ["compatible_features", 80, 8],
  ["autoclear_features", 88, 8],
  ["refcount_order", 96, 4],
  ["header_length", 100, 4],
  ["compression_type", 104, 1],
  ["padding", 105, 7],
];

const BITMAPS_EXTENSION = 0x23852875;
const EXTENDED_L2_BIT = 1n << 4n;

/** Lists the fields of a valid image. What does not fit the bytes is left out. */
export function findImageFields(image: Uint8Array): ImageField[] {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const fields: ImageField[] = [];
  const add = (
    name: string,
    offsetBytes: number,
    lengthBytes: number,
    kind: ImageField["kind"] = "number",
  ) => {
    if (offsetBytes >= 0 && lengthBytes > 0 && offsetBytes + lengthBytes <= image.length)
      fields.push({ name, offsetBytes, lengthBytes, kind });
  };
  const u32 = (at: number) => (at + 4 <= image.length ? view.getUint32(at) : 0);
  const u64 = (at: number) => (at + 8 <= image.length ? Number(view.getBigUint64(at)) : 0);
  const offsetOf = (at: number) =>
    at + 8 <= image.length ? Number(view.getBigUint64(at) & 0xff_ffff_ffff_fe00n) : 0;

  const version = u32(4);
  const headerBytes = version >= 3 ? u32(100) : 72;
  const clusterBytes = 2 ** Math.min(21, u32(20));
  const extended = version >= 3 && headerBytes >= 104 && (view.getBigUint64(72) & EXTENDED_L2_BIT) !== 0n;
  for (const [name, at, length] of version >= 3 ? [...HEADER_FIELDS, ...HEADER_FIELDS_V3] : HEADER_FIELDS)
    add(`header.${name}`, at, length);

  let bitmaps: { count: number; directoryBytes: number; offsetBytes: number } | undefined;
  for (let at = headerBytes, i = 0; at + 8 <= clusterBytes && i < 16; i++) {
    const magic = u32(at);
    const length = u32(at + 4);
    add(`extension[${i}].magic`, at, 4);
    add(`extension[${i}].length`, at + 4, 4);
    if (magic === 0) break;
    add(`extension[${i}].data`, at + 8, Math.min(length, 512), "bytes");
    if (magic === BITMAPS_EXTENSION) {
      add("bitmaps.count", at + 8, 4);
      add("bitmaps.reserved", at + 12, 4);
      add("bitmaps.directory_size", at + 16, 8);
      add("bitmaps.directory_offset", at + 24, 8);
      bitmaps = { count: u32(at + 8), directoryBytes: u64(at + 16), offsetBytes: u64(at + 24) };
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  add("backing_name", u64(8), u32(16), "bytes");

  const table = (
    name: string,
    offsetBytes: number,
    entries: number,
    entryBytes: number,
    visit?: (at: number, index: number) => void,
  ) => {
    let listed = 0;
    for (let i = 0; i < entries && listed < MAX_ENTRIES; i++) {
      const at = offsetBytes + i * entryBytes;
      if (at + entryBytes > image.length) return;
      const used = view.getBigUint64(at) !== 0n || (entryBytes === 16 && view.getBigUint64(at + 8) !== 0n);
      if (i > 2 && !used) continue;
      listed++;
      add(`${name}[${i}]`, at, 8);
      if (entryBytes === 16) add(`${name}[${i}].bitmap`, at + 8, 8);
      if (used) visit?.(at, i);
    }
  };

  const refcountTable = u64(48);
  table("refcount_table", refcountTable, (u32(56) * clusterBytes) / 8, 8, (at, i) =>
    add(`refcount_block[${i}]`, offsetOf(at), Math.min(clusterBytes, 64), "bytes"),
  );

  const entryBytes = extended ? 16 : 8;
  const addLevels = (name: string, l1Offset: number, l1Entries: number) =>
    table(`${name}l1`, l1Offset, l1Entries, 8, (l1At, i) =>
      table(`${name}l2[${i}]`, offsetOf(l1At), clusterBytes / entryBytes, entryBytes, (at, j) => {
        const entry = view.getBigUint64(at);
        if (((entry >> 62n) & 1n) === 0n) return;
        const shift = 62n - (BigInt(Math.log2(clusterBytes)) - 8n);
        const start = Number(entry & ((1n << shift) - 1n));
        add(`${name}compressed[${i}][${j}]`, start, Math.min(image.length - start, 256), "bytes");
        add(`${name}compressed[${i}][${j}].start`, start, 16, "bytes");
      }),
    );
  addLevels("", u64(40), u32(36));

  let at = u64(64);
  for (let i = 0; i < Math.min(4, u32(60)) && at > 0; i++) {
    const extraBytes = u32(at + 36);
    const idBytes = at + 14 <= image.length ? view.getUint16(at + 12) : 0;
    const nameBytes = at + 16 <= image.length ? view.getUint16(at + 14) : 0;
    const one = `snapshot[${i}].`;
    add(`${one}l1_table_offset`, at, 8);
    add(`${one}l1_size`, at + 8, 4);
    add(`${one}id_size`, at + 12, 2);
    add(`${one}name_size`, at + 14, 2);
    add(`${one}date`, at + 16, 8);
    add(`${one}vm_clock`, at + 24, 8);
    add(`${one}vm_state_size`, at + 32, 4);
    add(`${one}extra_size`, at + 36, 4);
    add(`${one}extra.vm_state_size`, at + 40, Math.min(8, extraBytes));
    add(`${one}extra.disk_size`, at + 48, Math.min(8, extraBytes - 8));
    add(`${one}extra.icount`, at + 56, Math.min(8, extraBytes - 16));
    add(`${one}id`, at + 40 + extraBytes, idBytes, "bytes");
    add(`${one}name`, at + 40 + extraBytes + idBytes, nameBytes, "bytes");
    addLevels(one, u64(at), u32(at + 8));
    at += Math.ceil((40 + extraBytes + idBytes + nameBytes) / 8) * 8;
  }

  let directoryAt = bitmaps?.offsetBytes ?? 0;
  for (let i = 0; bitmaps && i < Math.min(4, bitmaps.count); i++) {
    const one = `bitmap[${i}].`;
    add(`${one}table_offset`, directoryAt, 8);
    add(`${one}table_size`, directoryAt + 8, 4);
    add(`${one}flags`, directoryAt + 12, 4);
    add(`${one}type`, directoryAt + 16, 1);
    add(`${one}granularity_bits`, directoryAt + 17, 1);
    add(`${one}name_size`, directoryAt + 18, 2);
    add(`${one}extra_size`, directoryAt + 20, 4);
    const extraBytes = u32(directoryAt + 20);
    const nameBytes = directoryAt + 20 <= image.length ? view.getUint16(directoryAt + 18) : 0;
    add(`${one}name`, directoryAt + 24 + extraBytes, nameBytes, "bytes");
    table(`${one}table`, u64(directoryAt), u32(directoryAt + 8), 8);
    directoryAt += Math.ceil((24 + extraBytes + nameBytes) / 8) * 8;
  }
  return fields;
}
