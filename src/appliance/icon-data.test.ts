import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { iconOf, iconUrl, MAX_ICON_BYTES, readIcon } from "./icon-data.ts";

const bytes = (...values: (number | string)[]) =>
  new Uint8Array(
    values.flatMap((value) =>
      typeof value === "string" ? [...value].map((character) => character.charCodeAt(0)) : [value],
    ),
  );
const u16 = (value: number) => [value >>> 8, value & 255] as const;
const le16 = (value: number) => [value & 255, value >>> 8] as const;

const png = (width: number, height: number) =>
  bytes(
    0x89,
    "PNG\r\n",
    0x1a,
    "\n",
    0,
    0,
    0,
    13,
    "IHDR",
    0,
    0,
    ...u16(width),
    0,
    0,
    ...u16(height),
    8,
    6,
    0,
    0,
    0,
  );
const jpeg = (width: number, height: number) =>
  bytes(
    0xff,
    0xd8,
    0xff,
    0xe0,
    0,
    4,
    1,
    1,
    0xff,
    0xc2,
    0,
    11,
    8,
    ...u16(height),
    ...u16(width),
    1,
    1,
    0x11,
    0,
  );
const gif = (screen: number, frame: number) =>
  bytes(
    "GIF89a",
    ...le16(screen),
    ...le16(screen),
    0x80,
    0,
    0,
    0,
    0,
    0,
    1,
    1,
    1,
    0x21,
    0xf9,
    4,
    0,
    0,
    0,
    0,
    0,
    0x2c,
    0,
    0,
    0,
    0,
    ...le16(frame),
    ...le16(frame),
    0,
    2,
  );
const webp = (chunk: string, ...rest: number[]) =>
  bytes("RIFF", 40, 0, 0, 0, "WEBP", chunk, 10, 0, 0, 0, ...rest, ...new Array<number>(20).fill(0));
const url = (data: Uint8Array, type = "image/png") =>
  `data:${type};base64,${Buffer.from(data).toString("base64")}`;

describe("an icon", () => {
  it.each([
    ["image/png", png(64, 48), 64, 48],
    ["image/jpeg", jpeg(64, 48), 64, 48],
    ["image/gif", gif(64, 32), 64, 64],
    ["image/webp", webp("VP8X", 0, 0, 0, 0, 63, 0, 0, 47, 0, 0), 64, 48],
    ["image/webp", webp("VP8L", 0x2f, 63, 0xc0, 0x0b, 0), 64, 48],
    ["image/webp", webp("VP8 ", 0, 0, 0, 0x9d, 1, 0x2a, 64, 0, 48, 0), 64, 48],
  ])("is a picture of %s, whatever its URL says it is", (type, data, width, height) => {
    for (const said of ["image/png", "image/gif"]) {
      expect(readIcon(url(data, said))).toEqual({ type, bytes: data, width, height });
    }
  });

  it("comes back from its URL", () => {
    const icon = iconOf(png(8, 8));
    expect(icon && readIcon(iconUrl(icon))).toEqual(icon);
  });

  it.each([
    ["an SVG", `data:image/svg+xml;base64,${btoa("<svg onload='alert(1)'/>")}`],
    [
      "an SVG that says it is a PNG",
      url(bytes("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")),
    ],
    ["a page", "data:text/html;base64,PHNjcmlwdD4="],
    ["an address", "https://example.org/icon.png"],
    ["a script", "javascript:alert(1)"],
    ["no base64", "data:image/png;base64,%%%%"],
    ["nothing", "data:image/png;base64,"],
    ["a picture that claims 65,535 pixels", url(png(65535, 65535))],
    ["a GIF whose frame is larger than its screen", url(gif(1, 60000))],
    ["a picture of no size", url(png(0, 8))],
    ["more than 32 KiB", url(Uint8Array.from([...png(8, 8), ...new Uint8Array(MAX_ICON_BYTES)]))],
    ["endless text", `data:image/png;base64,${"A".repeat(1_000_000)}`],
  ])("is not %s", (_, value) => {
    expect(readIcon(value)).toBeUndefined();
  });

  it("is never read past its end, whatever bytes follow its first ones", () => {
    const head = fc.constantFrom(
      png(8, 8),
      jpeg(8, 8),
      gif(8, 8),
      webp("VP8X", 0, 0, 0, 0, 7, 0, 0, 7, 0, 0),
    );
    fc.assert(
      fc.property(head, fc.nat(40), fc.uint8Array({ maxLength: 60 }), (start, keep, rest) => {
        const icon = iconOf(Uint8Array.from([...start.slice(0, keep), ...rest]));
        expect(icon === undefined || icon.width * icon.height <= 1024 * 1024).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
