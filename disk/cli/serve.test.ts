import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openHttpFile } from "../files/http-file.ts";
import { type Serving, serve } from "./serve.ts";
import { byre } from "./testing/twins.ts";

let folder: string;
let printed: string;
let serving: Serving | undefined;
const out = {
  out: (text: string) => {
    printed += text;
  },
  err: () => {},
  isTerminal: false,
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "byre-serve-"));
  printed = "";
  mkdirSync(join(folder, "more"));
  writeFileSync(join(folder, "more/b & c.qcow2"), "0123456789");
  writeFileSync(join(folder, "a.qcow2"), "0123456789");
  writeFileSync(join(folder, ".hidden.qcow2"), "");
  writeFileSync(join(folder, "notes.txt"), "");
});
afterEach(async () => {
  await serving?.close();
  serving = undefined;
  rmSync(folder, { recursive: true });
});

it("serves what a page's driver reads by ranges", async () => {
  serving = await serve(folder, { port: 0 }, out);
  const file = await openHttpFile(`${serving.origin}/a.qcow2`);
  expect(file.ranged).toBe(true);
  const bytes = new Uint8Array(3);
  await file.read(2, bytes);
  expect(new TextDecoder().decode(bytes)).toBe("234");
  await file.close();
  const response = await fetch(`${serving.origin}/a.qcow2`, { headers: { Origin: "http://elsewhere" } });
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  await response.arrayBuffer();
});

it("prints a link for each image, in the page that was named", async () => {
  serving = await serve(folder, { port: 0, page: "https://example.org/byre" }, out);
  const link = (path: string) =>
    `https://example.org/byre/#/run?image=${encodeURIComponent(`${serving?.origin}/${path}`)}\n`;
  expect(printed).toContain(link("a.qcow2") + link("more/b%20%26%20c.qcow2"));
  expect(printed).not.toContain("hidden");
  expect(printed).not.toContain("notes");
});

it("links to the page in the folder, where there is one", async () => {
  writeFileSync(join(folder, "index.html"), "");
  serving = await serve(folder, { port: 0 }, out);
  expect(printed).toContain(`${serving.origin}/#/run?image=`);
});

it("refuses a folder that is none, and a port that is taken", async () => {
  expect((await byre("serve", join(folder, "missing"))).code).toBe(1);
  expect((await byre("serve", join(folder, "a.qcow2"))).code).toBe(1);
  expect((await byre("serve", "--port", "high", folder)).code).toBe(1);
  serving = await serve(folder, { port: 0 }, out);
  const { code, err } = await byre("serve", "--port", new URL(serving.origin).port, folder);
  expect(code).toBe(1);
  expect(err).toContain("Could not listen");
});
