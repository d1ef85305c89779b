/**
 * One header block of a tar archive (POSIX ustar, pax, and GNU's variants), as plain values.
 */
export interface TarHeader {
  /** The header's own name, its prefix included; an extended header before it may replace it. */
  readonly name: string;
  /** Bytes of data that follow; an extended header before it may replace it. */
  readonly sizeBytes: number;
  /** The type as it stands there; NUL, an old archive's file, is "0". */
  readonly type: string;
  /** GNU's old sparse files: whether further blocks of the map follow the header. */
  readonly sparseMapGoesOn: boolean;
}

/** Unit of an archive: headers are one block, data is padded to whole ones. */
export const TAR_BLOCK_BYTES = 512;

const NAME = { at: 0, length: 100 } as const;
const SIZE = { at: 124, length: 12 } as const;
const CHECKSUM = { at: 148, length: 8 } as const;
const TYPE_AT = 156;
const MAGIC = { at: 257, length: 6 } as const;
const PREFIX = { at: 345, length: 155 } as const;
const GNU_SPARSE_GOES_ON_AT = 482;

/**
 * Parses a header block.
 *
 * @returns undefined when its checksum or a number in it is wrong: this is not a header.
 */
export function parseTarHeader(block: Uint8Array): TarHeader | undefined {
  const wanted = parseNumber(field(block, CHECKSUM));
  if (wanted === undefined || !checksums(block).includes(wanted)) return undefined;
  const sizeBytes = parseNumber(field(block, SIZE));
  if (sizeBytes === undefined) return undefined;
  // GNU's own magic is "ustar " and what POSIX calls prefix holds other things there.
  const isPosix = text(field(block, MAGIC)) === "ustar" && block[MAGIC.at + 5] === 0;
  const prefix = isPosix ? text(field(block, PREFIX)) : "";
  const name = text(field(block, NAME));
  const type = block[TYPE_AT] === 0 ? "0" : String.fromCharCode(block[TYPE_AT] ?? 0);
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    sizeBytes,
    type,
    sparseMapGoesOn: type === "S" && block[GNU_SPARSE_GOES_ON_AT] !== 0,
  };
}

/**
 * Parses the records of a pax extended header: `length key=value\n`, the length counting the whole record.
 *
 * @returns undefined when a record is not of that form.
 */
export function parsePaxRecords(data: Uint8Array): Map<string, string> | undefined {
  const records = new Map<string, string>();
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    if (space < 0 || space - at > 10) return undefined;
    const digits = text(data.subarray(at, space));
    const lengthBytes = Number(digits);
    const end = at + lengthBytes;
    if (!/^[0-9]+$/.test(digits) || end <= space + 1 || end > data.length || data[end - 1] !== 0x0a)
      return undefined;
    const record = data.subarray(space + 1, end - 1);
    const equals = record.indexOf(0x3d);
    if (equals < 1) return undefined;
    records.set(text(record.subarray(0, equals)), new TextDecoder().decode(record.subarray(equals + 1)));
    at = end;
  }
  return records;
}

/** Text up to the first NUL. */
export function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function field(block: Uint8Array, { at, length }: { at: number; length: number }): Uint8Array {
  return block.subarray(at, at + length);
}

/** Octal digits between spaces and NULs; or, with the top bit set, GNU's big-endian binary. */
function parseNumber(bytes: Uint8Array): number | undefined {
  const first = bytes[0] ?? 0;
  if (first & 0x80) {
    // Bit 6 is the sign: nothing that is counted here is negative.
    if (first & 0x40) return undefined;
    let value = first & 0x3f;
    for (const byte of bytes.subarray(1)) value = value * 256 + byte;
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = text(bytes).trim();
  if (digits === "") return 0;
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** The sum of the header's bytes with the checksum's own as spaces; old programs added them as signed. */
function checksums(block: Uint8Array): [number, number] {
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < TAR_BLOCK_BYTES; i++) {
    const inChecksum = i >= CHECKSUM.at && i < CHECKSUM.at + CHECKSUM.length;
    const byte = inChecksum ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  return [unsigned, signed];
}
