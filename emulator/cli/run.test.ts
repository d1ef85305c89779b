import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { tinyGuestChecksum, tinyGuestImage } from "../testing/tiny-guest.ts";
import {
  BANNER,
  byre,
  byreCommand,
  onTerminal,
  PEEK,
  POKE,
  path,
  prepareDisks,
  SECTOR,
  script,
  sectorOfDisk,
  WRITE,
} from "./testing/program.ts";

prepareDisks();

describe("byre run", () => {
  test("plays a script, and ends with 0 when the guest switches itself off", async () => {
    const file = script(`wait "${BANNER}"`, `send "${WRITE}"`, 'wait "="', 'send "P"', "wait off 10");
    const { code, out, err } = await byre("-f", "raw", path("disk.raw"), "--script", file).ended;
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toContain(BANNER);
    expect(sectorOfDisk("disk.raw")).toBe(0x5a);
  });

  test("puts what comes on standard input on the serial port; Ctrl-A X leaves, with everything stored", async () => {
    const run = byre("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send("Egood evening\n");
    await run.said("good evening");
    run.send(WRITE);
    await run.said("=");
    run.send("\x01x");
    expect((await run.ended).code).toBe(0);
    expect(sectorOfDisk("disk.raw")).toBe(0x5a);
  });

  test("gives the terminal back as it was; Ctrl-C and Ctrl-A Ctrl-A are the guest's", async () => {
    const run = onTerminal("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send("Ea\x03b\x01\x01c\n");
    await run.said("a\x03b\x01c");
    run.send("\x01h");
    await run.said("Ctrl-A X        leave");
    run.send("\x01X");
    expect((await run.ended).code).toBe(0);
    expect(readFileSync(path("after"), "utf8")).toBe(readFileSync(path("before"), "utf8"));
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const)("%s ends it well, with everything stored", async (signal, exitCode) => {
    const run = byre("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send(WRITE);
    await run.said("=");
    run.child.kill(signal);
    expect((await run.ended).code).toBe(exitCode);
    expect(sectorOfDisk("disk.raw")).toBe(0x5a);
  });

  test("--snapshot leaves the image as it is", async () => {
    for (const [name, ...more] of [["disk.raw"], ["disk.qcow2"]] as const) {
      const before = readFileSync(path(name));
      const file = script(`wait "${BANNER}"`, `send "${WRITE}F"`, 'wait "="', 'wait "="', "leave");
      const { code, err } = await byre("--snapshot", ...more, path(name), "--script", file).ended;
      expect(err).toBe("");
      expect(code).toBe(0);
      expect(readFileSync(path(name)).equals(before)).toBe(true);
    }
  });

  test("a machine that was saved on leaving goes on where it was", async () => {
    const first = byre("--savevm-on-exit", "evening", path("disk.qcow2"));
    await first.said(BANNER);
    first.send(POKE);
    await first.said("=00000000");
    first.send("\x01x");
    expect((await first.ended).err).toBe("");
    const second = byre("--loadvm", "evening", path("disk.qcow2"));
    second.send(PEEK);
    await second.said("=0000005A");
    second.send("P");
    const { code, err } = await second.ended;
    expect(err).toBe("");
    expect(code).toBe(0);
  });

  test("a machine without a qcow2 disk is saved to --state", async () => {
    writeFileSync(path("floppy.img"), tinyGuestImage(1440 * 1024));
    const words = ["--floppy", path("floppy.img"), "--state", path("state.qcow2")];
    const first = byre(...words, "--savevm-on-exit", "here");
    await first.said(BANNER);
    first.send(POKE);
    await first.said("=00000000");
    first.send("\x01x");
    expect((await first.ended).err).toBe("");
    const second = byre(...words, "--loadvm", "here");
    second.send(PEEK);
    await second.said("=0000005A");
    second.send("\x01x");
    expect((await second.ended).code).toBe(0);
  });

  test("--snapshot starts from what the image says it starts from, and leaves it as it is", async () => {
    const first = byre("--savevm-on-exit", "evening", path("disk.qcow2"));
    await first.said(BANNER);
    first.send(`${POKE}${WRITE}`);
    await first.said("=00000000\n=");
    first.send("\x01x");
    await first.ended;
    const later = byre(path("disk.qcow2"));
    await later.said(BANNER);
    later.send(WRITE.replace(/5A$/, "77"));
    await later.said("=");
    later.send("\x01x");
    await later.ended;
    await byreCommand("meta", "set", path("disk.qcow2"), "machine.snapshot=evening");
    const before = readFileSync(path("disk.qcow2"));

    const hinted = byre("--time-limit", "0.2", path("disk.qcow2"));
    expect((await hinted.ended).err).toContain("--loadvm evening");
    expect(readFileSync(path("disk.qcow2")).equals(before)).toBe(true);
    const run = byre("--snapshot", path("disk.qcow2"));
    run.send(`${PEEK}R${SECTOR}`);
    await run.said("=0000005A");
    await run.said(`=${tinyGuestChecksum(new Uint8Array(512).fill(0x5a))}`);
    run.send("P");
    expect((await run.ended).code).toBe(0);
    expect(readFileSync(path("disk.qcow2")).equals(before)).toBe(true);
    const booted = byre("--snapshot", "--no-loadvm", path("disk.qcow2"));
    await booted.said(BANNER);
    booted.send(`${PEEK}R${SECTOR}`);
    await booted.said("=00000000");
    await booted.said(`=${tinyGuestChecksum(new Uint8Array(512).fill(0x77))}`);
  });

  test.each([[["--snapshot"]], [[]]])(
    "with %j, an image whose saved machine is gone is booted, and that is said",
    async (words) => {
      await byreCommand("meta", "set", path("disk.qcow2"), "machine.snapshot=evening");
      const run = byre(...words, path("disk.qcow2"));
      await run.said(BANNER);
      run.send("P");
      const { code, err } = await run.ended;
      expect(code).toBe(0);
      expect(err).toMatch(
        /^byre: warning: .*disk\.qcow2 .*"evening", which is not in it: its disk is booted\.\n$/,
      );
    },
  );

  test("--snapshot starts both disks from the moment of the saved machine", {
    timeout: 120_000,
  }, async () => {
    copyFileSync(path("disk.qcow2"), path("second.qcow2"));
    copyFileSync(path("disk.qcow2"), path("stranger.qcow2"));
    const disks = ["--hdb", path("second.qcow2"), path("disk.qcow2")];
    for (const [byte, ...words] of [["11", "--savevm-on-exit", "evening"], ["22"]] as const) {
      const run = byre(...words, ...disks);
      await run.said(BANNER);
      run.send(`1W${SECTOR}${byte}`);
      for (const _ of ["1", "W"]) await run.said("=");
      run.send("\x01x");
      expect((await run.ended).code).toBe(0);
    }
    const run = byre("--snapshot", "--loadvm", "evening", ...disks);
    run.send(`1R${SECTOR}P`);
    const { out, err } = await run.ended;
    expect(err).toBe("");
    expect(out).toContain(`=${tinyGuestChecksum(new Uint8Array(512).fill(0x11))}`);

    const other = ["--hdb", path("stranger.qcow2"), path("disk.qcow2")];
    const refused = await byre("--snapshot", "--loadvm", "evening", ...other).ended;
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('stranger.qcow2 has no snapshot that belongs to "evening"');
  });

  test("a script that waits in vain ends with 3, and says where and what came instead", async () => {
    const file = script(`wait "${BANNER}"`, 'send "Ehello\\n"', 'wait "goodbye" 0.5');
    const { code, err } = await byre("-f", "raw", path("disk.raw"), "--script", file).ended;
    expect(code).toBe(3);
    expect(err).toContain('test.script:3: 0.5 s passed before "goodbye" came. The output ends:');
    expect(err).toContain("hello");
  });

  test("a guest that crashes ends it with 2", async () => {
    const run = byre("-f", "raw", path("disk.raw"));
    await run.said(BANNER);
    run.send("K");
    const { code, err } = await run.ended;
    expect(code).toBe(2);
    expect(err).toContain("panicked");
  });

  test.each([
    [[path("missing")], "missing"],
    [[path("disk.raw")], "say -f raw to have it written"],
    [[], "something to boot from"],
    [[`tar:${path("disk.tar")}/disk.qcow2`], "With --snapshot it need not be written"],
    [["--loadvm", "none", path("disk.qcow2")], "none"],
    [["--snapshot", "--savevm-on-exit", "x", path("disk.qcow2")], "--snapshot keeps nothing"],
    [
      ["--snapshot", "--savevm-on-exit", "x", "--state", path("unused.qcow2"), path("disk.qcow2")],
      "--snapshot keeps nothing",
    ],
    [["--savevm-on-exit", "x", "-f", "raw", path("disk.raw")], "no qcow2 image and has no snapshots"],
    [["--savevm-on-exit", "x", "--snapshot", "--floppy", path("disk.raw")], "nothing for --savevm-on-exit"],
    [["--savevm-on-exit", "x", "--floppy", path("disk.raw")], "nowhere to save it to"],
    [["--savevm-on-exit", "", path("disk.qcow2")], "1 to 255 bytes"],
    [["--memory", "lots", path("disk.qcow2")], "It must be a number of MiB"],
    [["--script", path("disk.qcow2.script"), path("disk.qcow2")], "the script cannot be read"],
  ])("%j is refused with 1", async (words, message) => {
    const { code, err, out } = await byre(...words).ended;
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(out).toBe("");
  });

  test.each([
    ["a saved machine that is not there", ["--floppy", "floppy.img", "--loadvm", "none"]],
    ["a save that cannot be", ["-f", "raw", "disk.raw", "--savevm-on-exit", "x"]],
    ["nothing to boot from", []],
  ])("%s leaves no --state behind that was made for it, and one that was there", async (_, words) => {
    writeFileSync(path("floppy.img"), tinyGuestImage(1440 * 1024));
    const placed = words.map((word) => (word.includes(".") ? path(word) : word));
    const run = () => byre(...placed, "--state", path("new.qcow2")).ended;
    expect((await run()).code).toBe(1);
    expect(existsSync(path("new.qcow2"))).toBe(false);
    await byreCommand("create", "-q", "-f", "qcow2", path("new.qcow2"), "0");
    expect((await run()).code).toBe(1);
    expect(existsSync(path("new.qcow2"))).toBe(true);
    rmSync(path("new.qcow2"));
  });

  test.each(["first", "second"])(
    "a %s disk that can have no snapshots is refused at once for a save",
    async (which) => {
      const narrow = path("narrow.qcow2");
      await byreCommand("convert", "-O", "qcow2", "-o", "refcount_bits=1", path("disk.qcow2"), narrow);
      const disks = which === "first" ? [narrow] : ["--hdb", narrow, path("disk.qcow2")];
      const { code, err, out } = await byre("--savevm-on-exit", "x", ...disks).ended;
      expect(err).toContain("narrow.qcow2 has refcounts of 1 bit");
      expect(code).toBe(1);
      expect(out).toBe("");
    },
  );

  test("byre snapshot --details tells of the machines that are saved", async () => {
    const snapshot = (...words: string[]) => byreCommand("snapshot", ...words, path("disk.qcow2"));
    expect((await snapshot("-c", "disk alone")).code).toBe(0);
    const run = byre("--no-acpi", "--savevm-on-exit", "evening", path("disk.qcow2"));
    await run.said(BANNER);
    run.send("\x01x");
    await run.ended;
    const { code, out, err } = await snapshot("--details");
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toMatch(/^1: disk alone\n {4}date .*\n {4}takes .*\n {4}disk {8}1 MiB\n {4}machine {5}none/);
    expect(out).toMatch(/^2: evening\n/m);
    expect(out).toContain("16 MiB, 1 MiB graphics, no ACPI, boots from disk");
    expect(out).toMatch(/^ {4}emulator {4}v86 /m);
    const both = await snapshot("--details", "-l");
    expect(both.code).toBe(1);
    expect(both.err).toContain("--details stands alone");
  });
});
