import { ByreError } from "../errors.ts";
import { checkIdentity, type FileIdentity, identityFrom } from "./http-identity.ts";
import { type HttpExchange, type HttpSource, originOf, request } from "./http-request.ts";

/** What a Content-Range header says; the end is exclusive. */
export interface ContentRange {
  startBytes: number;
  endBytes: number;
  totalBytes: number;
}

/** @returns undefined for a header that is not there, not a byte range, or has no total. */
export function parseContentRange(header: string | null): ContentRange | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header?.trim() ?? "");
  if (!match) return undefined;
  const [startBytes = 0, lastByte = 0, totalBytes = 0] = match.slice(1).map(Number);
  const ok = [startBytes, lastByte, totalBytes].every(Number.isSafeInteger);
  return ok && startBytes <= lastByte && lastByte < totalBytes
    ? { startBytes, endBytes: lastByte + 1, totalBytes }
    : undefined;
}

/**
 * Fetches bytes `startBytes` to `endBytes` (exclusive) of the file that `pinned` is, and no other.
 *
 * @param take gets the bytes in order; what it got of a range that then failed is still right
 * @throws ByreError FILE_CHANGED; RANGE_NOT_SUPPORTED for an answer that is not what was asked; NETWORK,
 *   also for a body that ends early; HTTP_STATUS, NOT_FOUND.
 */
export async function fetchRange(
  source: HttpSource,
  pinned: FileIdentity,
  range: { startBytes: number; endBytes: number },
  priority: "auto" | "low",
  take: (piece: Uint8Array) => void,
): Promise<void> {
  const exchange = await request(source, range, priority);
  try {
    checkAnswer(source, pinned, range, exchange.response);
  } catch (error) {
    exchange.cancel();
    throw error;
  }
  await readExactly(source, exchange, range.endBytes - range.startBytes, take);
}

/** Reads a body that must have `lengthBytes`. */
export async function readExactly(
  source: HttpSource,
  exchange: HttpExchange,
  lengthBytes: number,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  let received = 0;
  await exchange.readBody((piece) => {
    received += piece.length;
    if (received > lengthBytes) throw wrongLength(source, lengthBytes, received);
    take(piece);
  });
  if (received !== lengthBytes) throw wrongLength(source, lengthBytes, received);
}

function checkAnswer(
  source: HttpSource,
  pinned: FileIdentity,
  range: { startBytes: number; endBytes: number },
  { status, headers }: Response,
): void {
  const answered = parseContentRange(headers.get("content-range"));
  if (status === 416) {
    const total = /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1];
    const sizeBytes = total === undefined ? range.startBytes : Number(total);
    checkIdentity(source.name, pinned, identityFrom(headers, sizeBytes));
  }
  const sizeBytes = answered?.totalBytes ?? (status === 200 ? wholeLength(headers) : undefined);
  checkIdentity(source.name, pinned, identityFrom(headers, sizeBytes ?? pinned.sizeBytes));
  checkEncoding(source, headers);
  if (status === 206 && answered?.startBytes === range.startBytes && answered.endBytes === range.endBytes)
    return;
  const asked = `bytes ${range.startBytes}-${range.endBytes - 1}`;
  const got = headers.get("content-range") ?? "no Content-Range";
  throw new ByreError(
    "RANGE_NOT_SUPPORTED",
    `${source.name}: ${originOf(source.url)} was asked for ${asked} and answered HTTP ${status} with ${got}. ` +
      "Put the file on a server that answers range requests as asked.",
    { file: source.name, url: source.url, status, asked, answered: got },
  );
}

/** Ranges of a compressed body are not ranges of the file. */
export function checkEncoding(source: HttpSource, headers: Headers): void {
  const encoding = headers.get("content-encoding");
  if (!encoding || encoding === "identity") return;
  throw new ByreError(
    "RANGE_NOT_SUPPORTED",
    `${source.name}: ${originOf(source.url)} answers ranges with Content-Encoding ${encoding}, and those are ` +
      "not bytes of the file. Turn compression off for it on the server.",
    { file: source.name, url: source.url, encoding },
  );
}

/** Length of the whole file by a 200 response's headers; a compressed length says nothing of it. */
export function wholeLength(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  if (length === null || !/^\d+$/.test(length) || headers.has("content-encoding")) return undefined;
  return Number(length);
}

function wrongLength(source: HttpSource, wantedBytes: number, receivedBytes: number): ByreError {
  return new ByreError(
    "NETWORK",
    `${source.name}: ${originOf(source.url)} sent ${receivedBytes} bytes where ${wantedBytes} were due. Try again.`,
    { file: source.name, url: source.url, wantedBytes, receivedBytes },
  );
}
