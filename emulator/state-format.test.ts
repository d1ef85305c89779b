import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByreError } from "../disk/index.ts";
import {
  alignExtent,
  encodeStateHeader,
  MAX_HEADER_BYTES,
  parseStateHeader,
  type StateHeader,
} from "./state-format.ts";

const MIB = 1024 * 1024;
const memory = { offsetBytes: 2 * MIB, lengthBytes: 16 * MIB };
const device = { offsetBytes: 18 * MIB, lengthBytes: 3 * MIB };
const prints = { offsetBytes: 22 * MIB, lengthBytes: 5000 };
const STATE_BYTES = 22 * MIB + 5000;

const HEADER: StateHeader = {
  emulator: "v86 0.5.462 state 6",
  configuration: { memoryMiB: 16, vgaMemoryMiB: 1, acpi: true, bootOrder: "disk" },
  drives: ["hda"],
  memory,
  device,
  prints,
  savedAtMs: 1795247999000,
  description: "at the prompt, Grüße",
  thumbnail: { type: "image/webp", bytes: new Uint8Array([1, 2, 3, 255]) },
  serialTail: "\x1b[1mlogin:\x1b[0m ",
  disks: { hdb: "3" },
};

const parse = (header: object, stateBytes = STATE_BYTES) =>
  parseStateHeader(encodeStateHeader(header as StateHeader), stateBytes, "x");

describe("a state's header", () => {
  test("says what it was told", () => {
    expect(parse(HEADER)).toEqual(HEADER);
    const { description: _, thumbnail, serialTail, disks, prints, ...least } = HEADER;
    expect(parse(least)).toEqual(least);
  });

  test("leaves out first the picture, then the text, when it is too long", () => {
    const picture = { type: "image/png", bytes: new Uint8Array(24 * 1024).fill(7) } as const;
    // Six characters of JSON each.
    const controls = "\x01".repeat(4096);
    expect(parse({ ...HEADER, thumbnail: picture }).thumbnail).toEqual(picture);
    const large = { ...HEADER, thumbnail: { ...picture, bytes: new Uint8Array(24 * 1024 + 1) } };
    expect(parse(large).thumbnail).toBeUndefined();
    const withText = parse({
      ...HEADER,
      thumbnail: picture,
      description: controls,
      serialTail: "y".repeat(8192),
    });
    expect(withText.thumbnail).toBeUndefined();
    expect(withText.serialTail).toBe("y".repeat(8192));
    const withControls = { ...HEADER, description: controls, serialTail: "\x01".repeat(8192) };
    expect(parse(withControls).serialTail).toBeUndefined();
    expect(encodeStateHeader(withControls as StateHeader).length).toBeLessThanOrEqual(MAX_HEADER_BYTES);
  });

  test.each<[string, object]>([
    ["memory elsewhere", { memory: { ...memory, offsetBytes: 4 * MIB } }],
    ["memory of another size than the machine's", { memory: { ...memory, lengthBytes: 15 * MIB } }],
    ["devices over the memory", { device: { ...device, offsetBytes: 2 * MIB } }],
    ["devices past the end", { device: { ...device, lengthBytes: STATE_BYTES } }],
    ["prints past the end", { prints: { ...prints, lengthBytes: 5001 } }],
    ["prints off a cluster", { prints: { ...prints, offsetBytes: 22 * MIB - 1 } }],
    ["a negative length", { device: { ...device, lengthBytes: -1 } }],
    ["more memory than there can be", { configuration: { ...HEADER.configuration, memoryMiB: 1e9 } }],
    ["no VGA memory", { configuration: { ...HEADER.configuration, vgaMemoryMiB: 0 } }],
    ["an unknown boot order", { configuration: { ...HEADER.configuration, bootOrder: "tape" } }],
    ["no configuration", { configuration: null }],
    ["a description that is none", { description: 7 }],
    ["a description too long", { description: "x".repeat(4097) }],
    ["a text too long", { serialTail: "x".repeat(8193) }],
    ["a disk's id that is none", { disks: { hdb: 3 } }],
    ["drives that are none", { drives: "hda" }],
    ["no time", { savedAtMs: "now" }],
  ])("is refused with %s", (_what, change) => {
    expect(() => parse({ ...HEADER, thumbnail: undefined, ...change })).toThrow(
      expect.objectContaining({ code: "STATE_INVALID" }),
    );
  });

  test.each([
    { type: "image/svg+xml", base64: "AQID" },
    { type: "image/png", base64: "%%%%" },
    { type: "image/png", base64: "A".repeat(40_000) },
    { type: "image/png" },
    "image/png",
  ])("is refused with a picture like %j", (thumbnail) => {
    const text = JSON.stringify({ ...HEADER, thumbnail });
    expect(() => parseStateHeader(raw(text), STATE_BYTES, "x")).toThrow(
      expect.objectContaining({ code: "STATE_INVALID" }),
    );
  });

  test("of a later format says so", () => {
    expect(() => parseStateHeader(raw("{}", 2), STATE_BYTES, "x")).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_VERSION" }),
    );
  });

  test("of any bytes is one or is refused", () => {
    const check = (bytes: Uint8Array) => {
      try {
        const { memory, device, prints } = parseStateHeader(bytes, STATE_BYTES, "x");
        for (const { offsetBytes, lengthBytes } of [memory, device, ...(prints ? [prints] : [])])
          expect(offsetBytes + lengthBytes).toBeLessThanOrEqual(STATE_BYTES);
      } catch (error) {
        if (!(error instanceof ByreError)) throw error;
        expect(["STATE_INVALID", "UNSUPPORTED_VERSION"]).toContain(error.code);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check));
    fc.assert(fc.property(fc.json(), (json) => check(raw(json))));
    const good = encodeStateHeader(HEADER);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        const bytes = good.slice();
        bytes[at] = value;
        check(bytes);
        check(bytes.subarray(0, at));
      }),
    );
    const part = fc.record(Object.fromEntries(Object.keys(HEADER).map((key) => [key, fc.anything()])), {
      requiredKeys: [],
    });
    fc.assert(
      fc.property(part, (change) =>
        check(raw(JSON.stringify({ ...HEADER, thumbnail: undefined, ...change }))),
      ),
    );
  });

  test("extents begin with a cluster, whatever its size", () => {
    expect([0, 1, 2 * MIB, 2 * MIB + 1].map(alignExtent)).toEqual([0, 2 * MIB, 2 * MIB, 4 * MIB]);
  });
});

/** A header around any text. */
function raw(text: string, version = 1): Uint8Array {
  const json = new TextEncoder().encode(text);
  const bytes = new Uint8Array(16 + json.length);
  bytes.set(new TextEncoder().encode("BYREVMST"));
  const view = new DataView(bytes.buffer);
  view.setUint32(8, version);
  view.setUint32(12, json.length);
  bytes.set(json, 16);
  return bytes;
}
