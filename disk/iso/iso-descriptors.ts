import { ucs2 } from "./iso-directories.ts";
import { longTime, putBoth16, putBoth32, SECTOR_BYTES } from "./iso-records.ts";

/** What a volume descriptor says. Places in sectors. */
export interface VolumeDescriptor {
  readonly kind: "primary" | "joliet";
  readonly volumeId: string;
  readonly totalSectors: number;
  readonly pathTableBytes: number;
  readonly littleEndianPathTable: number;
  readonly bigEndianPathTable: number;
  readonly rootRecord: Uint8Array;
  readonly timeMs: number;
}

const TYPE = { primary: 1, joliet: 2, end: 255 } as const;
/** Of the primary descriptor's name; Joliet's has half as many characters of two bytes. */
export const MAX_VOLUME_ID_BYTES = 32;
/** UCS-2, level 3 (Joliet, "Escape Sequences"). */
const JOLIET_ESCAPE = [0x25, 0x2f, 0x45];
/** Text fields that nothing is said in: system, then from volume set to bibliography. */
const EMPTY_FIELDS = [
  [8, 32],
  [190, 623],
] as const;
/** Created, changed; then since when and until when it is good, which is not said. */
const TIMES = { created: 813, changed: 830, expires: 847, effective: 864 } as const;

/** One sector of ECMA-119, 8.4 or 8.5. */
export function encodeDescriptor(volume: VolumeDescriptor): Uint8Array<ArrayBuffer> {
  const { kind } = volume;
  const bytes = descriptor(TYPE[kind]);
  const view = new DataView(bytes.buffer);
  for (const [at, length] of EMPTY_FIELDS) putText(bytes, kind, at, length, "");
  putText(bytes, kind, 40, MAX_VOLUME_ID_BYTES, volume.volumeId);
  putBoth32(view, 80, volume.totalSectors);
  if (kind === "joliet") bytes.set(JOLIET_ESCAPE, 88);
  putBoth16(view, 120, 1);
  putBoth16(view, 124, 1);
  putBoth16(view, 128, SECTOR_BYTES);
  putBoth32(view, 132, volume.pathTableBytes);
  view.setUint32(140, volume.littleEndianPathTable, true);
  view.setUint32(148, volume.bigEndianPathTable);
  bytes.set(volume.rootRecord, 156);
  const time = new TextEncoder().encode(longTime(volume.timeMs));
  const never = new TextEncoder().encode("0".repeat(16));
  bytes.set(time, TIMES.created);
  bytes.set(time, TIMES.changed);
  bytes.set(never, TIMES.expires);
  bytes.set(never, TIMES.effective);
  // Version of the file structure.
  bytes[881] = 1;
  return bytes;
}

/** Says that no further descriptors follow (ECMA-119, 8.3). */
export function endDescriptor(): Uint8Array<ArrayBuffer> {
  return descriptor(TYPE.end);
}

function descriptor(type: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SECTOR_BYTES);
  bytes[0] = type;
  bytes.set(new TextEncoder().encode("CD001"), 1);
  bytes[6] = 1;
  return bytes;
}

/** Text filled up with spaces. */
function putText(
  bytes: Uint8Array,
  kind: "primary" | "joliet",
  at: number,
  lengthBytes: number,
  text: string,
): void {
  const encoded =
    kind === "primary"
      ? new TextEncoder().encode(
          text
            .toUpperCase()
            .replace(/[^A-Z0-9_]/g, "_")
            .padEnd(lengthBytes),
        )
      : ucs2(text.padEnd(lengthBytes / 2));
  bytes.set(encoded.subarray(0, lengthBytes), at);
}
