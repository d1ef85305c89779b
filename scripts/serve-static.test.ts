import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveStatic } from "./serve-static.mjs";

let folder: string;
let server: Awaited<ReturnType<typeof serveStatic>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "byre-static-"));
  await writeFile(join(folder, "index.html"), "<p>page</p>");
  await writeFile(join(folder, "disk.qcow2"), "0123456789");
  await writeFile(join(folder, "v86.wasm"), "");
  server = await serveStatic({ root: folder, port: 0 });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const get = (path: string, init?: RequestInit) => fetch(`${server.origin}${path}`, init);
const ranged = (range: string) => get("/disk.qcow2", { headers: { Range: range } });

test("a folder is answered with its page, and files with their types", async () => {
  const page = await get("/");
  expect(await page.text()).toBe("<p>page</p>");
  expect(page.headers.get("content-type")).toContain("text/html");
  expect((await get("/v86.wasm")).headers.get("content-type")).toBe("application/wasm");
  expect((await get("/missing")).status).toBe(404);
});

test.each([
  ["bytes=2-4", "234", "bytes 2-4/10"],
  ["bytes=7-", "789", "bytes 7-9/10"],
  ["bytes=-2", "89", "bytes 8-9/10"],
  ["bytes=8-99", "89", "bytes 8-9/10"],
])("the range %s is answered alone", async (range, text, contentRange) => {
  const response = await ranged(range);
  expect(response.status).toBe(206);
  expect(response.headers.get("content-range")).toBe(contentRange);
  expect(await response.text()).toBe(text);
});

test("a range past the end is refused with the length", async () => {
  const response = await ranged("bytes=10-12");
  expect(response.status).toBe(416);
  expect(response.headers.get("content-range")).toBe("bytes */10");
});

test("a file that changes has another ETag, and one that does not is not sent again", async () => {
  const etag = (await get("/disk.qcow2", { method: "HEAD" })).headers.get("etag") ?? "";
  expect(etag).toMatch(/^"[^"]+"$/);
  expect((await get("/disk.qcow2", { headers: { "If-None-Match": etag } })).status).toBe(304);
  await writeFile(join(folder, "disk.qcow2"), "9876543210!");
  expect((await get("/disk.qcow2", { method: "HEAD" })).headers.get("etag")).not.toBe(etag);
  await writeFile(join(folder, "disk.qcow2"), "0123456789");
});

test.each(["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/%00", "/%zz"])(
  "%s leads nowhere",
  async (path) => {
    // Not fetch, which would tidy the path before it is sent.
    const status = await new Promise((resolve, reject) => {
      request({ port: server.port, host: "127.0.0.1", path }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });
    expect(status).toBe(404);
  },
);
