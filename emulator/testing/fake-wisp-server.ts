import type { RelayEnd } from "./fake-relay.ts";

/** Wisp 1 packets. */
const CONNECT = 1;
const DATA = 2;
const CONTINUE = 3;
const CLOSE = 4;

/** One TCP connection that a guest has made. */
export interface WispStream {
  readonly host: string;
  readonly port: number;
  /** Called with what the guest sends. */
  onData: (bytes: Uint8Array) => void;
  /** Called when the guest's side has ended. */
  onClose: () => void;
  send(bytes: Uint8Array): void;
  close(): void;
}

/**
 * The server's side of Wisp 1 over a connection.
 *
 * @param credit packets it takes before it says that it takes more.
 */
export function serveWisp(end: RelayEnd, credit: number, onStream: (stream: WispStream) => void): void {
  const streams = new Map<number, { readonly stream: WispStream; taken: number }>();
  const say = (type: number, id: number, payload: ArrayLike<number>) => {
    const bytes = new Uint8Array(5 + payload.length);
    bytes[0] = type;
    new DataView(bytes.buffer).setUint32(1, id, true);
    bytes.set(payload, 5);
    end.send(bytes);
  };
  const more = (id: number) => say(CONTINUE, id, new Uint8Array(Uint32Array.of(credit).buffer));
  end.onMessage = (message) => {
    const id = new DataView(message.buffer, message.byteOffset).getUint32(1, true);
    const payload = message.subarray(5);
    const known = streams.get(id);
    if (message[0] === CONNECT) {
      const stream: WispStream = {
        host: new TextDecoder().decode(payload.subarray(3)),
        port: (payload[1] ?? 0) | ((payload[2] ?? 0) << 8),
        onData: () => {},
        onClose: () => {},
        send: (bytes) => say(DATA, id, bytes),
        close: () => say(CLOSE, id, [2]),
      };
      streams.set(id, { stream, taken: 0 });
      onStream(stream);
    } else if (message[0] === DATA && known) {
      if (++known.taken > credit) throw new Error(`Stream ${id} sent more than it was allowed to.`);
      known.stream.onData(payload);
      if (known.taken < credit) return;
      known.taken = 0;
      more(id);
    } else if (message[0] === CLOSE && known) {
      streams.delete(id);
      known.stream.onClose();
    }
  };
  setImmediate(() => more(0));
}
