import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { io } from "./io.ts";
import { type Ended, qemu, Twins } from "./testing/twins.ts";

describe.skipIf(!hasQemu)("byre io", () => {
  const twins = new Twins();
  afterAll(() => twins.close());

  beforeEach(() => {
    for (const folder of [twins.qemuFolder, twins.byreFolder]) {
      qemu("qemu-img", ["create", "-q", "-f", "qcow2", `${folder}/disk.qcow2`, "4M"]);
      writeFileSync(`${folder}/disk.raw`, new Uint8Array(1024 * 1024).fill(0x11));
    }
  });

  /** Without how long it took. */
  const timeless = (text: string) =>
    text.replace(/, 1 ops; .*\)$/gm, ", 1 ops; *").replace(/^(\d+,1),.*$/gm, "$1,*");

  async function expectSame(file: string, ...commands: string[]): Promise<Ended> {
    const words = [...commands.flatMap((command) => ["-c", command]), ...file.split(" ")];
    const theirs = twins.qemu("qemu-io", ...words);
    const ours = await twins.byre("io", ...words);
    const about = `${words.join(" ")}\n${ours.err}`;
    expect(timeless(ours.out), about).toBe(timeless(theirs.out));
    expect(ours.code, about).toBe(theirs.code);
    return ours;
  }

  const sameContent = () => {
    const images = [`${twins.qemuFolder}/disk.qcow2`, `${twins.byreFolder}/disk.qcow2`];
    expect(qemu("qemu-img", ["compare", ...images]).out).toBe("Images are identical.\n");
    expect(qemu("qemu-img", ["check", images[1] ?? ""]).code).toBe(0);
  };

  it("writes patterns, zeros and compressed clusters, and lets go of them, as qemu-io does", async () => {
    await expectSame(
      "@/disk.qcow2",
      "write -P 0x55 1000 70000",
      "write 2M 64k",
      "w -P 017 100k 1536",
      "write -z 0 128k",
      "write -z -u 2M 64k",
      "write -c -P 7 3M 128k",
      "write -zu 1000 5",
      "writev -P 3 1M 512 1k 1536",
      "discard 3M 64k",
      "d 1M 1",
      "flush",
      "map",
    );
    sameContent();
  });

  it("reads, verifies and dumps as qemu-io does", async () => {
    await expectSame(
      "@/disk.qcow2",
      "write -P 0x41 0 100k",
      "read -P 0x41 0 100k",
      "read -v 102384 48",
      "read -P 0x41 -s 1k -l 2k 0 4k",
      "read -qP 0x41 0 4k",
      "readv -P 0x41 0 512 512",
      "r -v 0 20",
      "read -C 0 1M",
    );
  });

  it("writes and reads VM state, which no guest sees, as qemu-io does", async () => {
    await expectSame(
      "@/disk.qcow2",
      "write -b -P 9 64k 128k",
      "read -b -P 9 64k 128k",
      "read -P 0 0 4M",
      "read -b -v 0 32",
      "read -b 0 512",
    );
    sameContent();
  });

  it("fails where a pattern is not there, and goes on with the next command", async () => {
    const ended = await expectSame("@/disk.qcow2", "read -P 1 0 512", "read -P 0 512 512");
    expect(ended.out).toContain("Pattern verification failed at offset 0, 512 bytes\n");
    expect(ended.code).toBe(1);
  });

  it("says what is allocated as qemu-io does", async () => {
    await expectSame(
      "@/disk.qcow2",
      "write 64k 100k",
      "write -z 1M 64k",
      "map",
      "alloc 0",
      "alloc 64k 1M",
      "a 3M 5M",
      "length",
      "truncate 8M",
      "l",
      "map",
    );
    sameContent();
  });

  it("does the same with a raw image", async () => {
    await expectSame(
      "-f raw @/disk.raw",
      "read -P 0x11 0 1M",
      "write -P 5 1k 512",
      "map",
      "length",
      "write -z 0 8k",
    );
    await expectSame("-f raw @/disk.raw", "truncate 2M", "l", "read -P 0 1M 1M");
    const [ours, theirs] = [twins.byreFolder, twins.qemuFolder].map((folder) =>
      readFileSync(`${folder}/disk.raw`),
    );
    expect(ours?.equals(theirs ?? Buffer.alloc(0))).toBe(true);
  });

  it.each([
    ["read 0"],
    ["read 0 4M 1"],
    ["read 4M 512"],
    ["write 4095k 2k"],
    ["discard 4M 1"],
    ["read -P 300 0 512"],
    ["read -s 1 0 512"],
    ["read -P 1 -s 1k 0 512"],
    ["read -x 0 512"],
    ["write -z -P 1 0 512"],
    ["write -u 0 512"],
    ["write -n 0 512"],
    ["write -c 1 512"],
    ["write -c 0 512"],
    ["write -c 512 64k"],
    ["write -b -z 0 512"],
    ["read zero 512"],
    ["read 0 9E"],
    ["read 0 2G"],
    ["alloc 1x"],
    ["nonsense 1"],
    ["flush 1"],
    ["-r", "write 0 512"],
  ])("refuses %j as qemu-io does", async (...commands) => {
    const readOnly = commands[0] === "-r";
    await expectSame(readOnly ? "-r @/disk.qcow2" : "@/disk.qcow2", ...commands.slice(readOnly ? 1 : 0));
  });

  it("refuses an image that is not there", async () => {
    expect((await expectSame("@/missing.qcow2", "read 0 512")).err).toMatch(/missing/);
  });

  it("reads commands from its input when none is given", async () => {
    async function* lines() {
      yield "length";
      yield "quit";
      yield "read 0 512";
    }
    const texts: string[] = [];
    const out = { out: (text: string) => void texts.push(text), err() {}, isTerminal: false };
    await io(`${twins.byreFolder}/disk.qcow2`, {}, out, lines);
    expect(texts.join("")).toBe("byre io> 4 MiB\nbyre io> ");
  });

  it("lists its commands without an image", async () => {
    const ended = await twins.byre("io", "-c", "help");
    expect(ended.out).toContain("write [-bcCfnquz] [-P pattern | -s source_file] off len -- writes");
    expect(ended.code).toBe(0);
  });
});
