import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureLibrary } from "../../scripts/steps.mjs";
import { openNodeFile } from "../files/node-file.ts";
import { createQcow2 } from "../qcow2/create.ts";
import { openQcow2 } from "../qcow2/open.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { qemu, Twins } from "./testing/twins.ts";
import { VERSION } from "./version.ts";

const projectFolder = join(dirname(fileURLToPath(import.meta.url)), "../..");

function node(...words: string[]) {
  const run = spawnSync(process.execPath, words, { encoding: "utf8", cwd: projectFolder });
  return { code: run.status, out: run.stdout, err: run.stderr };
}

const built = (...words: string[]) => node("lib/byre.mjs", ...words);

describe("lib/, as npm run build:cli makes it", () => {
  const bench = new Bench();
  beforeAll(async () => {
    await ensureLibrary();
    const file = await openNodeFile(bench.path("disk.qcow2"), { create: true });
    await createQcow2(file, { sizeBytes: 10 * 1024 * 1024 });
    const device = await openQcow2(file);
    await device.write(
      0,
      Uint8Array.from({ length: 512 }, (_, index) => [0x55, 0xaa][index - 510] ?? 1),
    );
    await device.close();
  }, 60_000);
  afterAll(() => rmSync(bench.directory, { recursive: true }));

  it("has the version of package.json", () => {
    const { version } = JSON.parse(readFileSync(join(projectFolder, "package.json"), "utf8")) as {
      version: string;
    };
    expect(VERSION).toBe(version);
    expect(built("--version").out).toBe(`byre ${version}\n`);
  });

  it("lists its commands", () => {
    const { code, out } = built("--help");
    expect(code).toBe(0);
    expect(out).toMatch(/^ {2}info /m);
    expect(out).toMatch(/^ {2}check /m);
  });

  it("ends with 1 and says why for an unknown command, and for none", () => {
    for (const words of [["frobnicate"], []]) {
      const { code, err } = built(...words);
      expect(code).toBe(1);
      expect(err).toMatch(/^byre: /);
    }
  });

  it("works on a file as from source", () => {
    const info = built("info", "--output=json", bench.path("disk.qcow2"));
    expect(info.err).toBe("");
    expect(JSON.parse(info.out)).toMatchObject({ format: "qcow2", "virtual-size": 10 * 1024 * 1024 });
    expect(built("check", bench.path("disk.qcow2")).code).toBe(0);
    expect(built("check", bench.path("missing")).code).toBe(1);
  });

  it("stops without a word when its reader has gone", () => {
    const run = spawnSync("sh", ["-c", `"$0" lib/byre.mjs --help | true`, process.execPath], {
      encoding: "utf8",
      cwd: projectFolder,
    });
    expect(run.stderr).toBe("");
  });

  it("runs the example of docs/", () => {
    const { code, out, err } = node("docs/examples/read-disk.mjs", bench.path("disk.qcow2"));
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toBe(
      "disk.qcow2: a disk of 10485760 bytes\nIt has a partition table.\n65536 bytes of it are stored in this file.\n",
    );
    const missing = node("docs/examples/read-disk.mjs", bench.path("missing"));
    expect(missing.code).toBe(1);
    expect(missing.err).toMatch(/^NOT_FOUND: /);
  });

  it("has types that a person's compiler takes", () => {
    const folder = join(projectFolder, ".cache/types-test");
    mkdirSync(folder, { recursive: true });
    const source = `import { type BlockDevice, ByreError, openDevice } from "byre/disk";
import { openNodeFile } from "byre/disk/node";
export const device: BlockDevice = await openDevice(await openNodeFile("x"), { format: "raw" });
export const isMissing = (error: unknown) => error instanceof ByreError && error.code === "NOT_FOUND";
// @ts-expect-error sizes are numbers
export const size: string = device.sizeBytes;
`;
    writeFileSync(join(folder, "use.ts"), source);
    const options = [
      "--noEmit",
      "--strict",
      "--ignoreConfig",
      "--target",
      "es2023",
      "--module",
      "nodenext",
      "--types",
      "node",
    ];
    const { code, out } = node("node_modules/typescript/bin/tsc", ...options, join(folder, "use.ts"));
    rmSync(folder, { recursive: true });
    expect(out).toBe("");
    expect(code).toBe(0);
  }, 90_000);

  it.skipIf(!hasQemu)("copies as qemu-img does, threads and all", () => {
    const twins = new Twins();
    try {
      twins.make("qemu-img", "create", "-f", "qcow2", "@/disk.qcow2", "64M");
      twins.make("qemu-io", "-c", "write -P 3 0 20M", "-c", "write -P 4 40M 64k", "@/disk.qcow2");
      const from = join(twins.byreFolder, "disk.qcow2");
      const to = join(twins.byreFolder, "packed.qcow2");
      const { code, err } = built("convert", "-c", "-O", "qcow2", from, to);
      expect(err).toBe("");
      expect(code).toBe(0);
      expect(qemu("qemu-img", ["compare", from, to]).out).toContain("identical");
    } finally {
      twins.close();
    }
  });
});
