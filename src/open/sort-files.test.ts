import { describe, expect, it } from "vitest";
import { createMemoryFile, createQcow2 } from "../../disk/index.ts";
import { kindOfFile, sortFiles } from "./sort-files.ts";

const KIB = 1024;

function file(name: string, sizeBytes: number, marks: [atBytes: number, bytes: number[] | string][] = []) {
  const content = new Uint8Array(sizeBytes);
  for (const [at, bytes] of marks)
    content.set(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes, at);
  return new File([content], name);
}

async function image(name: string, backing?: string) {
  const content = createMemoryFile({ name });
  await createQcow2(content, {
    sizeBytes: 64 * KIB,
    ...(backing !== undefined && { backing: { name: backing, format: "qcow2" } }),
  });
  return new File([content.toBytes()], name);
}

const BOOT_SECTOR: [number, number[]] = [510, [0x55, 0xaa]];

describe("kindOfFile", () => {
  it("goes by what is in a file before its name", async () => {
    expect(await kindOfFile(await image("backup"))).toBe("disk");
    expect(await kindOfFile(file("setup.img", 64 * KIB, [[0x8001, "CD001"]]))).toBe("cdrom");
    expect(await kindOfFile(file("dos", 1440 * KIB))).toBe("floppy");
    expect(await kindOfFile(file("disk", 64 * KIB, [BOOT_SECTOR]))).toBe("disk");
  });

  it("goes by the name where the content says nothing", async () => {
    expect(await kindOfFile(file("data.IMG", 64 * KIB))).toBe("disk");
    expect(await kindOfFile(file("blank.iso", 64 * KIB))).toBe("cdrom");
    expect(await kindOfFile(file("damaged.qcow2", 10))).toBe("disk");
    expect(await kindOfFile(file("empty.txt", 0))).toBe("plain");
    expect(await kindOfFile(file("notes.txt", 700, [BOOT_SECTOR]))).toBe("plain");
    expect(await kindOfFile(file("tools.zip", 64 * KIB, [[0, "PK"]]))).toBe("plain");
  });

  it.each([
    ["pc.vmdk", 0, "KDMV", "a VMware disk"],
    ["pc.vmdk", 0, "# Disk DescriptorFile", "a VMware disk"],
    ["pc.vdi", 0x40, [0x7f, 0x10, 0xda, 0xbe], "a VirtualBox disk"],
    ["pc.vhdx", 0, "vhdxfile", "a Hyper-V disk"],
    ["pc.vhd", 0, "conectix", "a Virtual PC disk"],
  ] as const)("says how to convert %s", async (name, at, magic, what) => {
    const bytes = typeof magic === "string" ? magic : [...magic];
    await expect(kindOfFile(file(name, 64 * KIB, [[at, bytes]]))).rejects.toMatchObject({
      code: "UNSUPPORTED_FEATURE",
      message: `${name} is ${what}. Convert it first, on your computer: qemu-img convert -O qcow2 "${name}" "pc.qcow2"`,
    });
  });

  it("says that a packed image is to be unpacked", async () => {
    await expect(kindOfFile(file("disk.qcow2.gz", KIB))).rejects.toMatchObject({
      code: "UNSUPPORTED_FEATURE",
      message: "disk.qcow2.gz is packed. Unpack it first, and drop what comes out.",
    });
  });
});

describe("sortFiles", () => {
  it("finds the image that no other is built on, whatever the order", async () => {
    const [top, middle, base] = [
      await image("top.qcow2", "/elsewhere/middle.qcow2"),
      await image("middle.qcow2", "base@1.qcow2"),
      await image("base.qcow2"),
    ];
    const sorted = await sortFiles([base, top, middle]);
    expect(sorted.disk).toBe(top);
    expect(sorted.behindDisk).toEqual([base, middle]);
  });

  it("puts each file where it belongs", async () => {
    const disk = await image("a.qcow2");
    const floppy = file("boot.ima", 1440 * KIB);
    const notes = file("notes.txt", 10);
    expect(await sortFiles([notes, floppy, disk])).toEqual({
      disk,
      behindDisk: [],
      cdrom: undefined,
      floppy,
      plain: [notes],
    });
  });

  it("refuses what is not clear, by name", async () => {
    const cd = (name: string) => file(name, 64 * KIB);
    const refusals: [File[], RegExp][] = [
      [[], /No file was dropped/],
      [[await image("a.qcow2", "b.qcow2"), await image("b.qcow2", "a.qcow2")], /in a circle/],
      [[await image("a.qcow2"), await image("b.qcow2")], /which of a\.qcow2, b\.qcow2 to run/],
      [[cd("a.iso"), cd("b.iso")], /a\.iso, b\.iso are CD images/],
      [[file("a.ima", 1440 * KIB), file("b.ima", 1440 * KIB)], /are floppy images/],
      [[cd("a.iso"), file("notes.txt", 5)], /notes\.txt would be put on a CD, .* has a\.iso already/],
      [
        Array.from({ length: 7 }, (_, index) => cd(`${index}.iso`)),
        /0\.iso, 1\.iso, 2\.iso, 3\.iso, 4\.iso and 2 more are/,
      ],
    ];
    for (const [files, message] of refusals)
      await expect(sortFiles(files)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(message),
      });
  });
});
