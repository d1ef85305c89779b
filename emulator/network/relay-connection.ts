import type { LinkEvents } from "./network.ts";

/** Waits between tries: the first, and the longest. */
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

/** A relay that does not take what the guest sends is not waited for in memory without bound. */
const MAX_BUFFERED_BYTES = 4 * 1024 * 1024;

/** The largest message taken from a relay. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** What the protocol over the socket does. */
export interface RelayProtocol {
  /** Whether the relay can be used as soon as the socket is open. */
  readonly readyWhenOpen: boolean;
  onMessage(message: Uint8Array<ArrayBuffer>): void;
  /** The connection has ended; another may come. */
  onEnd(): void;
}

/** A WebSocket that is opened again when it has ended. */
export interface RelayConnection {
  /** Whether there is room to send without waiting in memory. */
  readonly hasRoom: boolean;
  /** Dropped when there is no connection. */
  send(message: Uint8Array<ArrayBuffer>): void;
  /** The relay has shown that it can be used. */
  ready(): void;
  close(): void;
}

export function openRelayConnection(
  url: string,
  { onState }: Pick<LinkEvents, "onState">,
  protocol: RelayProtocol,
): RelayConnection {
  let socket: WebSocket | undefined;
  let retryMs = FIRST_RETRY_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;
  const { host } = new URL(url);

  const failed = (why: string) => {
    if (closed) return;
    onState("failed", `${why} It is tried again by itself.`);
    timer = setTimeout(connect, retryMs);
    retryMs = Math.min(2 * retryMs, LAST_RETRY_MS);
  };
  function connect(): void {
    let opened = false;
    let current: WebSocket;
    try {
      current = new WebSocket(url);
    } catch {
      // From a secure page to a plain address, or where there are no WebSockets at all.
      failed(`The relay ${host} cannot be reached from this page.`);
      return;
    }
    socket = current;
    current.binaryType = "arraybuffer";
    current.onopen = () => {
      opened = true;
      if (protocol.readyWhenOpen) ready();
    };
    current.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (socket !== current || !(data instanceof ArrayBuffer) || data.byteLength > MAX_MESSAGE_BYTES) return;
      protocol.onMessage(new Uint8Array(data));
    };
    current.onclose = () => {
      if (socket !== current) return;
      socket = undefined;
      protocol.onEnd();
      failed(opened ? `The relay ${host} has ended the connection.` : `The relay ${host} does not answer.`);
    };
  }
  function ready(): void {
    retryMs = FIRST_RETRY_MS;
    onState("on");
  }
  onState("connecting");
  connect();
  return {
    get hasRoom() {
      return (
        socket !== undefined &&
        socket.readyState === WebSocket.OPEN &&
        socket.bufferedAmount < MAX_BUFFERED_BYTES
      );
    },
    send(message) {
      if (socket?.readyState === WebSocket.OPEN) socket.send(message);
    },
    ready,
    close() {
      closed = true;
      clearTimeout(timer);
      const last = socket;
      socket = undefined;
      last?.close();
      protocol.onEnd();
    },
  };
}
