import type { V86LittleNetwork, V86TcpConnection } from "../v86-internals.ts";
import { createNameServer } from "./dns.ts";
import type { LinkEvents, NetworkLink } from "./network.ts";
import { openRelayConnection } from "./relay-connection.ts";

/** Wisp 1: packet types, the kind of stream, and why one is closed. */
const CONNECT = 1;
const DATA = 2;
const CONTINUE = 3;
const CLOSE = 4;
const TCP = 1;
const CLOSED_BY_CHOICE = 2;
const HEADER_BYTES = 5;

/** From here on the guest is told to wait, and from there on again to go on. */
const MAX_WAITING_BYTES = 256 * 1024;
const OPEN_WINDOW = 64_240;

/** What comes faster than the guest takes it waits in memory: a WebSocket cannot be told to wait. */
const MAX_UNTAKEN_BYTES = 64 * 1024 * 1024;

/**
 * Wisp has no word for "I have said all". A guest that has ended its side is left so long for an answer, from the last
 * byte of it on; then the stream is closed, for a server that waits for the end.
 */
const ANSWER_MS = 2000;

interface Stream {
  readonly connection: V86TcpConnection;
  /** Packets that the relay takes before its next word. */
  credit: number;
  waiting: Uint8Array<ArrayBuffer>[];
  waitingBytes: number;
  /** The guest has ended its side; what waits is still sent. */
  ending: boolean;
  /** Closes it when no more of an answer comes. */
  timer?: ReturnType<typeof setTimeout>;
}

/**
 * A relay of TCP connections. The guest is in a small network of v86's own (DHCP, ARP, TCP), of which each connection
 * becomes a stream of the relay, and each name is found by the relay.
 */
export function connectWispRelay(
  url: string,
  events: LinkEvents,
  fetchNetwork: V86LittleNetwork,
): NetworkLink {
  const prototype = Object.getPrototypeOf(fetchNetwork) as V86LittleNetwork;
  const names = createNameServer();
  const streams = new Map<number, Stream>();
  let lastStream = 0;
  /** Of a new stream; undefined until the relay has said it. */
  let firstCredit: number | undefined;

  const connection = openRelayConnection(url, events, {
    readyWhenOpen: false,
    onMessage(message) {
      if (message.length < HEADER_BYTES) return;
      const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
      const id = view.getUint32(1, true);
      const type = message[0];
      if (type === CONTINUE && message.length >= HEADER_BYTES + 4)
        takeCredit(id, view.getUint32(HEADER_BYTES, true));
      else if (type === DATA) takeData(id, message.slice(HEADER_BYTES));
      else if (type === CLOSE) endStream(id);
    },
    onEnd() {
      firstCredit = undefined;
      for (const id of [...streams.keys()]) endStream(id);
    },
  });

  function takeCredit(id: number, credit: number): void {
    if (id === 0) {
      firstCredit = credit;
      connection.ready();
      return;
    }
    const stream = streams.get(id);
    if (!stream) return;
    stream.credit = credit;
    drain(id, stream);
  }
  function takeData(id: number, bytes: Uint8Array<ArrayBuffer>): void {
    const stream = streams.get(id);
    if (!stream) return;
    stream.connection.write(bytes);
    awaitAnswer(id, stream);
    if (stream.connection.send_buffer.length <= MAX_UNTAKEN_BYTES) return;
    closeStream(id);
    stream.connection.close();
  }
  /** The relay has ended it. */
  function endStream(id: number): void {
    const stream = streams.get(id);
    if (!stream) return;
    remove(id, stream);
    stream.connection.close();
  }
  function closeStream(id: number): void {
    const stream = streams.get(id);
    if (!stream) return;
    remove(id, stream);
    connection.send(packet(CLOSE, id, [CLOSED_BY_CHOICE]));
  }
  function remove(id: number, { timer }: Stream): void {
    clearTimeout(timer);
    streams.delete(id);
  }
  function awaitAnswer(id: number, stream: Stream): void {
    if (!stream.ending || stream.waiting.length > 0) return;
    clearTimeout(stream.timer);
    stream.timer = setTimeout(() => {
      closeStream(id);
      stream.connection.close();
    }, ANSWER_MS);
  }
  function drain(id: number, stream: Stream): void {
    while (stream.credit > 0 && connection.hasRoom) {
      const bytes = stream.waiting.shift();
      if (!bytes) break;
      stream.waitingBytes -= bytes.length;
      stream.credit--;
      connection.send(packet(DATA, id, bytes));
    }
    stream.connection.winsize = stream.waitingBytes < MAX_WAITING_BYTES ? OPEN_WINDOW : 0;
    awaitAnswer(id, stream);
  }

  const little = Object.assign(Object.create(prototype) as V86LittleNetwork, {
    // v86's web server on port 80 listens there.
    bus: { pair: { send() {} }, send() {} },
    router_mac: fetchNetwork.router_mac,
    router_ip: fetchNetwork.router_ip,
    vm_ip: fetchNetwork.vm_ip,
    masquerade: true,
    dns_method: "static",
    eth_encoder_buf: fetchNetwork.eth_encoder_buf,
    tcp_conn: {},
    receive: (frame: Uint8Array) => events.receive(frame),
    on_tcp_connection(tcp: V86TcpConnection) {
      const host = names.hostOf(tcp.psrc);
      // v86 refuses what is not accepted.
      if (host === undefined || firstCredit === undefined) return;
      const id = ++lastStream;
      const stream: Stream = {
        connection: tcp,
        credit: firstCredit,
        waiting: [],
        waitingBytes: 0,
        ending: false,
      };
      streams.set(id, stream);
      tcp.on("data", (bytes) => {
        if (streams.get(id) !== stream || bytes.length === 0) return;
        // A view of the frame, and with it of the card's memory.
        stream.waiting.push(new Uint8Array(bytes));
        stream.waitingBytes += bytes.length;
        drain(id, stream);
      });
      tcp.on_shutdown = () => {
        stream.ending = true;
        drain(id, stream);
      };
      tcp.on_close = () => closeStream(id);
      connection.send(
        packet(CONNECT, id, [TCP, tcp.sport & 0xff, tcp.sport >> 8, ...new TextEncoder().encode(host)]),
      );
      tcp.accept();
    },
  });
  return {
    send(frame) {
      const answer = names.answer(frame);
      if (answer) events.receive(answer);
      else prototype.send.call(little, frame);
    },
    forget() {
      for (const id of [...streams.keys()]) closeStream(id);
      little.tcp_conn = {};
    },
    close: () => connection.close(),
  };
}

function packet(type: number, stream: number, payload: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, stream, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}
