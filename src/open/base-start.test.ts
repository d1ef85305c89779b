import { expect, it } from "vitest";
import { createMemoryFile, createQcow2, openQcow2, withMetadata } from "../../disk/index.ts";
import { lookForStart } from "./base-start.ts";

const MIB = 1024 * 1024;

/** A base with snapshots of the disk alone, and perhaps what it says of itself. */
async function base(snapshots: string[], says?: string, more: [string, string][] = []) {
  const content = createMemoryFile({ name: "base.qcow2" });
  await createQcow2(content, { sizeBytes: MIB });
  const device = await openQcow2(content, { writable: true });
  for (const name of snapshots) await device.createSnapshot({ name });
  await device.resize(2 * MIB);
  if (says !== undefined) more.push(["machine.snapshot", says], ["appliance.name", "Base"]);
  if (more.length > 0) {
    const metadata = new Map(more);
    await device.changeHeader({
      extensions: (others) => withMetadata(device.header, others, metadata, device.name),
    });
  }
  await device.flush();
  return content;
}

it("takes the base as it is where nobody names a snapshot", async () => {
  const file = await base(["ready"]);
  expect(await lookForStart(file, {})).toEqual({
    snapshot: undefined,
    applianceName: undefined,
    backingName: "base.qcow2",
    backingFormat: "qcow2",
    sizeBytes: 2 * MIB,
    startsAtOnce: false,
    configuration: {},
    metadata: new Map(),
    notes: [],
  });
});

it("takes the snapshot that the image names, with the size it has there", async () => {
  const file = await base(["other", "ready"], "ready");
  expect(await lookForStart(file, {})).toEqual({
    snapshot: { id: "2", name: "ready" },
    applianceName: "Base",
    backingName: "base@2.qcow2",
    backingFormat: "qcow2",
    sizeBytes: MIB,
    startsAtOnce: false,
    configuration: {},
    metadata: new Map([["appliance.name", "Base"]]),
    notes: [],
  });
});

it("takes the snapshot that a link names before that, by id or name, the newest of several", async () => {
  const file = await base(["other", "ready", "other"], "ready");
  expect(await lookForStart(file, { snapshot: "1" })).toMatchObject({ snapshot: { id: "1" } });
  expect(await lookForStart(file, { snapshot: "other" })).toMatchObject({ snapshot: { id: "3" } });
  expect(await lookForStart(file, { snapshot: "other", diskOnly: true })).toMatchObject({
    snapshot: { id: "3", name: "other", diskOnly: true },
  });
});

it("takes the snapshot that a machine was made on, and in a base that was made anew the newest of its name", async () => {
  const file = await base(["2", "1", "ready", "ready"]);
  expect(await lookForStart(file, { snapshot: { id: "2", name: "1" } })).toMatchObject({
    snapshot: { id: "2", name: "1" },
  });
  expect(await lookForStart(file, { snapshot: { id: "3", name: "ready" } })).toMatchObject({
    snapshot: { id: "3", name: "ready" },
  });
  expect(await lookForStart(file, { snapshot: { id: "9", name: "ready" } })).toMatchObject({
    snapshot: { id: "4", name: "ready" },
  });
  expect(await lookForStart(file, { snapshot: { id: "9", name: "1" } })).toMatchObject({
    snapshot: { id: "2", name: "1" },
  });
  await expect(lookForStart(file, { snapshot: { id: "1", name: "4" } })).rejects.toMatchObject({
    code: "SNAPSHOT_NOT_FOUND",
    message: 'base.qcow2 has no snapshot "4". It has "2", "1", "ready", "ready".',
  });
});

it("has no other name for a snapshot whose disk is still the image's own", async () => {
  const file = await base(["ready"], "ready");
  const device = await openQcow2(file, { writable: true });
  await device.createSnapshot({ name: "now" });
  await device.flush();
  expect(await lookForStart(file, { snapshot: "now" })).toMatchObject({ backingName: "base.qcow2" });
  expect(await lookForStart(file, { snapshot: "ready" })).toMatchObject({ backingName: "base@1.qcow2" });
});

it("says which snapshots there are when a link names none of them", async () => {
  const file = await base(["first", "second"]);
  await expect(lookForStart(file, { snapshot: "third" })).rejects.toMatchObject({
    code: "SNAPSHOT_NOT_FOUND",
    message: 'base.qcow2 has no snapshot "third". It has "first", "second".',
  });
  const many = await base(Array.from({ length: 12 }, (_, index) => `s${index}`));
  await expect(lookForStart(many, { snapshot: "x" })).rejects.toThrow(/"s9" and 2 more\.$/);
  await expect(lookForStart(await base([]), { snapshot: "x" })).rejects.toThrow("It has none.");
});

it("runs an image that names a snapshot which it does not have, and says so", async () => {
  const file = await base(["ready"], "gone");
  expect(await lookForStart(file, {})).toEqual({
    snapshot: undefined,
    applianceName: "Base",
    backingName: "base.qcow2",
    backingFormat: "qcow2",
    sizeBytes: 2 * MIB,
    startsAtOnce: false,
    configuration: {},
    metadata: new Map([["appliance.name", "Base"]]),
    notes: ['base.qcow2 says to start from its saved state "gone", which it does not have.'],
  });
});

it("takes the machine that the image asks for, but the memory that the link does", async () => {
  const file = await base([], undefined, [
    ["machine.memory", "64"],
    ["machine.vga-memory", "4"],
    ["machine.acpi", "maybe"],
  ]);
  const { configuration, notes } = await lookForStart(file, { memoryMiB: 48 });
  expect(configuration).toEqual({ memoryMiB: 48, vgaMemoryMiB: 4 });
  expect(notes).toEqual([expect.stringContaining("machine.acpi=maybe")]);
  expect((await lookForStart(file, {})).configuration).toEqual({ memoryMiB: 64, vgaMemoryMiB: 4 });
});

it("leaves the file open, and as it is", async () => {
  const file = await base(["ready"], "ready");
  const before = file.toBytes();
  await lookForStart(file, {});
  expect(file.toBytes()).toEqual(before);
});

it("takes a raw image for a disk, whatever a guest has written to its start", async () => {
  const content = (await base(["ready"], "ready")).toBytes();
  const file = createMemoryFile({ name: "disk.img", content });
  expect(await lookForStart(file, { raw: true })).toMatchObject({
    snapshot: undefined,
    applianceName: undefined,
    backingName: "disk.img",
    backingFormat: "raw",
    sizeBytes: content.length,
    configuration: {},
  });
});
