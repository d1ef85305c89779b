import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { createMemoryFile, openQcow2 } from "../../disk/index.ts";
import { createQuotaFile } from "../../disk/testing/quota-file.ts";
import { guestDiskIn } from "../testing/saved-machine.ts";
import { TINY_GUEST_BANNER, TINY_GUEST_FREE_SECTOR } from "../testing/tiny-guest.ts";
import { runMachine } from "./run-machine.ts";
import { TerminalWatch } from "./terminal-loss.ts";

const WRITE = `W${TINY_GUEST_FREE_SECTOR.toString(16).padStart(8, "0").toUpperCase()}5A`;

/** Runs the tiny guest until it has written a sector and `leave` is done, on a storage that fails as the save begins. */
async function failingSave(leave: (input: PassThrough, terminal: EventEmitter) => void) {
  const file = createQuotaFile(new Uint8Array(0), "disk.qcow2");
  const hda = await guestDiskIn(file);
  const input = new PassThrough();
  const output = new PassThrough({ encoding: "utf8" });
  const terminal = new EventEmitter();
  let said = "";
  const steps = [
    { text: TINY_GUEST_BANNER, go: () => void input.write(WRITE) },
    { text: "=", go: () => leave(input, terminal) },
  ];
  output.on("data", (text: string) => {
    said += text;
    if (steps[0] && said.includes(steps[0].text)) steps.shift()?.go();
  });
  const err = (text: string) => {
    if (!text.startsWith("byre: saving")) return;
    file.failFrom = file.flushes;
    file.failTo = file.flushes + 1;
  };
  const watch = new TerminalWatch([terminal]);
  try {
    await runMachine(
      { disks: { hda }, configuration: { memoryMiB: 16, vgaMemoryMiB: 1 } },
      { saveAs: "evening", script: undefined, timeLimitSeconds: undefined },
      { streams: { input, output }, out: { out: () => {}, err, isTerminal: true }, watch },
    );
    return { failure: undefined, sector: undefined };
  } catch (failure) {
    const sector = new Uint8Array(512);
    const content = file.durable();
    const stored = await openQcow2(createMemoryFile({ name: "stored.qcow2", content }));
    await stored.read(TINY_GUEST_FREE_SECTOR * 512, sector);
    return { failure, sector };
  } finally {
    watch.stop();
  }
}

test("a machine that could not be saved has stored what was written all the same", async () => {
  const { failure, sector } = await failingSave((input) => input.write("\x01x"));
  expect(failure).toMatchObject({
    exitCode: 1,
    message: expect.stringMatching(/^The machine is not saved: .*storage is full/),
  });
  expect(sector).toEqual(new Uint8Array(512).fill(0x5a));
});

test("why it is not saved is told beside why it ended", async () => {
  const error = Object.assign(new Error("no space"), { code: "ENOSPC" });
  const { failure, sector } = await failingSave((_, terminal) => terminal.emit("error", error));
  expect(failure).toMatchObject({
    exitCode: 1,
    message: expect.stringMatching(/failed: no space\. The machine is not saved: .*storage is full/),
  });
  expect(sector).toEqual(new Uint8Array(512).fill(0x5a));
});
