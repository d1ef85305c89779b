import { expect, it } from "vitest";
import { type CreateQcow2Options, createMemoryFile, createQcow2 } from "../../disk/index.ts";
import { checkHost } from "./check-host.ts";
import { type ImagePrint, printOf } from "./image-print.ts";

const PAGE = "https://byre.example/";
const URL_OF_IMAGE = "https://images.example/notes.qcow2";
const IMAGE = await image({});

/** An image of 100,000 bytes. */
async function image(options: Partial<CreateQcow2Options>): Promise<Uint8Array<ArrayBuffer>> {
  const file = createMemoryFile();
  await createQcow2(file, { sizeBytes: 1024 * 1024, clusterSizeBytes: 4096, ...options });
  const bytes = new Uint8Array(100_000).fill(7);
  bytes.set(file.toBytes().subarray(0, bytes.length));
  return bytes;
}

/** The image with other bytes somewhere in its header. */
function changed(offset: number, ...values: number[]): Uint8Array<ArrayBuffer> {
  const bytes = IMAGE.slice();
  bytes.set(values, offset);
  return bytes;
}

const OVERLAY = await image({ backing: { name: "/home/me/base@1.qcow2", format: "qcow2" } });

type HeaderValues = Record<string, string | undefined>;

interface Vices {
  status?: number;
  ranges?: boolean;
  headers?: HeaderValues;
  /** What it answers to who asks for the whole file: these headers too, or nothing. */
  whole?: HeaderValues | "refused";
  bytes?: Uint8Array<ArrayBuffer>;
  cors?: boolean;
  /** The connection is lost after so many bytes. */
  cutAfter?: number;
  on?: boolean;
}

/** A server with the image, as a page of another origin sees it. */
function server({
  status,
  ranges = true,
  headers = {},
  whole = {},
  bytes = IMAGE,
  cors = true,
  cutAfter,
  on = true,
}: Vices) {
  return async (_url: unknown, init: RequestInit = {}) => {
    if (!on || (!cors && init.mode !== "no-cors")) throw new TypeError("Failed to fetch");
    if (status !== undefined) return new Response("no", { status });
    const asked = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init.headers).get("range") ?? "");
    const part = ranges && asked;
    if (!asked && whole === "refused") return new Response("no", { status: 403 });
    const start = part ? Number(part[1]) : 0;
    const end = part ? Math.min(Number(part[2]) + 1, bytes.length) : bytes.length;
    const shown: HeaderValues = {
      "content-length": String(end - start),
      etag: '"1"',
      ...(part && { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` }),
      ...headers,
      ...(!part && whole !== "refused" && whole),
    };
    const body = cutAfter === undefined ? bytes.slice(start, end) : cutStream(bytes.slice(start, cutAfter));
    return new Response(body, {
      status: part ? 206 : 200,
      headers: Object.entries(shown).flatMap(([name, value]) => (value ? [[name, value]] : [])) as [
        string,
        string,
      ][],
    });
  };
}

function cutStream(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  let given = false;
  return new ReadableStream({
    pull(controller) {
      if (given) controller.error(new TypeError("network error"));
      else controller.enqueue(bytes);
      given = true;
    },
  });
}

async function check(
  vices: Vices,
  { url = URL_OF_IMAGE, expected }: { url?: string; expected?: ImagePrint } = {},
) {
  const { signal } = new AbortController();
  return checkHost(url, { page: PAGE, signal, expected, fetch: server(vices) as typeof fetch });
}

const PRINT = { sizeBytes: IMAGE.length, beginning: await printOf(IMAGE) };

it("finds nothing wrong with a server that does all, and knows the file again", async () => {
  const { findings, works } = await check({}, { expected: PRINT });
  expect(works).toBe(true);
  expect(findings.map(({ level }) => level)).toEqual(["good", "good", "good", "good"]);
  expect(findings.at(-1)?.what).toBe("It is the file that was exported.");
});

const HIDDEN_RANGE = { "content-range": undefined };
const NO_LENGTH = { "content-length": undefined };

const BADLY: readonly [string, Vices, { url?: string; expected?: ImagePrint }, RegExp][] = [
  ["an address that is none", {}, { url: "notes.qcow2" }, /not an address/],
  ["a script", {}, { url: "javascript:alert(1)" }, /not an address/],
  ["a password", {}, { url: "https://me:x@images.example/a" }, /holds a name or password/],
  ["http under an https page", {}, { url: "http://images.example/a" }, /over https cannot read/],
  ["a server that is off", { on: false }, {}, /does not answer/],
  ["no CORS", { cors: false }, {}, /lets no other page read/],
  ["a line that is cut", { cutAfter: 1000 }, {}, /connection was lost/],
  ["no file", { status: 404 }, {}, /no file there/],
  ["a file that is not public", { status: 403 }, {}, /not hand the file to everybody/],
  ["a server in trouble", { status: 503 }, {}, /HTTP 503/],
  [
    "a page about the file",
    { bytes: new TextEncoder().encode("\n<!DOCTYPE html><p>Download") },
    {},
    /a web page/,
  ],
  ["another kind of file", { bytes: new Uint8Array(1000) }, {}, /no qcow2 image/],
  ["half of the file", { bytes: IMAGE.slice(0, 90_000) }, { expected: PRINT }, /the exported one has/],
  ["another image", {}, { expected: { ...PRINT, beginning: "00" } }, /another than the one/],
  ["a longer image", { bytes: new Uint8Array([...IMAGE, 1]) }, { expected: PRINT }, /another than the one/],
  [
    "all of a large file at once",
    { ranges: false, headers: { "content-length": "600000000" } },
    {},
    /only the whole file \(572 MiB\).*512 MiB is the most/,
  ],
  [
    "all of a file at once that was large when it was exported",
    { ranges: false, headers: NO_LENGTH },
    { expected: { ...PRINT, sizeBytes: 600_000_000 } },
    /only the whole file \(572 MiB\).*512 MiB is the most/,
  ],
  [
    "parts of a large file that nobody sees which they are",
    { headers: HIDDEN_RANGE, whole: { "content-length": "600000000" } },
    {},
    /all of it \(572 MiB\) is fetched.*512 MiB is the most/,
  ],
  [
    "such parts of a file that was large when it was exported",
    { headers: HIDDEN_RANGE, whole: NO_LENGTH },
    { expected: { ...PRINT, sizeBytes: 600_000_000 } },
    /all of it \(572 MiB\) is fetched.*512 MiB is the most/,
  ],
  ["parts of a packed file", { headers: { "content-encoding": "gzip" } }, {}, /Content-Encoding gzip/],
  ["an image of LUKS", { bytes: changed(35, 2) }, {}, /^notes\.qcow2 is encrypted with LUKS/],
  ["an image with a password", { bytes: changed(35, 1) }, {}, /needs a password/],
  ["an image with its data elsewhere", { bytes: changed(79, 4) }, {}, /keeps its data in an external file/],
  ["an image of tomorrow", { bytes: changed(74, 1) }, {}, /needs a feature that is not known here/],
  ["an image of yesterday", { bytes: changed(7, 1) }, {}, /versions 2 and 3 are read/],
  ["an image with a damaged header", { bytes: changed(23, 60) }, {}, /cluster_bits/],
  ["an image that was cut", { bytes: IMAGE.slice(0, 1000) }, {}, /file ends after 1000 bytes/],
  [
    "shorter parts than it is asked for",
    { headers: { "content-range": "bytes 0-1023/100000" } },
    {},
    /another part of the file/,
  ],
  [
    "hidden parts, and never the whole",
    { headers: HIDDEN_RANGE, whole: "refused" },
    {},
    /does not hand out the whole/,
  ],
  [
    "hidden parts of half of the file",
    { headers: HIDDEN_RANGE, bytes: IMAGE.slice(0, 90_000) },
    { expected: PRINT },
    /the exported one has/,
  ],
];

it.each(BADLY)("hands out no link for %s, and says how to mend it", async (_what, vices, how, words) => {
  const { findings, works } = await check(vices, how);
  expect(works).toBe(false);
  const bad = findings.find(({ level }) => level === "bad");
  expect(bad?.what).toMatch(words);
  expect(bad?.remedy).toBeTruthy();
});

const POORLY: readonly [string, Vices, { url?: string; expected?: ImagePrint }, RegExp][] = [
  ["a server without ranges", { ranges: false }, {}, /only the whole file \(98 KiB\)/],
  ["a hidden Content-Range", { headers: HIDDEN_RANGE }, {}, /does not show which part.*\(98 KiB\)/],
  ["an unknown length", { ranges: false, headers: NO_LENGTH }, {}, /only the whole file, which/],
  ["no version", { headers: { etag: undefined } }, {}, /does not show which version/],
  ["an overlay", { bytes: OVERLAY }, {}, /starts only with “base\.qcow2” beside it/],
  ["this computer", {}, { url: "http://127.0.0.1:8080/a" }, /Only this computer/],
];

it.each(POORLY)("warns of %s", async (_what, vices, how, words) => {
  const { findings, works } = await check(vices, how);
  expect(works).toBe(true);
  const poor = findings.filter(({ level }) => level === "poor");
  expect(poor).toHaveLength(1);
  expect(poor[0]?.what).toMatch(words);
  expect(poor[0]?.remedy).toBeTruthy();
});

/** A server that answers first with one set of headers, then with another. */
async function checkTwo(first: HeaderValues, second: HeaderValues) {
  let count = 0;
  const answer = (url: unknown, init: RequestInit) =>
    server({ headers: count++ === 0 ? first : second })(url, init);
  const { signal } = new AbortController();
  return checkHost(URL_OF_IMAGE, { page: PAGE, signal, fetch: answer as typeof fetch });
}

const MODIFIED = "Sat, 21 Nov 2026 10:00:00 GMT";
const LATER = "Sat, 21 Nov 2026 10:00:07 GMT";
const NO_ETAG = { etag: undefined };

it.each([
  ["another ETag", { etag: '"1"' }, { etag: '"2"' }],
  [
    "another Last-Modified and no ETag",
    { ...NO_ETAG, "last-modified": MODIFIED },
    { ...NO_ETAG, "last-modified": LATER },
  ],
])("finds that a server names another version each time: %s", async (_what, first, second) => {
  const { findings, works } = await checkTwo(first, second);
  expect(works).toBe(false);
  expect(findings.at(-1)?.what).toMatch(/another version of the file with each answer/);
});

it.each<[string, HeaderValues, HeaderValues]>([
  ["the same ETag from two copies of other ages", { "last-modified": MODIFIED }, { "last-modified": LATER }],
  ["an ETag that is weak at times", { etag: 'W/"abc"' }, { etag: '"abc"' }],
  ["Last-Modified in one answer alone", { "last-modified": MODIFIED }, {}],
])("takes for the same version what the page does: %s", async (_what, first, second) => {
  const { findings } = await checkTwo(first, second);
  expect(findings.every(({ level }) => level === "good")).toBe(true);
});

it("takes Last-Modified, which no server has to expose, for the version", async () => {
  const { findings } = await check({ headers: { ...NO_ETAG, "last-modified": MODIFIED } });
  expect(findings.every(({ level }) => level === "good")).toBe(true);
});

it("takes an image with clusters that are longer than what it looks at", async () => {
  const bytes = await image({ clusterSizeBytes: 2 * 1024 * 1024 });
  expect((await check({ bytes })).findings.map(({ level }) => level)).toEqual(["good", "good", "good"]);
});

it("ends when it is called off", async () => {
  const abort = new AbortController();
  abort.abort();
  const { signal } = abort;
  const checking = checkHost(URL_OF_IMAGE, {
    page: PAGE,
    signal,
    fetch: server({ on: false }) as typeof fetch,
  });
  await expect(checking).rejects.toThrow(/abort/);
});
