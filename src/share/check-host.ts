import { identityFrom, isSameIdentity, parseContentRange, wholeLength } from "../../disk/index.ts";
import { oneLine } from "../appliance/plain-text.ts";
import { formatBytes } from "../components/format.ts";
import { fileNameOf, plainName } from "../open/file-names.ts";
import { checkContent, checkImage, checkSame } from "./check-content.ts";
import type { Find, HostFinding } from "./host-finding.ts";
import { type ImagePrint, PRINT_BYTES } from "./image-print.ts";

export interface HostCheck {
  readonly findings: readonly HostFinding[];
  /** Whether a link to it would start the machine. */
  readonly works: boolean;
}

export interface HostCheckOptions {
  /** What the file should be; undefined where nobody knows. */
  readonly expected?: ImagePrint | undefined;
  /** Address of the page that links are opened with. */
  readonly page: string;
  readonly signal: AbortSignal;
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
}

/** Of a server that knows no ranges the page takes the whole file into memory, up to this. */
const MAX_WHOLE_BYTES = 512 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

const EXPOSE = "Access-Control-Expose-Headers: Content-Range, ETag";

/**
 * Tries what a machine will need of a server: that it answers, lets this page read, answers ranges, says which file it
 * is, and has the right one.
 *
 * @param address as a person typed it.
 * @throws what the signal was aborted with; anything else is a finding.
 */
export async function checkHost(address: string, options: HostCheckOptions): Promise<HostCheck> {
  const findings: HostFinding[] = [];
  const find = (level: HostFinding["level"], what: string, remedy?: string) => {
    findings.push({ level, what, ...(remedy !== undefined && { remedy }) });
  };
  await look(address, options, find);
  return { findings, works: findings.every(({ level }) => level !== "bad") };
}

async function look(address: string, options: HostCheckOptions, find: Find): Promise<void> {
  const { page, expected } = options;
  const url = checkAddress(address, page, find);
  if (!url) return;
  const first = await ask(url, 0, options);
  if (first.kind !== "answer") return findSilence(url, first.kind, find);
  const { response } = first;
  if (!response.ok) return findStatus(url, response, find);
  find("good", `${url.host} has the file and lets other pages read it.`);

  const beginning = await readBeginning(response).catch(() => undefined);
  options.signal.throwIfAborted();
  if (!beginning) {
    find(
      "bad",
      "The connection was lost in the middle of the file's beginning.",
      "Try again, or use another server.",
    );
    return;
  }
  const handing = await checkRanges(url, response, options, find);
  if (!handing) return;
  const { sizeBytes, ranged } = handing;
  checkIdentity(response, find);
  if (!checkContent(beginning, find)) return;
  if (expected) await checkSame(beginning, sizeBytes, expected, find);
  else checkImage(beginning, plainName(fileNameOf(url.href)), find);
  if (ranged && sizeBytes !== undefined) await checkAgain(url, sizeBytes, response, options, find);
}

/** The address itself, before anything is asked. */
function checkAddress(address: string, page: string, find: Find): URL | undefined {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    find(
      "bad",
      "This is not an address of the web.",
      "It begins with https:// and leads to the file itself.",
    );
    return undefined;
  }
  if (url.username || url.password) {
    find(
      "bad",
      "The address holds a name or password.",
      "Everybody with the link would have it. Use one without.",
    );
    return undefined;
  }
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (new URL(page).protocol === "https:" && url.protocol === "http:" && !isLocal) {
    find(
      "bad",
      "A page that comes over https cannot read a file over http.",
      "Use the file's https address.",
    );
    return undefined;
  }
  if (isLocal)
    find("poor", `Only this computer can reach ${url.host}.`, "To share it, use a server on the web.");
  return url;
}

type Answer =
  | { readonly kind: "answer"; readonly response: Response }
  /** The server answers, but not to a page of another origin. */
  | { readonly kind: "hidden" }
  | { readonly kind: "silent" };

/** @param startBytes of the part that is asked for; undefined: the whole file. */
async function ask(url: URL, startBytes: number | undefined, options: HostCheckOptions): Promise<Answer> {
  const { signal, fetch: ask = fetch } = options;
  const init = {
    cache: "no-store",
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  } as const;
  const headers: HeadersInit =
    startBytes === undefined ? {} : { Range: `bytes=${startBytes}-${startBytes + PRINT_BYTES - 1}` };
  try {
    return { kind: "answer", response: await ask(url.href, { ...init, headers }) };
  } catch {
    signal.throwIfAborted();
  }
  try {
    // Says nothing of what the answer is, but that there is one.
    const response = await ask(url.href, { ...init, mode: "no-cors", method: "HEAD" });
    await response.body?.cancel();
    return { kind: "hidden" };
  } catch {
    signal.throwIfAborted();
    return { kind: "silent" };
  }
}

function findSilence(url: URL, kind: "hidden" | "silent", find: Find): void {
  if (kind === "silent")
    find("bad", `${url.host} does not answer.`, "Check the address, and whether the server is on.");
  else
    find(
      "bad",
      `${url.host} answers, but lets no other page read the file.`,
      `Have it send the header Access-Control-Allow-Origin: * and ${EXPOSE} with the file.`,
    );
}

function findStatus(url: URL, { status }: Response, find: Find): void {
  if (status === 404 || status === 410)
    find(
      "bad",
      `${url.host} has no file there (HTTP ${status}).`,
      "Check the address; capital letters count.",
    );
  else if (status === 401 || status === 403)
    find("bad", `${url.host} does not hand the file to everybody (HTTP ${status}).`, "Make the file public.");
  else find("bad", `${url.host} answers HTTP ${status}.`, "Check the address, or try again later.");
}

interface Handing {
  /** Of the file, where the server shows it. */
  readonly sizeBytes: number | undefined;
  /** It is read by parts; else it is fetched whole. */
  readonly ranged: boolean;
}

/** @returns undefined when it hands out nothing that can be used. */
async function checkRanges(
  url: URL,
  response: Response,
  options: HostCheckOptions,
  find: Find,
): Promise<Handing | undefined> {
  const { status, headers } = response;
  const range = parseContentRange(headers.get("content-range"));
  if (status === 206 && range) {
    if (range.startBytes !== 0 || range.endBytes !== Math.min(PRINT_BYTES, range.totalBytes)) {
      find(
        "bad",
        "It hands out another part of the file than the one that is asked for.",
        "Use a server that answers range requests as asked; most do.",
      );
      return undefined;
    }
    const encoding = headers.get("content-encoding") ?? "identity";
    if (encoding !== "identity") {
      find(
        "bad",
        `It packs what it hands out (Content-Encoding ${oneLine(encoding, 80)}), and parts of that are no parts of the file.`,
        "Turn compression off for the file on the server.",
      );
      return undefined;
    }
    find("good", "It hands out parts of the file, so a machine starts without all of it.");
    return { sizeBytes: range.totalBytes, ranged: true };
  }
  // Of a part, Content-Length is not the file's.
  const whole = status === 206 ? await askWhole(url, options) : headers;
  if (!whole) {
    find(
      "bad",
      "It does not show which part of the file it hands out, and does not hand out the whole of it.",
      `Have it send the header ${EXPOSE} with the file.`,
    );
    return undefined;
  }
  const sizeBytes = wholeLength(whole);
  const fetchedBytes = sizeBytes ?? options.expected?.sizeBytes;
  const tooLarge = (fetchedBytes ?? 0) > MAX_WHOLE_BYTES;
  const size = fetchedBytes === undefined ? "" : ` (${formatBytes(fetchedBytes)})`;
  const what =
    status === 206
      ? `It does not show which part of the file it hands out, so all of it${size} is fetched before a machine starts`
      : `It hands out only the whole file${size}, which is fetched before a machine starts`;
  find(
    tooLarge ? "bad" : "poor",
    tooLarge ? `${what}; ${formatBytes(MAX_WHOLE_BYTES)} is the most that can be.` : `${what}.`,
    status === 206
      ? `Have it send the header ${EXPOSE} with the file.`
      : `Use a server that answers range requests; most do. ${url.host} does not.`,
  );
  return { sizeBytes, ranged: false };
}

/** @returns what the server says of the whole file; undefined when it does not hand it out. */
async function askWhole(url: URL, options: HostCheckOptions): Promise<Headers | undefined> {
  const whole = await ask(url, undefined, options);
  if (whole.kind !== "answer") return undefined;
  await whole.response.body?.cancel();
  return whole.response.ok ? whole.response.headers : undefined;
}

function checkIdentity({ headers }: Response, find: Find): void {
  if (headers.get("etag") || headers.get("last-modified")) {
    find("good", "It says which version of the file it has, so no machine goes on over another one.");
    return;
  }
  find(
    "poor",
    "It does not show which version of the file it has: should the file change, machines notice only by its size.",
    `Have it send ETag or Last-Modified with the file, and the header ${EXPOSE}.`,
  );
}

/** The end of the file too, and whether it is the same file the second time. */
async function checkAgain(
  url: URL,
  sizeBytes: number,
  first: Response,
  options: HostCheckOptions,
  find: Find,
): Promise<void> {
  const startBytes = Math.max(0, sizeBytes - 512);
  const again = await ask(url, startBytes, options);
  const range = again.kind === "answer" ? again.response.headers.get("content-range") : null;
  if (again.kind !== "answer" || range !== `bytes ${startBytes}-${sizeBytes - 1}/${sizeBytes}`) {
    if (again.kind === "answer") await again.response.body?.cancel();
    find("bad", "It does not hand out the end of the file.", "Upload the file again, or use another server.");
    return;
  }
  await again.response.body?.cancel();
  // As the page itself holds each answer against the first.
  if (
    !isSameIdentity(identityFrom(first.headers, sizeBytes), identityFrom(again.response.headers, sizeBytes))
  )
    find(
      "bad",
      "It names another version of the file with each answer, so a machine would not go on.",
      "Use a server that sends the same ETag, or else the same Last-Modified, until the file changes.",
    );
}

async function readBeginning(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const beginning = new Uint8Array(PRINT_BYTES);
  const reader = response.body?.getReader();
  let length = 0;
  while (reader && length < PRINT_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    const piece = value.subarray(0, PRINT_BYTES - length);
    beginning.set(piece, length);
    length += piece.length;
  }
  // What a server without ranges sends besides is not wanted.
  await reader?.cancel();
  return beginning.subarray(0, length);
}
