import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { Bench, hasQemu, qemuImg } from "../testing/qemu.ts";
import { convert } from "./convert.ts";

const MEBI = 1024 * 1024;

/** Ctrl-C, as the command that is running now hears it. */
function pressCtrlC(): void {
  process.listeners("SIGINT").at(-1)?.("SIGINT");
}

describe.skipIf(!hasQemu)("byre convert when it is interrupted", () => {
  const bench = new Bench();
  afterAll(() => bench.remove());
  const content = new Uint8Array(12 * MEBI).fill(0x5a);
  const source = bench.put("source.raw", content);

  /** Presses Ctrl-C when a third of the work is done. */
  async function interruptedConvert(outputFormat: "raw" | "qcow2", target: string): Promise<unknown> {
    const out = {
      out(text: string) {
        if (/\((3[3-9]|[4-9]\d)\./.test(text)) pressCtrlC();
      },
      err() {},
      isTerminal: false,
    };
    const options = { format: "raw", outputFormat, progress: true };
    return convert([source, target], options, out, { threads: 0 }).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  it("leaves a whole image with what was copied, and says so", async () => {
    const error = await interruptedConvert("qcow2", bench.path("part.qcow2"));
    expect(error).toMatchObject({ exitCode: 130 });
    expect(String(error)).toMatch(
      /part\.qcow2 is incomplete: a whole image, but of the disk only up to byte \d+/,
    );
    bench.check("part.qcow2");
    const copied = Number(/up to byte (\d+)/.exec(String(error))?.[1]);
    expect(copied).toBeGreaterThan(0);
    expect(copied).toBeLessThan(content.length);
    const guest = bench.guestBytes("part.qcow2");
    expect(Buffer.from(guest.subarray(0, copied)).equals(content.subarray(0, copied))).toBe(true);
  });

  it("says how far a raw file has come", async () => {
    const error = await interruptedConvert("raw", bench.path("part.raw"));
    expect(String(error)).toMatch(/part\.raw is incomplete: it has the disk up to byte \d+ and zeros after/);
    expect(readFileSync(bench.path("part.raw")).length).toBe(content.length);
  });

  it("leaves the old file as it was when nothing has been written yet", async () => {
    qemuImg("create", "-q", "-f", "qcow2", bench.path("source.qcow2"), "1M");
    writeFileSync(bench.path("old.raw"), "old");
    const out = { out: () => {}, err() {}, isTerminal: false };
    const converting = convert([bench.path("source.qcow2"), bench.path("old.raw")], {}, out, { threads: 0 });
    pressCtrlC();
    const error = await converting.catch((reason: unknown) => reason);
    expect(String(error)).toMatch(/old\.raw is as it was/);
    expect(readFileSync(bench.path("old.raw"), "utf8")).toBe("old");
    expect(existsSync(bench.path("old.raw"))).toBe(true);
  });
});
