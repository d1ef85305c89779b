import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ServedFile {
  bytes: Buffer;
  etag?: string;
  /** Default: the bytes' own length. A server may lie. */
  claimedBytes?: number;
}

/** A server of images whose every vice can be switched on, and that can go away and come back. */
export interface ImageServer {
  readonly origin: string;
  readonly files: Map<string, ServedFile>;
  /** Paths asked for, in order. */
  readonly requests: string[];
  /** Ranges asked for, in order; empty for a request without one. */
  readonly rangesAsked: string[];
  /** Whether ranges are answered. */
  ranges: boolean;
  /** Whether pages of other origins may read. */
  cors: boolean;
  url(path: string): string;
  stop(): Promise<void>;
  /** On the port it had. */
  start(): Promise<void>;
}

export async function startImageServer(files: Record<string, Buffer>): Promise<ImageServer> {
  const served = new Map<string, ServedFile>(
    Object.entries(files).map(([path, bytes]) => [path, { bytes, etag: '"1"' }]),
  );
  let node: Server | undefined;
  let port = 0;
  const server: ImageServer = {
    get origin() {
      return `http://127.0.0.1:${port}`;
    },
    files: served,
    requests: [],
    rangesAsked: [],
    ranges: true,
    cors: true,
    url: (path) => `http://127.0.0.1:${port}/${path}`,
    async stop() {
      node?.closeAllConnections();
      await new Promise((done) => node?.close(done));
    },
    async start() {
      node = createServer((request, response) => answer(server, request, response));
      await new Promise<void>((done, fail) => {
        node?.once("error", fail);
        node?.listen(port, "127.0.0.1", done);
      });
      port = (node.address() as AddressInfo).port;
    },
  };
  await server.start();
  return server;
}

function answer(server: ImageServer, request: IncomingMessage, response: ServerResponse): void {
  const path = (request.url ?? "/").slice(1);
  server.requests.push(path);
  server.rangesAsked.push(request.headers.range ?? "");
  if (server.cors) {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Headers", "Range");
    response.setHeader("Access-Control-Expose-Headers", "Content-Range, ETag, Content-Length");
  }
  const file = server.files.get(path);
  if (!file) {
    response.writeHead(404).end("no such image");
    return;
  }
  if (request.method === "OPTIONS") {
    response.writeHead(204).end();
    return;
  }
  const { bytes, etag, claimedBytes = bytes.length } = file;
  if (etag) response.setHeader("ETag", etag);
  const range = server.ranges ? /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") : null;
  if (!range) {
    response.writeHead(200, { "Content-Length": claimedBytes });
    response.end(bytes);
    return;
  }
  const start = Number(range[1]);
  const end = Math.min(Number(range[2]), claimedBytes - 1);
  response.writeHead(206, {
    "Content-Length": end - start + 1,
    "Content-Range": `bytes ${start}-${end}/${claimedBytes}`,
  });
  response.end(bytes.subarray(start, end + 1));
}
