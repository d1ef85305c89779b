import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ByreError } from "../errors.ts";
import { openQcow2 } from "../qcow2/open.ts";
import { expectError, expectSameBytes, testBlockFile } from "../testing/block-file-suite.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { createMemoryFile } from "./memory-file.ts";
import { openNodeFile } from "./node-file.ts";
import { listTarMembers, openTarMember } from "./tar-member.ts";

interface Entry {
  name: string;
  type?: string;
  content?: Uint8Array;
  /** The size field as text; the content's length when left out. */
  size?: string;
}

/** An archive as `tar` would never write it, where it must be. */
function archive(...entries: Entry[]): Uint8Array<ArrayBuffer> {
  const blocks = entries.flatMap(({ name, type = "0", content = new Uint8Array(), size }) => {
    const header = new Uint8Array(512);
    const put = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
    put(0, name);
    put(124, size ?? content.length.toString(8).padStart(11, "0"));
    put(148, " ".repeat(8));
    put(156, type);
    put(257, "ustar\0");
    const sum = header.reduce((total, byte) => total + byte, 0);
    put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
    return [header, content, new Uint8Array((512 - (content.length % 512)) % 512)];
  });
  return new Uint8Array(Buffer.concat([...blocks, new Uint8Array(1024)]));
}

function pax(records: Record<string, string>): Uint8Array {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length + 1;
    while (Buffer.byteLength(`${length}${rest}`) !== length) length++;
    return `${length}${rest}`;
  });
  return new TextEncoder().encode(lines.join(""));
}

const fileOf = (content: Uint8Array) => createMemoryFile({ name: "a.tar", content });

testBlockFile("member of an archive, read-only", {
  create: async (content) => ({
    file: await openTarMember(
      createMemoryFile({
        content: archive({ name: "other" }, { name: "disk.raw", content }),
        writable: false,
      }),
      "disk.raw",
    ),
  }),
  writable: false,
});

describe("a member of an archive", () => {
  test("is written in place, and cannot grow", async () => {
    const whole = fileOf(
      archive({ name: "disk.raw", content: randomBytes(1000) }, { name: "b", content: randomBytes(600) }),
    );
    const before = whole.toBytes();
    const member = await openTarMember(whole, "disk.raw");
    expect(member.name).toBe("a.tar/disk.raw");
    const data = randomBytes(1000);
    member.write(0, data);
    before.set(data, 512);
    expectSameBytes(whole.toBytes(), before);
    await expectError("FIXED_SIZE", async () => member.write(999, data));
    await member.close();
    await expectError("CLOSED", () => whole.read(0, new Uint8Array(1)));
  });

  test("of a name that comes twice is the last one, as when unpacking", async () => {
    const whole = fileOf(
      archive({ name: "./a", content: Uint8Array.of(1) }, { name: "a", content: Uint8Array.of(2, 3) }),
    );
    expect((await openTarMember(whole, "a")).sizeBytes).toBe(2);
  });

  test("takes name and size from a pax header, and from a global one where it has none", async () => {
    const content = randomBytes(700);
    const members = await listTarMembers(
      fileOf(
        archive(
          { name: "g", type: "g", content: pax({ path: "everywhere", comment: "x" }) },
          { name: "x", type: "x", content: pax({ path: "disk €.raw", size: "700", mtime: "1.5" }) },
          { name: "short", content, size: "00000000000" },
          { name: "next", content },
        ),
      ),
    );
    expect(members).toEqual([
      { name: "disk €.raw", offsetBytes: 2560, sizeBytes: 700, kind: "file" },
      { name: "everywhere", offsetBytes: 4096, sizeBytes: 700, kind: "file" },
    ]);
  });

  test("takes a binary size, and refuses a negative one", async () => {
    // GNU writes 8 GiB and more this way; here 700, to keep the archive small.
    const binary = `\x80${"\0".repeat(9)}\x02\xbc`;
    const withSize = (size: string) => {
      const bytes = archive({ name: "a", content: randomBytes(700) });
      bytes.set(Buffer.from(size, "latin1"), 124);
      bytes.fill(0x20, 148, 156);
      const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
      bytes.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0")), 148);
      return fileOf(bytes);
    };
    expect((await openTarMember(withSize(binary), "a")).sizeBytes).toBe(700);
    await expectError("CORRUPT", () => listTarMembers(withSize("\xff".repeat(12))));
    await expectError("CORRUPT", () => listTarMembers(withSize(`\x80${"\xff".repeat(11)}`)));
  });

  test.each([
    ["1", "a link"],
    ["2", "a link"],
    ["5", "a folder"],
  ])("of type %s is refused by name: %s", async (type) => {
    const whole = fileOf(archive({ name: "a", type }));
    const error = await expectError("UNSUPPORTED_FEATURE", () => openTarMember(whole, "a"));
    expect(error.message).toContain('"a" is a link, a folder or a device');
    await expectError("CLOSED", () => whole.read(0, new Uint8Array(1)));
  });

  test("that is not there is said so", async () => {
    await expectError("NOT_FOUND", () => openTarMember(fileOf(archive({ name: "a" })), "b"));
  });
});

describe("a hostile archive", () => {
  test.each<[string, "CORRUPT" | "TRUNCATED" | "TOO_LARGE", () => Uint8Array]>([
    ["is no archive", "CORRUPT", () => randomBytes(4096)],
    ["is empty", "TRUNCATED", () => new Uint8Array(0)],
    [
      "has a header changed",
      "CORRUPT",
      () => {
        const bytes = archive({ name: "a" }, { name: "b" });
        bytes[512 + 3] = 1;
        return bytes;
      },
    ],
    ["has a size that is no number", "CORRUPT", () => archive({ name: "a", size: "12x" })],
    [
      "has a member past the end",
      "TRUNCATED",
      () => archive({ name: "a", size: "77777777777", content: randomBytes(512) }),
    ],
    [
      "has a pax size past the end",
      "TRUNCATED",
      () => archive({ name: "x", type: "x", content: pax({ size: "9007199254740991" }) }, { name: "a" }),
    ],
    [
      "has a pax size past the safe integers",
      "CORRUPT",
      () => archive({ name: "x", type: "x", content: pax({ size: "18446744073709551615" }) }, { name: "a" }),
    ],
    [
      "has a pax record with a false length",
      "CORRUPT",
      () => archive({ name: "x", type: "x", content: new TextEncoder().encode("99 path=a\n") }),
    ],
    [
      "has a pax record of length 0",
      "CORRUPT",
      () => archive({ name: "x", type: "x", content: new TextEncoder().encode("0 path=a\n") }),
    ],
    [
      "has a long name of 2 MiB",
      "TOO_LARGE",
      () => archive({ name: "L", type: "L", content: new Uint8Array(2 << 20) }, { name: "a" }),
    ],
    [
      "has a sparse map past the end",
      "TRUNCATED",
      () => {
        const bytes = archive({ name: "a", type: "S" }).subarray(0, 512);
        bytes[482] = 1;
        bytes.fill(0x20, 148, 156);
        const sum = bytes.reduce((total, byte) => total + byte, 0);
        bytes.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0")), 148);
        return bytes;
      },
    ],
    [
      "has more headers than anyone needs",
      "TOO_LARGE",
      () => {
        const one = archive({ name: "a" }).subarray(0, 512);
        const many = new Uint8Array(512 * 100_001);
        for (let at = 0; at < many.length; at += 512) many.set(one, at);
        return many;
      },
    ],
  ])("that %s is refused with %s", async (_, code, make) => {
    await expectError(code, () => listTarMembers(fileOf(make())));
  });
});

test("an archive with any byte changed is listed, or refused", async () => {
  const sound = archive(
    { name: "x", type: "x", content: pax({ path: "long", size: "700" }) },
    { name: "a", content: randomBytes(700) },
    { name: "L", type: "L", content: new TextEncoder().encode("another\0") },
    { name: "b", content: randomBytes(100) },
  );
  for (let at = 0; at < sound.length; at += at % 512 < 160 ? 1 : 37)
    for (const value of [0, 0x20, 0x37, 0x80, 0xff]) {
      const bytes = sound.slice();
      bytes[at] = value;
      // With the checksum made right again, so that the other fields are looked at.
      const header = bytes.subarray(at - (at % 512), at - (at % 512) + 512);
      const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
      if (header[257] === 0x75)
        header.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
      try {
        for (const { offsetBytes, sizeBytes } of await listTarMembers(fileOf(bytes)))
          expect(offsetBytes + sizeBytes).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ByreError);
      }
    }
});

describe("archives of the real tar", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  const LONG_FOLDER = `folder-${"a".repeat(90)}/${"b".repeat(90)}`;
  const LONG_NAME = `${LONG_FOLDER}/${"c".repeat(120)}.raw`;

  test.each(["v7", "ustar", "oldgnu", "gnu", "pax"])(
    "in the format %s: every file where it stands",
    async (format) => {
      const names = ["small.raw", "empty", "dir/inner.raw"];
      if (format !== "v7" && format !== "ustar") names.push(LONG_NAME, "nämé €.raw");
      const contents = new Map<string, Uint8Array>();
      for (const [i, name] of names.entries()) {
        mkdirSync(dirname(bench.path(`${format}/${name}`)), { recursive: true });
        const content = randomBytes(name === "empty" ? 0 : 1000 + i * 511);
        writeFileSync(bench.path(`${format}/${name}`), content);
        contents.set(name, content);
      }
      symlinkSync("small.raw", bench.path(`${format}/link`));
      const path = bench.path(`${format}.tar`);
      execFileSync("tar", [`--format=${format}`, "-C", bench.path(format), "-cf", path, "."]);
      for (const [name, content] of contents) {
        const member = await openTarMember(await openNodeFile(path), name);
        const bytes = new Uint8Array(member.sizeBytes);
        await member.read(0, bytes);
        expectSameBytes(bytes, content);
        await member.close();
      }
      const file = await openNodeFile(path);
      const listed = (await listTarMembers(file)).map(({ name }) => name);
      await file.close();
      const wanted = execFileSync("tar", ["--quoting-style=literal", "-tf", path], { encoding: "utf8" });
      expect(listed.map((name) => name.replace(/\/$/, ""))).toEqual(
        wanted
          .trim()
          .split("\n")
          .map((name) => name.replace(/\/$/, "")),
      );
    },
  );

  test.each([["gnu"], ["pax"]])(
    "a sparse member (%s) is refused, and what follows it is found",
    async (format) => {
      const folder = `sparse-${format}`;
      mkdirSync(bench.path(folder));
      writeFileSync(bench.path(`${folder}/disk.raw`), randomBytes(100));
      truncateSync(bench.path(`${folder}/disk.raw`), 8 << 20);
      // Many pieces: the map of the old format then needs blocks of its own.
      const pieces = Buffer.alloc(8 << 20);
      for (let at = 0; at < pieces.length; at += 1 << 18) pieces.fill(7, at, at + 4096);
      writeFileSync(bench.path(`${folder}/pieces.src`), pieces);
      execFileSync("cp", [
        "--sparse=always",
        bench.path(`${folder}/pieces.src`),
        bench.path(`${folder}/pieces.raw`),
      ]);
      writeFileSync(bench.path(`${folder}/after`), "after");
      const path = bench.path(`${folder}.tar`);
      const args = [`--format=${format}`, "-S", "-C", bench.path(folder), "-cf", path];
      execFileSync("tar", [...args, "disk.raw", "pieces.raw", "after"]);
      for (const name of ["disk.raw", "pieces.raw"])
        expect(
          (
            await expectError("UNSUPPORTED_FEATURE", async () =>
              openTarMember(await openNodeFile(path), name),
            )
          ).message,
        ).toContain("stored sparse");
      const member = await openTarMember(await openNodeFile(path), "after");
      const bytes = new Uint8Array(5);
      await member.read(0, bytes);
      expect(new TextDecoder().decode(bytes)).toBe("after");
      await member.close();
    },
  );

  test.skipIf(!hasQemu)("a qcow2 image runs where it stands, and QEMU reads it there", async () => {
    const image = bench.path("disk.qcow2");
    qemuImg("create", "-q", "-f", "qcow2", image, "4M");
    qemuIo(image, ["write -P 5 0 1M"]);
    const path = bench.path("appliance.tar");
    execFileSync("tar", ["-C", bench.directory, "-cf", path, "disk.qcow2"]);
    const member = await openTarMember(await openNodeFile(path, { writable: true }), "disk.qcow2");
    const { sizeBytes } = member;
    const device = await openQcow2(member);
    await device.write(4096, new Uint8Array(4096).fill(6));
    await expectError("FIXED_SIZE", () => device.write(3 << 20, new Uint8Array(1 << 20).fill(1)));
    await device.close();
    const inTar = { driver: "raw", offset: 512, size: sizeBytes, file: { driver: "file", filename: path } };
    const spec = `json:${JSON.stringify({ driver: "qcow2", file: inTar })}`;
    qemuImg("check", spec);
    qemuImg("convert", "-O", "raw", spec, bench.path("out.raw"));
    const wanted = new Uint8Array(4 << 20);
    wanted.fill(5, 0, 1 << 20);
    wanted.fill(6, 4096, 8192);
    expectSameBytes(bench.bytes("out.raw"), wanted);
    execFileSync("tar", ["-tf", path]);
  });
});
