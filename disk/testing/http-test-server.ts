import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";

/**
 * How one GET goes wrong, or differs.
 *
 * - `whole`: answers 200 with everything, as a server that knows no ranges
 * - `whole-unsized`: the same, chunked, with no Content-Length
 * - `drop`: promises everything, sends half of it and cuts the connection
 * - `stall`: sends half and nothing more
 * - `shifted`: a Content-Range one byte from what was asked
 * - `short`: a right Content-Range, with fewer bytes and a Content-Length that agrees with those
 * - `gzip`: a range with a Content-Encoding
 * - `hidden`: does not expose Content-Range nor ETag to other origins
 * - `no-cors`: sends no Access-Control-Allow-Origin
 * - a number: that HTTP status
 */
export type HttpFault =
  | "whole"
  | "whole-unsized"
  | "drop"
  | "stall"
  | "shifted"
  | "short"
  | "gzip"
  | "hidden"
  | "no-cors"
  | number;

/** What a test may set for one file; what it leaves out stays as it is. */
export interface HttpFileSettings {
  /** One for each coming GET, then the next; a GET with none left goes well. */
  faults?: HttpFault[];
  /** For every GET that has no fault of its own. */
  always?: HttpFault | null;
  /** Milliseconds before every answer. */
  latencyMs?: number;
  /** Size that headers claim, so that a test needs no such file. */
  claimedBytes?: number;
  etag?: string | null;
  lastModified?: string | null;
}

interface StoredFile extends HttpFileSettings {
  bytes: Buffer;
  /** Range header of each GET so far. */
  log: string[];
}

export interface HttpTestServer {
  origin: string;
  close(): Promise<void>;
}

/**
 * A server whose files misbehave on demand, spoken to over HTTP alone so that tests in a browser use it as
 * those under Node do:
 *
 * PUT /ID makes a file of the body; PATCH /ID changes its `HttpFileSettings` (JSON); GET /ID reads it;
 * GET /ID/log lists the Range headers it was asked with.
 */
export async function startHttpTestServer(): Promise<HttpTestServer> {
  const files = new Map<string, StoredFile>();
  const server = createServer((request, response) => {
    answer(files, request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { origin: `http://127.0.0.1:${port}`, close: () => closeServer(server) };
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

async function answer(
  files: Map<string, StoredFile>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [, id = "", part] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader("Access-Control-Allow-Methods", "GET, PUT, PATCH");
  response.setHeader("Access-Control-Allow-Headers", "Content-Type");
  const file = files.get(id);
  if (request.method === "OPTIONS") response.end();
  else if (request.method === "PUT") {
    files.set(id, { bytes: await body(request), log: [], etag: `"${id}"`, lastModified: DAY });
    response.end();
  } else if (!file) response.writeHead(404).end();
  else if (request.method === "PATCH") {
    Object.assign(file, JSON.parse((await body(request)).toString()));
    response.end();
  } else if (part === "log") response.end(JSON.stringify(file.log));
  else await serve(file, request, response);
}

const DAY = "Sat, 03 Jan 2026 00:00:00 GMT";

async function serve(file: StoredFile, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const range = request.headers.range;
  file.log.push(range ?? "");
  const fault = file.faults?.shift() ?? file.always ?? undefined;
  if (file.latencyMs) await new Promise((resolve) => setTimeout(resolve, file.latencyMs));
  if (fault === "no-cors") response.removeHeader("Access-Control-Allow-Origin");
  else if (fault !== "hidden")
    response.setHeader("Access-Control-Expose-Headers", "Content-Range, ETag, Content-Encoding");
  if (file.etag) response.setHeader("ETag", file.etag);
  if (file.lastModified) response.setHeader("Last-Modified", file.lastModified);

  const size = file.claimedBytes ?? file.bytes.length;
  if (typeof fault === "number") response.writeHead(fault).end("as asked");
  else if (!range || fault === "whole" || fault === "whole-unsized") sendWhole(response, file, fault, size);
  else sendRange(response, file, fault, size, range);
}

function sendWhole(
  response: ServerResponse,
  file: StoredFile,
  fault: HttpFault | undefined,
  size: number,
): void {
  if (fault !== "whole-unsized") response.setHeader("Content-Length", size);
  response.writeHead(200);
  if (fault === "drop") cutAfter(response, file.bytes.subarray(0, file.bytes.length / 2));
  else response.end(file.bytes);
}

function sendRange(
  response: ServerResponse,
  file: StoredFile,
  fault: HttpFault | undefined,
  size: number,
  range: string,
): void {
  const [, first = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
  const start = Number(first);
  if (start >= size) {
    response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
    return;
  }
  const end = Math.min(last === "" ? size - 1 : Number(last), size - 1);
  let bytes = file.bytes.subarray(start, end + 1);
  // A file that claims to be larger than it is reads zeros there.
  if (bytes.length < end + 1 - start)
    bytes = Buffer.concat([bytes, Buffer.alloc(end + 1 - start - bytes.length)]);
  const moved = fault === "shifted" ? 1 : 0;
  response.setHeader("Content-Range", `bytes ${start + moved}-${end + moved}/${size}`);
  if (fault === "gzip") {
    bytes = gzipSync(bytes);
    response.setHeader("Content-Encoding", "gzip");
  }
  if (fault === "short") bytes = bytes.subarray(0, bytes.length - 1);
  response.setHeader("Content-Length", bytes.length);
  response.writeHead(206);
  if (fault === "drop") cutAfter(response, bytes.subarray(0, bytes.length / 2));
  else if (fault === "stall") response.write(bytes.subarray(0, bytes.length / 2));
  else response.end(bytes);
}

function cutAfter(response: ServerResponse, bytes: Buffer): void {
  response.write(bytes, () => response.destroy());
}

async function body(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
