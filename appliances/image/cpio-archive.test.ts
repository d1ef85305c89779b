import { expect, test } from "vitest";
import { writeCpioArchive } from "./cpio-archive.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** Reads the archive as its specification lays it out: a check that shares nothing with the writer. */
function members(archive: Uint8Array) {
  const found: { path: string; mode: number; owner: string; device: string; content: string }[] = [];
  for (let at = 0; ; ) {
    const header = text(archive.subarray(at, at + 110));
    expect(header.slice(0, 6)).toBe("070701");
    const field = (index: number) => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const path = text(archive.subarray(at + 110, at + 110 + field(11) - 1));
    const contentAt = (at + 110 + field(11) + 3) & ~3;
    if (path === "TRAILER!!!") return found;
    const content = text(archive.subarray(contentAt, contentAt + field(6)));
    const owner = `${field(2)}:${field(3)}`;
    found.push({ path, mode: field(1), owner, device: `${field(9)}:${field(10)}`, content });
    at = (contentAt + field(6) + 3) & ~3;
  }
}

test("files, folders, links and devices are written for root, each with its type", () => {
  const archive = writeCpioArchive([
    { path: "dev", type: "folder", mode: 0o755 },
    { path: "dev/console", type: "character-device", mode: 0o600, major: 5, minor: 1 },
    { path: "init", type: "file", mode: 0o755, content: Buffer.from("12345") },
    { path: "sh", type: "link", target: "busybox" },
  ]);
  expect(archive.length % 512).toBe(0);
  expect(members(archive)).toEqual([
    { path: "dev", mode: 0o040755, owner: "0:0", device: "0:0", content: "" },
    { path: "dev/console", mode: 0o020600, owner: "0:0", device: "5:1", content: "" },
    { path: "init", mode: 0o100755, owner: "0:0", device: "0:0", content: "12345" },
    { path: "sh", mode: 0o120777, owner: "0:0", device: "0:0", content: "busybox" },
  ]);
});
