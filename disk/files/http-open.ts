import { ByreError } from "../errors.ts";
import { ChunkAssembler } from "./chunk-assembler.ts";
import { checkIdentity, type FileIdentity, identityFrom } from "./http-identity.ts";
import { checkEncoding, parseContentRange, readExactly, wholeLength } from "./http-range.ts";
import { type HttpExchange, type HttpSource, originOf, request } from "./http-request.ts";

export interface OpenHttpOptions {
  chunkBytes: number;
  maxDownloadBytes: number;
  identity: FileIdentity | undefined;
  /** Hears of every piece: what is there so far, of how much, and the piece. */
  received: (loadedBytes: number, totalBytes: number | undefined, pieceBytes: number) => void;
}

/** What the first exchange with a server brought. */
export interface HttpOpening {
  identity: FileIdentity;
  /** The first chunk, or all of them when the file was taken whole. */
  chunks: Uint8Array[];
  /** Why it was taken whole; undefined when it can be read by ranges. */
  wholeBecause: string | undefined;
}

/** Asks for the first chunk; the answer says all that is known of the file. */
export async function openHttp(source: HttpSource, options: OpenHttpOptions): Promise<HttpOpening> {
  const exchange = await request(source, { startBytes: 0, endBytes: options.chunkBytes });
  try {
    const { status, headers } = exchange.response;
    if (status === 200)
      return await takeWhole(source, exchange, options, "the server does not answer range requests");
    if (status === 416 && headers.get("content-range") === "bytes */0") {
      exchange.cancel();
      return openedEmpty(source, headers, options);
    }
    const range = parseContentRange(headers.get("content-range"));
    if (!range) {
      exchange.cancel();
      return await openWithoutContentRange(source, options);
    }
    checkEncoding(source, headers);
    const identity = identityFrom(headers, range.totalBytes);
    if (options.identity) checkIdentity(source.name, options.identity, identity);
    const lengthBytes = Math.min(options.chunkBytes, range.totalBytes);
    if (status !== 206 || range.startBytes !== 0 || range.endBytes !== lengthBytes)
      throw unasked(source, lengthBytes, headers.get("content-range"));
    const assembler = new ChunkAssembler(options.chunkBytes);
    await readExactly(source, exchange, lengthBytes, (piece) => {
      assembler.take(piece);
      options.received(assembler.lengthBytes, range.totalBytes, piece.length);
    });
    return { identity, chunks: assembler.finish(), wholeBecause: undefined };
  } catch (error) {
    exchange.cancel();
    throw error;
  }
}

function openedEmpty(source: HttpSource, headers: Headers, options: OpenHttpOptions): HttpOpening {
  const identity = identityFrom(headers, 0);
  if (options.identity) checkIdentity(source.name, options.identity, identity);
  return { identity, chunks: [], wholeBecause: undefined };
}

/**
 * A range was answered, but its Content-Range cannot be seen: to another origin a server shows that header
 * only by naming it in Access-Control-Expose-Headers. The whole can be had without it.
 */
async function openWithoutContentRange(source: HttpSource, options: OpenHttpOptions): Promise<HttpOpening> {
  const why =
    "the server does not show Content-Range to this page (it must name Content-Range and ETag in " +
    "Access-Control-Expose-Headers)";
  const exchange = await request(source, undefined);
  try {
    return await takeWhole(source, exchange, options, why);
  } catch (error) {
    exchange.cancel();
    throw error;
  }
}

async function takeWhole(
  source: HttpSource,
  exchange: HttpExchange,
  options: OpenHttpOptions,
  why: string,
): Promise<HttpOpening> {
  const { headers } = exchange.response;
  const totalBytes = wholeLength(headers);
  // Before the body: nobody waits for a download that is then refused.
  if (totalBytes !== undefined) {
    if (totalBytes > options.maxDownloadBytes)
      throw tooLarge(source, totalBytes, options.maxDownloadBytes, why);
    if (options.identity) checkIdentity(source.name, options.identity, identityFrom(headers, totalBytes));
  }
  const assembler = new ChunkAssembler(options.chunkBytes);
  const take = (piece: Uint8Array) => {
    assembler.take(piece);
    if (assembler.lengthBytes > options.maxDownloadBytes)
      throw tooLarge(source, totalBytes, options.maxDownloadBytes, why);
    options.received(assembler.lengthBytes, totalBytes, piece.length);
  };
  if (totalBytes === undefined) await exchange.readBody(take);
  else await readExactly(source, exchange, totalBytes, take);
  const identity = identityFrom(headers, assembler.lengthBytes);
  if (options.identity) checkIdentity(source.name, options.identity, identity);
  return { identity, chunks: assembler.finish(), wholeBecause: why };
}

function tooLarge(
  source: HttpSource,
  sizeBytes: number | undefined,
  limitBytes: number,
  why: string,
): ByreError {
  const size = sizeBytes === undefined ? "larger than" : `${sizeBytes} bytes, more than`;
  return new ByreError(
    "RANGE_NOT_SUPPORTED",
    `${source.name}: ${why}, and at ${originOf(source.url)} it is ${size} the ${limitBytes} bytes that can be ` +
      "taken whole. Put it on a server that answers range requests, or download it and drop it on the page.",
    { file: source.name, url: source.url, sizeBytes, limitBytes },
  );
}

function unasked(source: HttpSource, lengthBytes: number, got: string | null): ByreError {
  const asked = `bytes 0-${lengthBytes - 1}`;
  return new ByreError(
    "RANGE_NOT_SUPPORTED",
    `${source.name}: ${originOf(source.url)} was asked for ${asked} and answered with ${got}. Put the file on ` +
      "a server that answers range requests as asked.",
    { file: source.name, url: source.url, asked, answered: got ?? "" },
  );
}
