import { EventEmitter } from "node:events";
import { describe, expect, onTestFinished, test } from "vitest";
import { TerminalWatch } from "./terminal-loss.ts";
import {
  BANNER,
  byreCommand,
  inTerminal,
  path,
  prepareDisks,
  quoted,
  sectorOfDisk,
  start,
  WRITE,
} from "./testing/program.ts";

const EVENING = ["--savevm-on-exit", "evening"];

describe("byre run stores and saves", () => {
  prepareDisks();

  const saved = async () => (await byreCommand("snapshot", "-l", path("disk.qcow2"))).out;

  test.each([
    [
      "what was written",
      ["-f", "raw", path("disk.raw")],
      async () => expect(sectorOfDisk("disk.raw")).toBe(0x5a),
    ],
    ["the machine", [...EVENING, path("disk.qcow2")], async () => expect(await saved()).toContain("evening")],
  ])("%s, when the terminal's window is closed", async (_, words, look) => {
    // A shell that passes the signal on, and tells how it ended. What it runs beside itself would read /dev/null.
    const shell = `trap 'kill -HUP $pid' HUP; exec 4<&0; ${quoted(...words)} <&4 & pid=$!; wait $pid; wait $pid; echo $? >&3`;
    const run = inTerminal(shell);
    await run.said(BANNER);
    run.send(WRITE);
    await run.said("=");
    run.child.kill("SIGKILL");
    expect((await run.ended).told).toBe("129\n");
    await look();
  });

  test("when nobody reads any more what it says, though somebody types", async () => {
    const reader = "{ head -c 5; exec <&-; echo has gone; }";
    const run = inTerminal(`{ ${quoted(...EVENING, path("disk.qcow2"))}; echo $? >&3; } | ${reader}`);
    await run.said("has gone");
    run.send("Ehello\n");
    expect((await run.ended).told).toBe("0\n");
    expect(await saved()).toContain("evening");
  });

  test("when its output cannot be written", async () => {
    const run = start("sh", ["-c", `${quoted(...EVENING, path("disk.qcow2"))} >/dev/full`]);
    const { code, err } = await run.ended;
    expect(err).toMatch(/^byre: standard input or output failed: ENOSPC\b.*\n$/);
    expect(code).toBe(1);
    expect(await saved()).toContain("evening");
  });

  test("when nobody can read its messages either", async () => {
    const run = start("sh", ["-c", `${quoted(...EVENING, path("disk.qcow2"))} >/dev/full 2>&1`]);
    expect((await run.ended).code).toBe(1);
    expect(await saved()).toContain("evening");
  });
});

describe("TerminalWatch", () => {
  function watching() {
    const stream = new EventEmitter();
    const watch = new TerminalWatch([stream]);
    watch.begin();
    onTestFinished(() => watch.stop());
    return { watch, fail: (code: string) => stream.emit("error", Object.assign(new Error(code), { code })) };
  }

  test("tells of the first loss alone, and who comes later too", () => {
    const { watch, fail } = watching();
    const told: unknown[] = [];
    watch.onLoss((loss) => told.push(loss));
    fail("EIO");
    fail("EPIPE");
    process.emit("SIGHUP", "SIGHUP");
    watch.onLoss((loss) => told.push(loss));
    expect(told).toEqual([{ exitCode: 129 }, { exitCode: 129 }]);
  });

  test.each([
    ["EPIPE", { exitCode: 0 }],
    ["EIO", { exitCode: 129 }],
    ["ENOSPC", { exitCode: 1, message: "standard input or output failed: ENOSPC." }],
  ])("%s ends with %o", (code, loss) => {
    const { watch, fail } = watching();
    fail(code);
    expect(watch.loss).toEqual(loss);
  });
});
