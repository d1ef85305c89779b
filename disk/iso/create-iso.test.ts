import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import type { BlockFile } from "../block-file.ts";
import { createBlobFile } from "../files/blob-file.ts";
import { expectError, expectSameBytes, testBlockFile } from "../testing/block-file-suite.ts";
import { createColdFile } from "../testing/cold-file.ts";
import { readIso } from "../testing/iso-reader.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { createIso, type IsoFile } from "./create-iso.ts";

const MTIME = Date.UTC(2024, 1, 29, 13, 14, 15);

function file(path: string, content: IsoFile["content"] = randomBytes(10), mtimeMs = MTIME): IsoFile {
  return { path, content, mtimeMs };
}

async function bytesOf(disc: BlockFile, offsetBytes = 0, lengthBytes = disc.sizeBytes): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes).fill(0xa5);
  await disc.read(offsetBytes, bytes);
  return bytes;
}

/** Names of every kind, at every depth, in lengths about the limits. */
function manyFiles(): IsoFile[] {
  return [
    file("readme.txt", new TextEncoder().encode("moo\n")),
    file("README", new Uint8Array()),
    file("Readme.md", randomBytes(2048)),
    file(".hidden", randomBytes(2049)),
    file("weiß, 牛 und 🐄.tar.gz", randomBytes(5000)),
    file(`${"n".repeat(249)}.txt`, randomBytes(1)),
    file(`${"牛".repeat(83)}.txt`, randomBytes(1)),
    file(`${"n".repeat(249)}.doc`, randomBytes(1)),
    file("aa:b?c*d;e.txt", randomBytes(1)),
    file("one/two/three/four/five/six/seven/file", randomBytes(3)),
    file("one/2", randomBytes(4)),
    file("one/10", randomBytes(4)),
    ...Array.from({ length: 300 }, (_, index) =>
      file(`photos/Holiday picture ${index}.jpeg`, randomBytes(index)),
    ),
    ...Array.from({ length: 120 }, (_, index) => file(`folder ${index}/x`, randomBytes(1))),
  ];
}

for (const [name, wrap] of [
  ["bytes", (bytes: Uint8Array<ArrayBuffer>) => bytes],
  ["Blobs", (bytes: Uint8Array<ArrayBuffer>) => new Blob([bytes])],
  ["files", (bytes: Uint8Array<ArrayBuffer>) => createBlobFile(new Blob([bytes]))],
] as const)
  testBlockFile(`disc of ${name}`, {
    // The suite wants a file of its own content: the last part of a disc is one.
    async create(content) {
      const disc = createIso([file("a", randomBytes(5)), file("b", wrap(content))]);
      const start = disc.sizeBytes - Math.ceil(content.length / 2048) * 2048;
      const { createSliceFile } = await import("../files/slice-file.ts");
      return { file: createSliceFile(disc, { offsetBytes: start, sizeBytes: content.length }) };
    },
    writable: false,
  });

describe("a disc", () => {
  test("has every file whole, under its name in both trees", async () => {
    const files = manyFiles();
    const disc = createIso(files, { volumeId: "Cow files" });
    const { primary, joliet } = await readIso(disc);
    expect(primary.volumeId).toBe("COW_FILES");
    expect(joliet.volumeId).toBe("Cow files");
    expect(primary.sizeBytes).toBe(disc.sizeBytes);
    const found = new Map(primary.entries.map((entry) => [entry.path, entry]));
    const inJoliet = new Map(joliet.entries.map((entry) => [entry.path, entry]));
    expect(primary.entries.filter(({ isDirectory }) => !isDirectory)).toHaveLength(files.length);
    expect(joliet.entries.filter(({ isDirectory }) => !isDirectory)).toHaveLength(files.length);
    for (const { path, content } of files) {
      const entry = found.get(path);
      if (!entry || !(content instanceof Uint8Array)) throw new Error(`${path} is not on the disc.`);
      expectSameBytes(await bytesOf(disc, entry.offsetBytes, entry.sizeBytes), content);
      expect(entry).toMatchObject({
        mtime: new Date(MTIME).toISOString(),
        mode: 0o100444,
        isDirectory: false,
      });
      const short = path.split("/").every((name) => name.length <= 64 && !/[:?*;]/.test(name));
      // README and Readme.md differ in more than case; nothing else here does not.
      if (short)
        expect(inJoliet.get(path)).toMatchObject({
          offsetBytes: entry.offsetBytes,
          sizeBytes: content.length,
        });
    }
    expect(found.get("one/two")).toMatchObject({ isDirectory: true, mode: 0o040555 });
    expect(inJoliet.has("aa_b_c_d_e.txt")).toBe(true);
    expect(inJoliet.has(`${"n".repeat(60)}.txt`)).toBe(true);
  });

  test("has plain names that are unlike each other and in order, for systems that know no others", async () => {
    const { primary, joliet } = await readIso(createIso(manyFiles()));
    const directories = new Map<string, string[]>();
    for (const { path, id, isDirectory } of primary.entries) {
      expect(id).toMatch(isDirectory ? /^[A-Z0-9_]{1,8}$/ : /^[A-Z0-9_]{1,8}\.[A-Z0-9_]{0,3};1$/);
      const above = path.slice(0, Math.max(0, path.lastIndexOf("/")));
      directories.set(above, [...(directories.get(above) ?? []), id]);
    }
    for (const ids of directories.values()) {
      expect(new Set(ids).size).toBe(ids.length);
      const keys = ids
        .map((id) => id.replace(";1", "").split("."))
        .map(([a = "", b = ""]) => a.padEnd(8) + b);
      expect(keys).toEqual([...keys].sort());
    }
    for (const { id } of joliet.entries) expect(id.length).toBeLessThanOrEqual(66);
    const lower = joliet.entries.map(({ path }) => path.toLowerCase());
    expect(new Set(lower).size).toBe(lower.length);
    // By level, then by parent; readers look directories up in it.
    const parents = primary.pathTable.map((line) => Number(line.split(" ")[0]));
    expect(parents).toEqual([...parents].sort((a, b) => a - b));
  });

  test("has whatever paths and times there are", async () => {
    const name = fc
      .string({ unit: "binary", minLength: 1, maxLength: 40 })
      .filter((text) => !/[/\0]/.test(text) && text !== "." && text !== "..");
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
    const anyFile = fc.record({
      path,
      content: fc.uint8Array({ maxLength: 5000 }),
      mtimeMs: fc.oneof(fc.double(), fc.integer({ min: 0, max: 2 ** 42 })),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(anyFile, { selector: (each) => each.path, maxLength: 20 }),
        async (files) => {
          const isBoth = files.some((a) => files.some((b) => b.path.startsWith(`${a.path}/`)));
          fc.pre(!isBoth);
          const disc = createIso(files);
          const { primary, joliet } = await readIso(disc);
          const found = new Map(primary.entries.map((entry) => [entry.path, entry]));
          for (const { path: wanted, content } of files) {
            const entry = found.get(wanted);
            expect(entry?.sizeBytes).toBe(content.length);
            expectSameBytes(await bytesOf(disc, entry?.offsetBytes, entry?.sizeBytes), content);
          }
          expect(joliet.entries.length).toBe(primary.entries.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("reads of its files no more than is read of it, and says what they say", async () => {
    const content = createColdFile(randomBytes(1_000_000));
    const disc = createIso([file("a", randomBytes(100)), file("b", content)]);
    await readIso(disc);
    expect(content.loads).toBe(0);
    const failure = new Error("The file is gone.");
    content.failure = failure;
    await expect(bytesOf(disc)).rejects.toBe(failure);
    await disc.close();
    await expectError("CLOSED", () => disc.read(0, new Uint8Array(1)));
  });

  test("closes its files, all of them also when one fails to", async () => {
    const closed: string[] = [];
    const closing = (name: string, failure?: Error) => {
      const inner = createBlobFile(new Blob(["x"]), { name });
      inner.close = async () => {
        closed.push(name);
        if (failure) throw failure;
      };
      return inner;
    };
    const failure = new Error("It will not close.");
    const disc = createIso([file("a", closing("a", failure)), file("b", closing("b"))]);
    await expect(disc.close()).rejects.toBe(failure);
    expect(closed).toEqual(["a", "b"]);
  });

  test("is the same for the same files, and one of none is one", async () => {
    const files = [file("a", new Uint8Array(10)), file("d/b", new Uint8Array(3000))];
    expectSameBytes(await bytesOf(createIso(files)), await bytesOf(createIso(files)));
    expect((await readIso(createIso([]))).primary.entries).toEqual([]);
  });

  test("of thousands of files of like names is made in no time", async () => {
    const files = Array.from({ length: 5000 }, (_, index) =>
      file(`Screenshot number ${index}.png`, new Uint8Array(1)),
    );
    const { primary } = await readIso(createIso(files));
    expect(new Set(primary.entries.map(({ id }) => id)).size).toBe(5000);
  });
});

describe("a disc refuses", () => {
  test.each(
    [
      ["", "/a", "a/", "a//b", ".", "a/../b", "a\0b"].map((path) => [path, "INVALID_ARGUMENT"] as const),
      [["1/2/3/4/5/6/7/8/file", "INVALID_ARGUMENT"] as const],
      [["n".repeat(254), "TOO_LARGE"] as const],
      [["牛".repeat(85), "TOO_LARGE"] as const],
    ].flat(),
  )("the path %j", async (path, code) => {
    await expectError(code, async () => createIso([file(path)]));
  });

  test("two files in one place, or a file that is a directory too", async () => {
    for (const paths of [
      ["a", "a"],
      ["d/a", "d/a"],
      ["a", "a/b"],
      ["a/b", "a"],
    ]) {
      const error = await expectError("INVALID_ARGUMENT", async () =>
        createIso(paths.map((path) => file(path))),
      );
      expect(error.data.path).toBeDefined();
    }
  });

  test("a file of 4 GiB, and takes one of a byte less", async () => {
    const huge = (sizeBytes: number) =>
      Object.defineProperty(createBlobFile(new Blob([])), "sizeBytes", { value: sizeBytes });
    const error = await expectError("TOO_LARGE", async () => createIso([file("dvd.iso", huge(2 ** 32))]));
    expect(error.message).toContain("dvd.iso");
    const disc = createIso([
      file("a", huge(2 ** 32 - 1)),
      file("b", huge(2 ** 32 - 1)),
      file("c", Uint8Array.of(7)),
    ]);
    const { primary } = await readIso(disc);
    const last = primary.entries.find(({ path }) => path === "c");
    expect(last?.offsetBytes).toBeGreaterThan(2 ** 33 - 1);
    expect([...(await bytesOf(disc, last?.offsetBytes, 1))]).toEqual([7]);
  });

  test("to be called nothing, or too much", async () => {
    for (const volumeId of ["", "n".repeat(33)])
      await expectError("INVALID_ARGUMENT", async () => createIso([], { volumeId }));
  });

  test("more directories than have numbers", async () => {
    const files = Array.from({ length: 65535 }, (_, index) => file(`${index}/x`, new Uint8Array()));
    await expectError("TOO_LARGE", async () => createIso(files));
  });
});

/** Programs that read discs and that we did not write, where the host has them (libarchive-tools, genisoimage). */
const has = (program: string) => spawnSync(program, ["--version"]).error === undefined;

describe("other programs read a disc", () => {
  async function onDisk(files: readonly IsoFile[]): Promise<{ folder: string; path: string }> {
    const folder = mkdtempSync(join(tmpdir(), "byre-iso-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "disc.iso");
    writeFileSync(path, await bytesOf(createIso(files, { volumeId: "COWS" })));
    return { folder, path };
  }

  test.skipIf(!has("bsdtar"))("libarchive, by Rock Ridge", async () => {
    const files = manyFiles();
    const { folder, path } = await onDisk(files);
    const out = mkdtempSync(join(folder, "out-"));
    execFileSync("bsdtar", ["--options", "iso9660:!joliet", "-xf", path, "-C", out], {
      env: { ...process.env, LC_ALL: "C.UTF-8" },
    });
    const extracted = readdirSync(out, { recursive: true, withFileTypes: true }).filter((each) =>
      each.isFile(),
    );
    expect(extracted).toHaveLength(files.length);
    for (const { path: name, content } of files) {
      expectSameBytes(new Uint8Array(readFileSync(join(out, name))), content as Uint8Array);
      expect(statSync(join(out, name)).mtimeMs).toBe(MTIME);
    }
  });

  test.skipIf(!has("isoinfo"))("isoinfo, by Joliet and by the plain names", async () => {
    const { path } = await onDisk(manyFiles());
    const list = (...options: string[]) =>
      execFileSync("isoinfo", [...options, "-f", "-i", path], {
        encoding: "utf8",
        env: { ...process.env, LC_ALL: "C.UTF-8" },
      });
    expect(list("-J")).toContain("/photos/Holiday picture 299.jpeg");
    expect(list("-R")).toContain("/weiß, 牛 und 🐄.tar.gz");
    expect(list()).toContain("/ONE/TWO/THREE/FOUR/FIVE/SIX/SEVEN/FILE.;1");
    const says = execFileSync("isoinfo", ["-d", "-i", path], { encoding: "utf8" });
    expect(says).toContain("Volume id: COWS");
    expect(says).toContain("Joliet with UCS level 3 found");
    expect(says).toContain("Rock Ridge signatures version 1 found");
  });
});
