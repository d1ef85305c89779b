// @ts-check
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * A small static server with what disk images need: ranges, and an identity (ETag, Last-Modified) that
 * changes with the file. For this machine only; any static host that does the same serves Byre as well.
 */

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".wasm": "application/wasm",
  ".woff2": "font/woff2",
  ".LESSER": "text/plain; charset=utf-8",
};

/**
 * @param {{ root: string, port: number, host?: string, latencyMs?: number }} options
 *   port 0 takes any free one; latencyMs is added before every answer, to measure with.
 * @returns {Promise<{ origin: string, port: number, close(): Promise<void> }>}
 * @throws the listen error, EADDRINUSE when the port is taken.
 */
export async function serveStatic({ root, port, host = "127.0.0.1", latencyMs = 0 }) {
  const folder = resolve(root);
  const server = createServer((request, response) => {
    const serve = () =>
      answer(folder, request, response).catch((error) => {
        console.error(`${request.method} ${request.url}: ${error.message}`);
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    if (latencyMs > 0) setTimeout(() => void serve(), latencyMs);
    else void serve();
  });
  await new Promise((done, fail) => {
    server.once("error", fail);
    server.listen(port, host, () => done(undefined));
  });
  const address = server.address();
  const actualPort = typeof address === "object" && address ? address.port : port;
  return {
    origin: `http://${host}:${actualPort}`,
    port: actualPort,
    close() {
      server.closeAllConnections();
      return new Promise((done) => server.close(() => done(undefined)));
    },
  };
}

/**
 * @param {string} folder
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function answer(folder, request, response) {
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader("Access-Control-Expose-Headers", "Content-Range, Content-Length, ETag, Last-Modified");
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { Allow: "GET, HEAD" }).end();
    return;
  }
  const path = filePath(folder, request.url ?? "/");
  const info = path === undefined ? undefined : await stat(path).catch(() => undefined);
  if (path === undefined || !info?.isFile()) {
    response.writeHead(404, { "Content-Type": "text/plain" }).end("Not found\n");
    return;
  }
  const etag = `"${info.size.toString(36)}-${Math.floor(info.mtimeMs).toString(36)}"`;
  response.setHeader("ETag", etag);
  response.setHeader("Last-Modified", info.mtime.toUTCString());
  response.setHeader("Accept-Ranges", "bytes");
  response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
  // Hashed names never change; anything else is asked for again.
  const immutable = /-[\w-]{8,}\.(js|css|woff2)$/.test(path);
  response.setHeader("Cache-Control", immutable ? "public, max-age=31536000, immutable" : "no-cache");

  const range = parseRange(request.headers.range, info.size);
  if (range === "unsatisfiable") {
    response.writeHead(416, { "Content-Range": `bytes */${info.size}` }).end();
    return;
  }
  if (!range && request.headers["if-none-match"] === etag) {
    response.writeHead(304).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: info.size - 1 };
  response.setHeader("Content-Length", end - start + 1);
  if (range) response.setHeader("Content-Range", `bytes ${start}-${end}/${info.size}`);
  response.writeHead(range ? 206 : 200);
  if (request.method === "HEAD" || info.size === 0) {
    response.end();
    return;
  }
  const stream = createReadStream(path, { start, end });
  response.on("close", () => stream.destroy());
  stream.on("error", () => response.destroy());
  stream.pipe(response);
}

/**
 * @param {string} folder
 * @param {string} url
 * @returns {string | undefined} undefined for what is not below the folder.
 */
function filePath(folder, url) {
  let path;
  try {
    path = decodeURIComponent(new URL(url, "http://localhost").pathname);
  } catch {
    return undefined;
  }
  if (path.includes("\0")) return undefined;
  const full = resolve(join(folder, path.endsWith("/") ? `${path}index.html` : path));
  return full.startsWith(folder + sep) ? full : undefined;
}

/**
 * @param {string | undefined} header
 * @param {number} size
 * @returns {{ start: number, end: number } | "unsatisfiable" | undefined} undefined: answer with everything.
 */
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const [, first = "", last = ""] = match;
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
  return start >= size || start > end ? "unsatisfiable" : { start, end };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { origin } = await serveStatic({
    root: process.argv[2] ?? "dist",
    port: Number(process.env.PORT ?? 5173),
  });
  console.log(origin);
}
