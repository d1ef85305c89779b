import { linkSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { tinyGuestImage } from "../testing/tiny-guest.ts";
import { BANNER, byre, byreCommand, path, prepareDisks } from "./testing/program.ts";

prepareDisks();

describe("byre run, with a file that is named twice", () => {
  const overlay = (name: string, over: string) =>
    byreCommand("create", "-q", "-f", "qcow2", "-b", path(over), "-F", "qcow2", path(name));

  beforeEach(async () => {
    await overlay("middle.qcow2", "disk.qcow2");
    await overlay("top.qcow2", "middle.qcow2");
    await overlay("other.qcow2", "disk.qcow2");
    writeFileSync(path("floppy.img"), tinyGuestImage(1440 * 1024));
    for (const name of ["hard.qcow2", "soft.qcow2"]) rmSync(path(name), { force: true });
    linkSync(path("disk.qcow2"), path("hard.qcow2"));
    symlinkSync(path("disk.qcow2"), path("soft.qcow2"));
  });

  test.each([
    [["--hdb", "disk.qcow2", "disk.qcow2"], "disk.qcow2 is the disk, which is written, and also --hdb"],
    [["--hdb", "hard.qcow2", "disk.qcow2"], "the disk, which is written, and also --hdb"],
    [["--hdb", "soft.qcow2", "disk.qcow2"], "the disk, which is written, and also --hdb"],
    [
      ["--hdb", "disk.qcow2", "other.qcow2"],
      "disk.qcow2 is --hdb, which is written, and also behind the disk",
    ],
    [["--hdb", "disk.qcow2", "top.qcow2"], "is --hdb, which is written, and also behind the disk"],
    [["--hdb", "top.qcow2", "middle.qcow2"], "is the disk, which is written, and also behind --hdb"],
    [["--state", "disk.qcow2", "disk.qcow2"], "is the disk, which is written, and also --state"],
    [["--state", "disk.qcow2", "top.qcow2"], "is --state, which is written, and also behind the disk"],
    [["--snapshot", "--state", "disk.qcow2", "top.qcow2"], "is --state, which is written, and also behind"],
    [["--cdrom", "disk.raw", "-f", "raw", "disk.raw"], "is the disk, which is written, and also --cdrom"],
    [["--cdrom", "floppy.img", "floppy.img"], "is the floppy, which is written, and also --cdrom"],
    [
      ["--cdrom", "tar:disk.tar/disk.qcow2", "-f", "raw", "disk.tar"],
      "is the disk, which is written, and also",
    ],
  ])("%j is refused, and nothing is changed", async (words, message) => {
    const files = ["disk.qcow2", "middle.qcow2", "top.qcow2", "disk.raw", "floppy.img"];
    const before = files.map((name) => readFileSync(path(name)));
    const placed = words.map((word) =>
      word.replace(/^(tar:)?([a-z]+\.\w+)/, (_, tar = "", name) => tar + path(name)),
    );
    const { code, err } = await byre(...placed).ended;
    expect(err).toContain(message);
    expect(code).toBe(1);
    for (const [i, name] of files.entries())
      expect(readFileSync(path(name)).equals(before[i] as Buffer)).toBe(true);
  });

  test.each([
    ["two overlays of one image", ["--hdb", "other.qcow2", "top.qcow2"]],
    ["with --snapshot, one disk twice", ["--snapshot", "--hdb", "disk.qcow2", "disk.qcow2"]],
    ["with --snapshot, what is behind the disk", ["--snapshot", "--hdb", "disk.qcow2", "top.qcow2"]],
    ["a CD that is behind the disk", ["--cdrom", "disk.qcow2", "top.qcow2"]],
  ])("%s is only read in both, and runs", async (_, words) => {
    const run = byre(...words.map((word) => (word.startsWith("--") ? word : path(word))));
    await run.said(BANNER);
    run.send("P");
    expect((await run.ended).code).toBe(0);
  });
});
