import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByreError } from "../errors.ts";
import { problemWithValue, RESERVED_KEYS } from "./keys.ts";
import { encodeMetadata, MAX_METADATA_BYTES, MAX_STORED_METADATA_BYTES, parseMetadata } from "./metadata.ts";

const ROOM = 60_000;

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ByreError) return error.code;
    throw error;
  }
  return "none";
}

/** An extension by hand: head and stored bytes. */
function extension(
  version: number,
  compression: number,
  reserved: number,
  plainBytes: number,
  stored: Uint8Array,
) {
  const data = new Uint8Array(8 + stored.length);
  const view = new DataView(data.buffer);
  view.setUint8(0, version);
  view.setUint8(1, compression);
  view.setUint16(2, reserved);
  view.setUint32(4, plainBytes);
  data.set(stored, 8);
  return data;
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("metadata", () => {
  it("comes back as it was stored, in its order", () => {
    const key = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/);
    const value = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value)), (pairs) => {
        const metadata = new Map(pairs);
        expect([...parseMetadata(encodeMetadata(metadata, "x", ROOM), "x")]).toEqual([...metadata]);
      }),
    );
  });

  it("is stored as docs/metadata.md says", () => {
    const plain = bytes("a\0b\0");
    expect(encodeMetadata(new Map([["a", "b"]]), "x", ROOM)).toEqual(extension(1, 0, 0, 4, plain));
  });

  it("is compressed where that helps", () => {
    const data = encodeMetadata(new Map([["a", "b".repeat(5000)]]), "x", ROOM);
    expect(data[1]).toBe(1);
    expect(data.length).toBeLessThan(100);
  });

  it("keeps a byte order mark in a value", () => {
    const metadata = new Map([["a", "\ufeffb"]]);
    expect(parseMetadata(encodeMetadata(metadata, "x", ROOM), "x")).toEqual(metadata);
  });

  it.each([
    ["a key of capitals", "Key", "v"],
    ["an empty key", "", "v"],
    ["a key that begins with a dot", ".a", "v"],
    ["a key with a line's end", "a\n", "v"],
    ["a key that is too long", "a".repeat(256), "v"],
    ["a NUL in a value", "a", "b\0c"],
    ["half a surrogate pair", "a", "\ud800"],
  ])("refuses to store %s", (_, key, value) => {
    expect(codeOf(() => encodeMetadata(new Map([[key, value]]), "x", ROOM))).toBe("METADATA_INVALID");
  });

  it("says which values to shorten when there is no room", () => {
    const noise = Array.from({ length: 40_000 }, (_, index) =>
      ((index * 7919) ** 2).toString(36).slice(-4),
    ).join("");
    const metadata = new Map([
      ["small", "x"],
      ["icon", noise],
      ["licence", noise.slice(0, 9999)],
    ]);
    expect(() => encodeMetadata(metadata, "disk.qcow2", ROOM)).toThrow(
      /disk\.qcow2: .* room for 32768\. Shorten .*icon \(\d+ bytes\), licence \(9999 bytes\), small/,
    );
    expect(() => encodeMetadata(new Map([["a", noise.slice(0, 900)]]), "d", 100)).toThrow(
      /room for 100.*larger clusters/,
    );
  });

  it("refuses what is over 1 MiB before compression", () => {
    const metadata = new Map([["a", "b".repeat(MAX_METADATA_BYTES)]]);
    expect(codeOf(() => encodeMetadata(metadata, "x", ROOM))).toBe("METADATA_TOO_LARGE");
  });

  it("never stores more than 32 KiB", () => {
    expect(MAX_STORED_METADATA_BYTES).toBe(32 * 1024);
  });

  it.each([
    ["a head cut short", new Uint8Array(7), "METADATA_INVALID"],
    ["another version", extension(2, 0, 0, 0, bytes("")), "UNSUPPORTED_VERSION"],
    ["an unknown compression", extension(1, 2, 0, 0, bytes("")), "METADATA_INVALID"],
    ["a reserved field in use", extension(1, 0, 1, 0, bytes("")), "METADATA_INVALID"],
    ["a length that lies", extension(1, 0, 0, 9, bytes("a\0b\0")), "METADATA_INVALID"],
    ["a length past 1 MiB", extension(1, 1, 0, 0xffffffff, bytes("")), "METADATA_INVALID"],
    ["damaged compression", extension(1, 1, 0, 100, bytes("\xff\xff\xff")), "METADATA_INVALID"],
    ["a value that does not end", extension(1, 0, 0, 3, bytes("a\0b")), "METADATA_INVALID"],
    ["a key without a value", extension(1, 0, 0, 2, bytes("a\0")), "METADATA_INVALID"],
    ["a key that is none", extension(1, 0, 0, 4, bytes("A\0b\0")), "METADATA_INVALID"],
    ["a key twice", extension(1, 0, 0, 8, bytes("a\0b\0a\0c\0")), "METADATA_INVALID"],
    ["a value that is not UTF-8", extension(1, 0, 0, 4, new Uint8Array([97, 0, 255, 0])), "METADATA_INVALID"],
  ])("refuses %s", (_, data, code) => {
    expect(codeOf(() => parseMetadata(data, "x"))).toBe(code);
  });

  it("takes any value for an author's own key, and minds the reserved ones", () => {
    expect(problemWithValue("my.key", "anything")).toBeUndefined();
    expect(problemWithValue("constructor", "anything")).toBeUndefined();
    expect(problemWithValue("machine.memory", "lots")).toBe("must be a number of MiB");
    expect(problemWithValue("machine.memory", "128")).toBeUndefined();
    expect(Object.keys(RESERVED_KEYS)).toHaveLength(17);
  });
});
