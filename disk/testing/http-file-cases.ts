import { describe, expect, inject, test } from "vitest";
import { type HttpFile, type HttpFileOptions, openHttpFile } from "../files/http-file.ts";
import { expectError, expectSameBytes, testBlockFile } from "./block-file-suite.ts";
import type { HttpFileSettings } from "./http-test-server.ts";
import { randomBytes } from "./random-bytes.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** What an HTTP file does, in a browser (where the server is another origin) and under Node alike. */
export function testHttpFile(place: "browser" | "node"): void {
  testBlockFile("http file", {
    create: async (content) => ({ file: await openHttpFile(await served(content)) }),
    writable: false,
  });

  testBlockFile("http file with small chunks and next to no cache", {
    create: async (content) => {
      const options = { chunkBytes: 1000, cacheBytes: 5000, fetchWholeBelowBytes: 0 };
      return { file: await openHttpFile(await served(content), options) };
    },
    writable: false,
  });

  testBlockFile("http file from a server without ranges", {
    create: async (content) => {
      const file = await openHttpFile(await served(content, { always: "whole" }), { cacheBytes: 1 });
      return { file };
    },
    writable: false,
  });

  describe("http file on its own", () => {
    test("opens with one request, and names itself after the address", async () => {
      const url = await served(randomBytes(2 * MIB));
      const file = await openHttpFile(`${url}?a=b#c`, { fetchWholeBelowBytes: 0 });
      expect(file.name).toBe(new URL(url).pathname.slice(1));
      expect(file.identity).toEqual({ sizeBytes: 2 * MIB, etag: ETAG, lastModified: DAY });
      expect(file.stats()).toEqual({ httpRequests: 1, httpBytes: 256 * KIB });
      expect(await rangesAsked(url)).toEqual(["bytes=0-262143"]);
      await file.close();
    });

    test("fetches a small file whole behind its reader", async () => {
      const content = randomBytes(6 * MIB);
      const file = await openHttpFile(await served(content));
      const target = new Uint8Array(content.length);
      await expect.poll(() => file.readNow(0, target)).toBe(true);
      expectSameBytes(target, content);
      expect(file.stats()).toEqual({ httpRequests: 3, httpBytes: content.length });
      await file.close();
    });

    test("reads on with fewer and larger requests", async () => {
      const content = randomBytes(4 * MIB);
      const url = await served(content);
      const file = await openHttpFile(url, { fetchWholeBelowBytes: 0, chunkBytes: 64 * KIB });
      const target = new Uint8Array(16 * KIB);
      for (let at = 0; at < content.length; at += target.length) {
        await file.read(at, target);
        expectSameBytes(target, content.subarray(at, at + target.length));
      }
      expect(file.stats().httpRequests).toBeLessThan(12);
      expect(file.stats().httpBytes).toBe(content.length);
      await file.close();
    });

    test("fetches little for reads that are far apart", async () => {
      const options = { fetchWholeBelowBytes: 0, chunkBytes: 64 * KIB };
      const file = await openHttpFile(await served(randomBytes(2 * MIB)), options);
      for (const at of [1280 * KIB, 512 * KIB, 1792 * KIB]) await file.read(at, new Uint8Array(512));
      expect(file.stats()).toEqual({ httpRequests: 4, httpBytes: 4 * 64 * KIB });
      await file.close();
    });

    test("asks once for what several readers want at once", async () => {
      const content = randomBytes(2 * MIB);
      const file = await openHttpFile(await served(content), { fetchWholeBelowBytes: 0 });
      await Promise.all([1, 2, 3, 4].map((n) => file.read(MIB + n, new Uint8Array(100))));
      expect(file.stats().httpRequests).toBe(2);
      await file.close();
    });

    test("tells how much has come", async () => {
      const told: (number | undefined)[][] = [];
      const url = await served(randomBytes(MIB), { always: "whole" });
      const file = await openHttpFile(url, {
        name: "disk",
        onProgress: ({ loadedBytes, totalBytes, what }) => {
          expect(what).toBe("disk");
          told.push([loadedBytes, totalBytes]);
        },
      });
      expect(told.at(-1)).toEqual([MIB, MIB]);
      expect(file.ranged).toBe(false);
      expect(file.wholeBecause).toContain("range requests");
      await file.close();
    });

    test.each(["whole", "whole-unsized"] as const)(
      "refuses a large file from a server without ranges: %s",
      async (always) => {
        const url = await served(randomBytes(MIB), { always });
        const error = await expectError("RANGE_NOT_SUPPORTED", () =>
          openHttpFile(url, { maxDownloadBytes: MIB - 1 }),
        );
        expect(error.message).toContain("range requests");
      },
    );

    test("opens at the pinned identity, also when its ETag has turned weak", async () => {
      const url = await served(randomBytes(1000), { etag: `W/${ETAG}` });
      const file = await openHttpFile(url, { identity: { sizeBytes: 1000, etag: ETAG } });
      await file.close();
    });

    test.each([
      ["size", { sizeBytes: 999, etag: ETAG }],
      ["ETag", { sizeBytes: 1000, etag: '"other"', lastModified: DAY }],
      ["date", { sizeBytes: 1000, lastModified: "Sun, 04 Jan 2026 00:00:00 GMT" }],
    ])("refuses a file whose %s is not the pinned one", async (_what, identity) => {
      const error = await expectError("FILE_CHANGED", async () =>
        openHttpFile(await served(randomBytes(1000)), { identity }),
      );
      expect(error.data).toMatchObject({ pinnedSizeBytes: identity.sizeBytes, foundSizeBytes: 1000 });
      expect(error.data.foundEtag).toBe(ETAG);
    });

    test("refuses a file that changes while it is open", async () => {
      const { file, set } = await opened();
      await set({ etag: '"2"' });
      const error = await expectError("FILE_CHANGED", () => file.read(FAR, new Uint8Array(1)));
      expect(error.data).toMatchObject({ pinnedEtag: ETAG, foundEtag: '"2"' });
      await set({ etag: ETAG, claimedBytes: FAR });
      await expectError("FILE_CHANGED", () => file.read(FAR, new Uint8Array(1)));
      await file.close();
    });

    test.each([
      ["shifted", "RANGE_NOT_SUPPORTED"],
      ["whole", "RANGE_NOT_SUPPORTED"],
      // Chromium asks for `identity` with a range, and fails the fetch itself when it gets another encoding.
      ["gzip", place === "browser" ? "NETWORK" : "RANGE_NOT_SUPPORTED"],
      ["drop", "NETWORK"],
      ["short", "NETWORK"],
      [404, "NOT_FOUND"],
      [410, "NOT_FOUND"],
      [403, "HTTP_STATUS"],
      [503, "HTTP_STATUS"],
    ] as const)("an answer gone wrong (%s) is %s, and reading again goes on", async (fault, code) => {
      const { file, content, set } = await opened();
      await set({ faults: [fault] });
      const target = new Uint8Array(1000).fill(0xa5);
      const error = await expectError(code, () => file.read(FAR, target));
      expect(error.message).toContain(file.name);
      await file.read(FAR, target);
      expectSameBytes(target, content.subarray(FAR, FAR + 1000));
      await file.close();
    });

    test("a connection that goes quiet is lost", async () => {
      const { file, content, set } = await opened({ stallAfterMs: 1000 });
      await set({ faults: ["stall"] });
      const target = new Uint8Array(1000);
      await expectError("NETWORK", () => file.read(FAR, target));
      await file.read(FAR, target);
      expectSameBytes(target, content.subarray(FAR, FAR + 1000));
      await file.close();
    });

    test("a background that failed goes on after the next read", async () => {
      const content = randomBytes(6 * MIB);
      const url = await served(content);
      const file = await openHttpFile(url, { fetch: failing([1]) });
      await expect.poll(() => file.stats().httpRequests).toBe(2);
      const target = new Uint8Array(content.length);
      await file.read(5 * MIB, target.subarray(0, 100));
      await expect.poll(() => file.readNow(0, target)).toBe(true);
      expectSameBytes(target, content);
      await file.close();
    });

    test("a server that is not there is a NETWORK error that names both reasons", async () => {
      const error = await expectError("NETWORK", () => openHttpFile("http://127.0.0.1:9/disk.qcow2"));
      expect(error.message).toContain("http://127.0.0.1:9");
      expect(error.message).toContain("Access-Control-Allow-Origin");
    });

    test("404 says that there is no such file", async () => {
      const url = `${inject("httpTestServer")}/nothing`;
      expect((await expectError("NOT_FOUND", () => openHttpFile(url))).data.status).toBe(404);
    });

    test("can be cancelled while it opens and after", async () => {
      const url = await served(randomBytes(MIB));
      await expectError("CANCELLED", () => openHttpFile(url, { signal: AbortSignal.abort() }));
      const controller = new AbortController();
      const file = await openHttpFile(url, { signal: controller.signal, fetchWholeBelowBytes: 0 });
      await change(url, { faults: ["stall"] });
      const reading = expectError("CANCELLED", () => file.read(FAR, new Uint8Array(1)));
      await expect.poll(() => file.stats().httpRequests).toBe(2);
      controller.abort();
      await reading;
      await file.close();
    });

    test("closing ends what is under way", async () => {
      const { file, set } = await opened();
      await set({ faults: ["stall"] });
      const reading = expectError("CLOSED", () => file.read(FAR, new Uint8Array(1)));
      await expect.poll(() => file.stats().httpRequests).toBe(2);
      await file.close();
      await reading;
    });
  });

  if (place === "browser") testOtherOrigins();
}

function testOtherOrigins(): void {
  test("takes a file whole when the server hides Content-Range", async () => {
    const content = randomBytes(MIB);
    const file = await openHttpFile(await served(content, { always: "hidden" }));
    expect(file.sizeBytes).toBe(MIB);
    expect(file.wholeBecause).toContain("Access-Control-Expose-Headers");
    const target = new Uint8Array(MIB);
    expect(file.readNow(0, target)).toBe(true);
    expectSameBytes(target, content);
    await file.close();
  });

  test("names the header to expose when that file is too large", async () => {
    const url = await served(randomBytes(MIB), { always: "hidden" });
    const error = await expectError("RANGE_NOT_SUPPORTED", () => openHttpFile(url, { maxDownloadBytes: 1 }));
    expect(error.message).toContain("Content-Range");
    expect(error.message).toContain("Access-Control-Expose-Headers");
  });

  test("a server that forbids other origins is a NETWORK error that says how to allow them", async () => {
    const url = await served(randomBytes(1000), { always: "no-cors" });
    const error = await expectError("NETWORK", () => openHttpFile(url));
    expect(error.message).toContain("Access-Control-Allow-Origin");
  });
}

/** Beyond what opening brings in. */
const FAR = 768 * KIB;

const ETAG = '"1"';
const DAY = "Sat, 03 Jan 2026 00:00:00 GMT";

/** Puts a file on the test server; its address. */
export async function served(
  content: Uint8Array<ArrayBuffer>,
  settings: HttpFileSettings = {},
): Promise<string> {
  const url = `${inject("httpTestServer")}/${crypto.randomUUID()}`;
  await fetch(url, { method: "PUT", body: content });
  await change(url, { etag: ETAG, lastModified: DAY, ...settings });
  return url;
}

async function change(url: string, settings: HttpFileSettings): Promise<void> {
  await fetch(url, { method: "PATCH", body: JSON.stringify(settings) });
}

async function rangesAsked(url: string): Promise<string[]> {
  return (await fetch(`${url}/log`)).json();
}

/** A file of 1 MiB of which only the first chunk is there, and a way to set how its server behaves. */
async function opened(options: HttpFileOptions = {}): Promise<{
  file: HttpFile;
  content: Uint8Array;
  set: (settings: HttpFileSettings) => Promise<void>;
}> {
  const content = randomBytes(MIB);
  const url = await served(content);
  const file = await openHttpFile(url, { fetchWholeBelowBytes: 0, chunkBytes: 64 * KIB, ...options });
  return { file, content, set: (settings) => change(url, settings) };
}

/** A fetch whose calls of these numbers, counted from 0, fail as a lost connection does. */
function failing(numbers: number[]): typeof fetch {
  let call = 0;
  return async (input, init) => {
    if (numbers.includes(call++)) throw new TypeError("Failed to fetch");
    return fetch(input, init);
  };
}
