import { spawn } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureLibrary } from "../../scripts/steps.mjs";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { qemu } from "./testing/twins.ts";

const program = join(dirname(fileURLToPath(import.meta.url)), "../../lib/byre.mjs");

/** Runs a command and interrupts it as soon as it has printed that it is under way. */
async function interrupt(words: readonly string[]): Promise<{ code: number | null; err: string }> {
  const child = spawn(process.execPath, [program, ...words]);
  let err = "";
  child.stdout.once("data", () => child.kill("SIGINT"));
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  const code = await new Promise<number | null>((done) => child.once("exit", done));
  return { code, err };
}

describe.skipIf(!hasQemu)("Ctrl-C", () => {
  const bench = new Bench();
  const path = (name: string) => bench.path(name);
  beforeAll(async () => {
    await ensureLibrary();
    qemuImg("create", "-q", "-f", "qcow2", path("base.qcow2"), "256M");
    qemuIo(path("base.qcow2"), ["write -P 1 0 192M"]);
    qemuImg("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", path("overlay.qcow2"));
    qemuIo(path("overlay.qcow2"), ["write -P 2 1M 1M", "write -P 3 200M 1M"]);
    for (const name of ["base", "overlay"]) copyFileSync(path(`${name}.qcow2`), path(`${name}.before`));
  }, 60_000);
  afterAll(() => rmSync(bench.directory, { recursive: true }));

  it.each([
    [
      "rebase",
      ["rebase", "-p", "-b", "", path("overlay.qcow2")],
      "over its old backing file still, and reads as before",
    ],
    ["commit", ["commit", "-p", path("overlay.qcow2")], "still has all of it"],
    ["amend", ["amend", "-p", "-o", "refcount_bits=64", path("overlay.qcow2")], "has the same content"],
  ])(
    "ends %s, which says what it leaves, and the image reads as it did",
    async (_, words, said) => {
      const { code, err } = await interrupt(words);
      // A command may be done before it hears of it; and after its work it has nothing to tell of.
      if (code !== 0) {
        expect(code).toBe(130);
        expect(err).toMatch(/^\n?byre: interrupted\./);
        if (err.trim() !== "byre: interrupted.") expect(err).toContain(said);
      }
      // Leaks at most.
      expect(qemu("qemu-img", ["check", path("overlay.qcow2")]).code).toBeOneOf([0, 3]);
      expect(qemu("qemu-img", ["check", path("base.qcow2")]).code).toBeOneOf([0, 3]);
      copyFileSync(path("base.before"), path("base.was"));
      qemuImg("rebase", "-u", "-b", "base.was", "-F", "qcow2", path("overlay.before"));
      expect(qemu("qemu-img", ["compare", path("overlay.before"), path("overlay.qcow2")]).out).toContain(
        "identical",
      );
    },
    30_000,
  );
});
