import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** Address of a relay of Ethernet frames that sends each one back. */
    echoRelay: string;
  }
}

/** RFC 6455, section 1.3. */
const KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BINARY = 0x82;
const CLOSE = 8;

/** Runs the relay for the length of a run, beside the tests, which are in a browser. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const sockets = new Set<Duplex>();
  const server = createServer();
  server.on("upgrade", (request, socket) => {
    const key = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}${KEY_SUFFIX}`)
      .digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
    );
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    echo(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("echoRelay", `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
}

/** Sends each message back; a message is one masked WebSocket frame of less than 64 KiB. */
function echo(socket: Duplex): void {
  let bytes = Buffer.alloc(0);
  socket.on("data", (piece: Buffer) => {
    bytes = Buffer.concat([bytes, piece]);
    while (bytes.length >= 2) {
      const short = (bytes[1] ?? 0) & 0x7f;
      const header = short === 126 ? 4 : 2;
      if (bytes.length < header) return;
      const length = short === 126 ? bytes.readUInt16BE(2) : short;
      const end = header + 4 + length;
      if (bytes.length < end) return;
      if (((bytes[0] ?? 0) & 15) === CLOSE) {
        socket.end();
        return;
      }
      const mask = bytes.subarray(header, header + 4);
      const message = bytes.subarray(header + 4, end).map((byte, i) => byte ^ (mask[i & 3] ?? 0));
      const long = length < 126 ? [length] : [126, length >> 8, length & 0xff];
      socket.write(Buffer.concat([Buffer.from([BINARY, ...long]), message]));
      bytes = bytes.subarray(end);
    }
  });
}
