import { describe, expect, it } from "vitest";
import { createMemoryFile, createQcow2, openQcow2, type Qcow2Device } from "../../disk/index.ts";
import { applyDraft, problemWithField, whatToShrink } from "./about-draft.ts";
import { measureMetadata, readImageMetadata, writeImageMetadata } from "./image-metadata.ts";

const format = (bytes: number) => `${bytes} bytes`;

/** Text that no packing makes smaller. */
function noise(length: number): string {
  let seed = 1;
  return Array.from({ length }, () => {
    seed = (seed * 16807) % 2147483647;
    return String.fromCharCode(33 + (seed % 94));
  }).join("");
}

async function image(clusterSizeBytes = 65536): Promise<Qcow2Device> {
  const file = createMemoryFile({ name: "disk.qcow2" });
  await createQcow2(file, { sizeBytes: 1024 * 1024, clusterSizeBytes });
  return openQcow2(file, { writable: true });
}

describe("a changed description", () => {
  it("has what was changed, and the rest as it was and where it was", () => {
    const metadata = new Map([
      ["machine.memory", "64"],
      ["appliance.name", "Old"],
      ["own.key", " \u202e kept \r\n"],
      ["appliance.vendor", "Gone"],
    ]);
    const draft = new Map([
      ["appliance.vendor", "  "],
      ["appliance.name", "New"],
      ["appliance.message", "one\r\ntwo\0\ud800"],
    ]);
    expect([...applyDraft(metadata, draft)]).toEqual([
      ["machine.memory", "64"],
      ["appliance.name", "New"],
      ["own.key", " \u202e kept \r\n"],
      ["appliance.message", "one\ntwo"],
    ]);
  });

  it("comes back from the image it was written to", async () => {
    const device = await image();
    const { metadata, roomBytes } = readImageMetadata(device);
    expect(metadata.size).toBe(0);
    expect(roomBytes).toBeGreaterThan(32 * 1024);
    const next = new Map([["appliance.name", "Written"]]);
    await writeImageMetadata(device, next);
    expect(readImageMetadata(device).metadata).toEqual(next);
    await writeImageMetadata(device, new Map());
    expect(readImageMetadata(device).metadata.size).toBe(0);
    await device.close();
  });

  it("that is too large changes nothing", async () => {
    const device = await image();
    await writeImageMetadata(device, new Map([["appliance.name", "Before"]]));
    const large = new Map([["appliance.license", noise(60_000)]]);
    await expect(writeImageMetadata(device, large)).rejects.toMatchObject({ code: "METADATA_TOO_LARGE" });
    expect(readImageMetadata(device).metadata.get("appliance.name")).toBe("Before");
    await device.close();
  });
});

describe("what to shrink", () => {
  const shrink = (pairs: [string, string][], roomBytes: number) =>
    whatToShrink(measureMetadata(new Map(pairs), roomBytes), format);

  it("is nothing while it fits", () => {
    expect(shrink([["appliance.license", "a".repeat(100_000)]], 40_000)).toBeUndefined();
  });

  it("is the largest, by what people call them", () => {
    const pairs: [string, string][] = [
      ["appliance.name", "Small"],
      ["appliance.icon", noise(20_000)],
      ["appliance.license", noise(30_000)],
    ];
    expect(shrink(pairs, 60_000)).toMatch(
      /^It is \d+ bytes too large for the image\. Shorten the licence \(30000 bytes\) or the picture \(20000 bytes\)\.$/,
    );
    expect(shrink([["own.key", "a".repeat(2 ** 21)]], 60_000)).toContain("own.key (2097152 bytes)");
  });

  it("is nothing to be done in an image of tiny clusters", async () => {
    const device = await image(512);
    const { roomBytes } = readImageMetadata(device);
    expect(shrink([["appliance.name", "x"]], roomBytes)).toMatch(/no room/);
    await device.close();
  });
});

describe("a field", () => {
  it.each([
    ["appliance.homepage", "javascript:alert(1)"],
    ["appliance.homepage", "example.org"],
    ["appliance.icon", "data:image/svg+xml;base64,PHN2Zy8+"],
  ])("%s says what is wrong with %s", (key, value) => {
    expect(problemWithField(key, value)).toMatch(/\.$/);
  });

  it("may be empty, or hold any text that is only shown", () => {
    expect(problemWithField("appliance.homepage", "")).toBeUndefined();
    expect(problemWithField("appliance.homepage", "https://example.org")).toBeUndefined();
    expect(problemWithField("appliance.name", "<b>")).toBeUndefined();
  });
});
