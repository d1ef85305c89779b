import { describe, expect, test } from "vitest";
import { ByreError } from "../errors.ts";
import { createMemoryFile, type MemoryFile } from "../files/memory-file.ts";
import { openDevice } from "../open-device.ts";
import { expectError } from "../testing/block-file-suite.ts";
import { attack, type Edit, inBounds, SIZE_BYTES, watchArrays } from "../testing/hostile-image.ts";
import { checkQcow2 } from "./check.ts";
import { createQcow2 } from "./create.ts";
import { encodeExtensions } from "./extensions.ts";
import { ExtensionMagic, HeaderField } from "./format.ts";
import { openQcow2, probeImage, readQcow2Info } from "./open.ts";

/** Images that would have other files opened: by the names in them, by what they look like, by chains of them. */

watchArrays();

describe("names in an image", () => {
  const NAMES = [
    "/etc/passwd",
    "../../secret",
    "http://169.254.169.254/",
    'json:{"driver":"file"}',
    "nbd:host:1",
  ];

  function withBackingName(name: string): Edit {
    return (view) => {
      const bytes = new TextEncoder().encode(name);
      new Uint8Array(view.buffer).set(bytes, 2048);
      view.setBigUint64(HeaderField.BACKING_OFFSET, 2048n);
      view.setUint32(HeaderField.BACKING_SIZE, bytes.length);
    };
  }

  test.each(NAMES)("info, check and repair do not follow the backing name %s", async (name) => {
    const asked: string[] = [];
    const file = await attack(withBackingName(name));
    expect((await readQcow2Info(file)).backingName).toBe(name);
    await checkQcow2(file);
    await checkQcow2(file, { repair: "all" });
    const device = await openQcow2(file, {
      backing: "none",
      resolveBacking: async (request) => {
        asked.push(request.name);
        throw new ByreError("BACKING_MISSING", "asked");
      },
    });
    await device.createSnapshot({ name: "x" });
    await device.resize(SIZE_BYTES * 2);
    await device.changeHeader({ backing: { name: "other.raw", format: "raw" } });
    await device.close();
    expect(asked).toEqual([]);
  });

  test.each(NAMES)("opening asks the caller's resolver for %s, and refuses without one", async (name) => {
    await expectError("BACKING_DENIED", async () => openQcow2(await attack(withBackingName(name))));
  });

  test.each(NAMES)("a data file named %s is refused by name, never opened", async (name) => {
    const file = await attack((view) => {
      view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, 4n);
      const data = new TextEncoder().encode(name);
      const area = new Uint8Array(view.buffer, 112, 1024);
      area.fill(0);
      area.set(encodeExtensions([{ magic: ExtensionMagic.DATA_FILE, data }]));
    });
    await expectError("EXTERNAL_DATA_FILE", async () =>
      openQcow2(createMemoryFile({ content: file.toBytes() })),
    );
    await expectError("EXTERNAL_DATA_FILE", () => checkQcow2(file));
    await readQcow2Info(file);
  });
});

describe("a raw disk that its guest made look like qcow2", () => {
  async function disguised(): Promise<MemoryFile> {
    return attack((view) => {
      const name = new TextEncoder().encode("/etc/passwd");
      new Uint8Array(view.buffer).set(name, 2048);
      view.setBigUint64(HeaderField.BACKING_OFFSET, 2048n);
      view.setUint32(HeaderField.BACKING_SIZE, name.length);
    });
  }

  test("stays raw when it is opened as raw, whatever its first bytes are", async () => {
    const file = await disguised();
    const before = file.toBytes();
    const device = await openDevice(file, { format: "raw" });
    expect(device.sizeBytes).toBe(before.length);
    const bytes = new Uint8Array(before.length);
    await device.read(0, bytes);
    expect(Buffer.compare(bytes, before)).toBe(0);
  });

  test("a file that is not qcow2 is not written as raw on a guess", async () => {
    const raw = createMemoryFile({ name: "disk.img", content: new Uint8Array(4096) });
    expect(await probeImage(raw)).toBe("unknown");
    await expectError("INVALID_ARGUMENT", () => openDevice(raw));
    const readOnly = createMemoryFile({ content: new Uint8Array(4096), writable: false });
    expect((await openDevice(readOnly)).sizeBytes).toBe(4096);
  });

  test("a raw backing file is what the image's format says, not what its bytes say", async () => {
    const file = createMemoryFile({ name: "top.qcow2" });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, backing: { name: "guest.raw", format: "raw" } });
    const base = await disguised();
    const names: string[] = [];
    const device = await openQcow2(file, {
      resolveBacking: async ({ name }) => {
        names.push(name);
        return base;
      },
    });
    const magic = new Uint8Array(4);
    await device.read(0, magic);
    expect([...magic]).toEqual([0x51, 0x46, 0x49, 0xfb]);
    expect(names).toEqual(["guest.raw"]);
  });
});

describe("backing chains", () => {
  async function overlay(name: string, backing: string): Promise<MemoryFile> {
    const file = createMemoryFile({ name });
    await createQcow2(file, { sizeBytes: SIZE_BYTES, backing: { name: backing, format: "qcow2" } });
    return createMemoryFile({ name, content: file.toBytes(), writable: false });
  }

  test.each([1, 2, 3])("a loop of %i is found", async (length) => {
    const resolveBacking = async ({ name }: { name: string }) =>
      overlay(name, `${(Number(name) + 1) % length}`);
    const open = async () => openQcow2(await overlay("0", `${1 % length}`), { resolveBacking });
    const error = await inBounds(async () => {
      try {
        await open();
      } catch (caught) {
        return caught as ByreError;
      }
      return undefined;
    });
    expect(["BACKING_LOOP", "BACKING_DEPTH"]).toContain(error?.code);
  });

  test("a chain without end is cut", async () => {
    let opened = 0;
    const resolveBacking = async ({ name }: { name: string }) => {
      opened++;
      return overlay(name, `${Number(name) + 1}`);
    };
    await inBounds(() =>
      expectError("BACKING_DEPTH", async () => openQcow2(await overlay("0", "1"), { resolveBacking })),
    );
    expect(opened).toBeLessThan(500);
  });
});
