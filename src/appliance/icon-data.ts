/** Most bytes of an icon: all that an image's description has room for. */
export const MAX_ICON_BYTES = 32 * 1024;
/** A picture of 32 KiB can claim to be 65,535 pixels wide, and would take gigabytes once unpacked. */
export const MAX_ICON_SIDE = 1024;

export type IconType = "image/png" | "image/jpeg" | "image/webp" | "image/gif";

/** A picture that was looked into: one of four types, by its own first bytes, and of a bounded size. */
export interface IconData {
  readonly type: IconType;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

const DATA_URL = /^data:image\/(?:png|jpeg|webp|gif);base64,/i;

/**
 * Reads an icon out of a `data:` URL. What the URL says the type is does not count; the bytes do.
 *
 * @returns undefined for anything that is not a PNG, JPEG, WebP or GIF picture of at most `MAX_ICON_BYTES` and
 *   `MAX_ICON_SIDE` pixels a side.
 */
export function readIcon(value: string): IconData | undefined {
  if (value.length > 64 + Math.ceil((MAX_ICON_BYTES * 4) / 3)) return undefined;
  const head = DATA_URL.exec(value)?.[0];
  if (head === undefined) return undefined;
  const bytes = decodeBase64(value.slice(head.length));
  return bytes && iconOf(bytes);
}

/** The icon of an image's description as it stands there; undefined where there is none that can be shown. */
export function iconIn(metadata: ReadonlyMap<string, string>): string | undefined {
  const value = metadata.get("appliance.icon");
  return value !== undefined && readIcon(value) ? value : undefined;
}

/** As `readIcon`, for the bytes of a file. */
export function iconOf(bytes: Uint8Array<ArrayBuffer>): IconData | undefined {
  if (bytes.length > MAX_ICON_BYTES || bytes.length < 16) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const type = typeOf(view);
  const size = type && SIZE_READERS[type](view);
  if (!type || !size || size.width < 1 || size.height < 1) return undefined;
  if (size.width > MAX_ICON_SIDE || size.height > MAX_ICON_SIDE) return undefined;
  return { type, bytes, ...size };
}

/** The icon as it is kept in an image's description. */
export function iconUrl({ type, bytes }: IconData): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:${type};base64,${btoa(text)}`;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

function typeOf(view: DataView): IconType | undefined {
  if (view.getUint32(0) === 0x89504e47 && view.getUint32(4) === 0x0d0a1a0a) return "image/png";
  if (view.getUint32(0) >>> 8 === 0xffd8ff) return "image/jpeg";
  if (textAt(view, 0, 4) === "RIFF" && textAt(view, 8, 4) === "WEBP") return "image/webp";
  if (["GIF87a", "GIF89a"].includes(textAt(view, 0, 6))) return "image/gif";
  return undefined;
}

const SIZE_READERS: Record<IconType, (view: DataView) => Size | undefined> = {
  "image/png": (view) => {
    if (view.byteLength < 24 || textAt(view, 12, 4) !== "IHDR") return undefined;
    return { width: view.getUint32(16), height: view.getUint32(20) };
  },
  "image/jpeg": jpegSize,
  "image/webp": webpSize,
  "image/gif": gifSize,
};

/** From the first frame header; segments before it are stepped over by their lengths. */
function jpegSize(view: DataView): Size | undefined {
  for (let at = 2; at + 9 <= view.byteLength; ) {
    if (view.getUint8(at) !== 0xff) return undefined;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    const lengthBytes = view.getUint16(at + 2);
    if (lengthBytes < 2) return undefined;
    at += 2 + lengthBytes;
  }
  return undefined;
}

function webpSize(view: DataView): Size | undefined {
  if (view.byteLength < 30) return undefined;
  const u24 = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  switch (textAt(view, 12, 4)) {
    case "VP8X":
      return { width: u24(24) + 1, height: u24(27) + 1 };
    case "VP8L": {
      const bits = view.getUint32(21, true);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case "VP8 ":
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
    default:
      return undefined;
  }
}

/** The larger of the screen and the first frame, which decoders let stick out of it. */
function gifSize(view: DataView): Size | undefined {
  const tableBytes = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + tableBytes(view.getUint8(10));
  while (at + 10 <= view.byteLength) {
    const block = view.getUint8(at);
    if (block === 0x2c) {
      const [left, top] = [view.getUint16(at + 1, true), view.getUint16(at + 3, true)];
      const [width, height] = [view.getUint16(at + 5, true), view.getUint16(at + 7, true)];
      return {
        width: Math.max(view.getUint16(6, true), left + width),
        height: Math.max(view.getUint16(8, true), top + height),
      };
    }
    if (block !== 0x21) return undefined;
    // An extension: its label, then blocks that each say their length, up to an empty one.
    at += 2;
    while (at < view.byteLength && view.getUint8(at) !== 0) at += 1 + view.getUint8(at);
    at++;
  }
  return undefined;
}

function textAt(view: DataView, at: number, length: number): string {
  let text = "";
  for (let index = 0; index < length; index++) text += String.fromCharCode(view.getUint8(at + index));
  return text;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
