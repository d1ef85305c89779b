/** Encodings of ISO 9660 (ECMA-119) and of Rock Ridge (RRIP 1.09 over SUSP 1.10). */

export const SECTOR_BYTES = 2048;

/** Numbers of 16 and 32 bits stand there in both byte orders (ECMA-119, 7.2.3 and 7.3.3). */
export function putBoth16(view: DataView, at: number, value: number): void {
  view.setUint16(at, value, true);
  view.setUint16(at + 2, value);
}

export function putBoth32(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint32(at + 4, value);
}

/** A time in UTC as years since 1900, month, day, hour, minute, second and offset (ECMA-119, 9.1.5). */
export function shortTime(ms: number): number[] {
  const time = within(ms);
  return [
    time.getUTCFullYear() - 1900,
    time.getUTCMonth() + 1,
    time.getUTCDate(),
    time.getUTCHours(),
    time.getUTCMinutes(),
    time.getUTCSeconds(),
    0,
  ];
}

/** A time in UTC in digits (ECMA-119, 8.4.26.1). */
export function longTime(ms: number): string {
  const digits = within(ms).toISOString().replace(/\D/g, "");
  return digits.slice(0, 16);
}

/** The years that both have, 1970 to 2155. */
function within(ms: number): Date {
  const lastMs = Date.UTC(2155, 11, 31, 23, 59, 59);
  return new Date(Number.isFinite(ms) ? Math.min(Math.max(ms, 0), lastMs) : 0);
}

export interface DirectoryRecord {
  readonly id: Uint8Array;
  readonly sector: number;
  readonly lengthBytes: number;
  readonly isDirectory: boolean;
  readonly mtimeMs: number;
  /** Rock Ridge's part; none in Joliet. */
  readonly systemUse: Uint8Array;
}

const RECORD_HEAD_BYTES = 33;
const DIRECTORY_FLAG = 2;
/** The length has one byte, and is even. */
const MAX_RECORD_BYTES = 254;

/** Bytes of a directory record before its system use. */
export function recordHeadBytes(idBytes: number): number {
  return Math.ceil((RECORD_HEAD_BYTES + idBytes) / 2) * 2;
}

export function encodeRecord(record: DirectoryRecord): Uint8Array<ArrayBuffer> {
  const headBytes = recordHeadBytes(record.id.length);
  const lengthBytes = Math.ceil((headBytes + record.systemUse.length) / 2) * 2;
  const bytes = new Uint8Array(lengthBytes);
  const view = new DataView(bytes.buffer);
  bytes[0] = lengthBytes;
  putBoth32(view, 2, record.sector);
  putBoth32(view, 10, record.lengthBytes);
  bytes.set(shortTime(record.mtimeMs), 18);
  bytes[25] = record.isDirectory ? DIRECTORY_FLAG : 0;
  putBoth16(view, 28, 1);
  bytes[32] = record.id.length;
  bytes.set(record.id, RECORD_HEAD_BYTES);
  bytes.set(record.systemUse, headBytes);
  return bytes;
}

/** The beginning of a system use entry: two letters, length, version (SUSP, 4). */
function entry(signature: string, lengthBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  bytes.set([signature.charCodeAt(0), signature.charCodeAt(1), lengthBytes, 1]);
  return bytes;
}

/** Says that there are system use entries; the first one of the root. */
export function susp(): Uint8Array {
  const bytes = entry("SP", 7);
  bytes.set([0xbe, 0xef], 4);
  return bytes;
}

/** Says that the entries are Rock Ridge's. */
export function rockRidge(): Uint8Array {
  const id = new TextEncoder().encode("RRIP_1991A");
  const bytes = entry("ER", 8 + id.length);
  bytes[4] = id.length;
  bytes[7] = 1;
  bytes.set(id, 8);
  return bytes;
}

/** What POSIX wants to know: read-only for all. */
export function posix(isDirectory: boolean, links: number): Uint8Array {
  const bytes = entry("PX", 36);
  const view = new DataView(bytes.buffer);
  putBoth32(view, 4, isDirectory ? 0o040555 : 0o100444);
  putBoth32(view, 12, links);
  return bytes;
}

/** When it was changed. */
export function timeStamp(mtimeMs: number): Uint8Array {
  const bytes = entry("TF", 12);
  const modified = 2;
  bytes[4] = modified;
  bytes.set(shortTime(mtimeMs), 5);
  return bytes;
}

/** The whole name; in two entries where it is longer than one takes. */
export function alternateName(name: Uint8Array): Uint8Array {
  const most = 250;
  const parts: Uint8Array[] = [];
  for (let at = 0; at < name.length; at += most) {
    const part = name.subarray(at, at + most);
    const bytes = entry("NM", 5 + part.length);
    const goesOn = 1;
    bytes[4] = at + most < name.length ? goesOn : 0;
    bytes.set(part, 5);
    parts.push(bytes);
  }
  return join(parts);
}

const CONTINUATION_BYTES = 28;

/** Where further entries stand. */
export function continuation(sector: number, offsetBytes: number, lengthBytes: number): Uint8Array {
  const bytes = entry("CE", CONTINUATION_BYTES);
  const view = new DataView(bytes.buffer);
  putBoth32(view, 4, sector);
  putBoth32(view, 12, offsetBytes);
  putBoth32(view, 20, lengthBytes);
  return bytes;
}

/** Whether a record has room for so much system use. */
export function fitsRecord(idBytes: number, systemUseBytes: number): boolean {
  return recordHeadBytes(idBytes) + systemUseBytes <= MAX_RECORD_BYTES;
}

/** One directory in a path table (ECMA-119, 9.4). */
export function encodePathRecord(
  id: Uint8Array,
  sector: number,
  parentNumber: number,
  littleEndian: boolean,
): Uint8Array {
  const bytes = new Uint8Array(8 + id.length + (id.length % 2));
  const view = new DataView(bytes.buffer);
  bytes[0] = id.length;
  view.setUint32(2, sector, littleEndian);
  view.setUint16(6, parentNumber, littleEndian);
  bytes.set(id, 8);
  return bytes;
}

export function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
