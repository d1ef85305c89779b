import { crc32, deflateSync } from "node:zlib";

/** Pixels a side: what the page shows at most, on a dense screen. */
const SIDE = 128;
/** Points looked at in each pixel, in both directions: smooth edges. */
const SAMPLES = 4;

type Colour = readonly [red: number, green: number, blue: number];

const CASE: Colour = [0x2c, 0x5f, 0x46];
const SCREEN: Colour = [0x0f, 0x1d, 0x15];
const PROMPT: Colour = [0x93, 0xd1, 0xae];
const CURSOR: Colour = [0xf4, 0xf5, 0xf2];

/** The demo appliance's picture, a screen with a prompt on it, as a `data:` URL of a PNG. */
export function drawIcon(): string {
  const pixels = new Uint8Array(SIDE * (1 + SIDE * 4));
  for (let y = 0; y < SIDE; y++)
    // Each line begins with its filter: 0, none.
    for (let x = 0; x < SIDE; x++) pixels.set(pixelAt(x, y), y * (1 + SIDE * 4) + 1 + x * 4);
  return `data:image/png;base64,${encodePng(pixels).toString("base64")}`;
}

/** Red, green, blue and opacity of a pixel: the mean of the points in it. */
function pixelAt(x: number, y: number): readonly number[] {
  const sum = [0, 0, 0];
  let covered = 0;
  for (let sample = 0; sample < SAMPLES * SAMPLES; sample++) {
    const atX = x + ((sample % SAMPLES) + 0.5) / SAMPLES;
    const atY = y + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES;
    const colour = colourAt(atX / SIDE, atY / SIDE);
    if (!colour) continue;
    covered++;
    for (const [index, value] of colour.entries()) sum[index] = (sum[index] ?? 0) + value;
  }
  if (covered === 0) return [0, 0, 0, 0];
  const opacity = Math.round((255 * covered) / (SAMPLES * SAMPLES));
  return [...sum.map((value) => Math.round(value / covered)), opacity];
}

/** What is drawn at a point of the unit square, the topmost first. */
function colourAt(x: number, y: number): Colour | undefined {
  if (onLine(x, y, [0.29, 0.38], [0.42, 0.5]) || onLine(x, y, [0.29, 0.62], [0.42, 0.5])) return PROMPT;
  if (onLine(x, y, [0.52, 0.63], [0.7, 0.63])) return CURSOR;
  if (inBox(x, y, 0.13, 0.21, 0.87, 0.79, 0.05)) return SCREEN;
  if (inBox(x, y, 0.03, 0.11, 0.97, 0.89, 0.13)) return CASE;
  return undefined;
}

const LINE_WIDTH = 0.07;

type Point = readonly [x: number, y: number];

/** Whether a point is on a line with round ends. */
function onLine(x: number, y: number, [fromX, fromY]: Point, [toX, toY]: Point): boolean {
  const [dx, dy] = [toX - fromX, toY - fromY];
  const along = Math.min(1, Math.max(0, ((x - fromX) * dx + (y - fromY) * dy) / (dx * dx + dy * dy)));
  return Math.hypot(x - fromX - along * dx, y - fromY - along * dy) <= LINE_WIDTH / 2;
}

/** Whether a point is in a box with round corners. */
function inBox(
  x: number,
  y: number,
  left: number,
  top: number,
  right: number,
  bottom: number,
  radius: number,
): boolean {
  const dx = Math.max(left + radius - x, 0, x - (right - radius));
  const dy = Math.max(top + radius - y, 0, y - (bottom - radius));
  return Math.hypot(dx, dy) <= radius;
}

/** @param scanlines of 8-bit RGBA, each after its filter's number. */
function encodePng(scanlines: Uint8Array): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE, 0);
  header.writeUInt32BE(SIDE, 4);
  // 8 bits a channel, colour and opacity; deflate, the five filters, no interlacing.
  header.set([8, 6, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(scanlines, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  out.set(body, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}
