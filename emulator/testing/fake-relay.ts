/** The relay's end of a connection. */
export interface RelayEnd {
  readonly url: string;
  /** Called with what the machine sends. */
  onMessage: (message: Uint8Array) => void;
  send(message: Uint8Array<ArrayBuffer> | string): void;
  close(): void;
}

/** Relays in this process: Node has no WebSockets of its own. */
export interface FakeRelays {
  /** To take the place of the global. */
  readonly WebSocket: typeof WebSocket;
  /** How often a connection was asked for. */
  readonly tries: number;
}

/** @param accept what a relay does with a connection; it refuses with false. */
export function createFakeRelays(accept: (end: RelayEnd) => boolean): FakeRelays {
  let tries = 0;
  class FakeWebSocket {
    static readonly OPEN = 1;
    readyState = 0;
    readonly bufferedAmount = 0;
    binaryType = "blob";
    onopen: (() => void) | undefined;
    onmessage: ((event: { data: unknown }) => void) | undefined;
    onclose: (() => void) | undefined;
    private readonly end: RelayEnd;

    constructor(url: string) {
      tries++;
      this.end = {
        url,
        onMessage: () => {},
        send: (message) => {
          const data = typeof message === "string" ? message : message.slice().buffer;
          if (this.readyState === 1) this.onmessage?.({ data });
        },
        close: () => this.drop(),
      };
      // As a socket does: never in the call that makes it.
      setImmediate(() => {
        if (this.readyState !== 0) return;
        this.readyState = 1;
        if (!accept(this.end)) {
          this.drop();
          return;
        }
        this.onopen?.();
      });
    }

    send(message: Uint8Array): void {
      const copy = message.slice();
      setImmediate(() => this.end.onMessage(copy));
    }

    close(): void {
      setImmediate(() => this.drop());
    }

    private drop(): void {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.onclose?.();
    }
  }
  return {
    WebSocket: FakeWebSocket as unknown as typeof WebSocket,
    get tries() {
      return tries;
    },
  };
}

/** A wire between all connections: what one sends all others hear. */
export function createHub(): (end: RelayEnd) => boolean {
  const ends: RelayEnd[] = [];
  return (end) => {
    ends.push(end);
    end.onMessage = (message) => {
      for (const other of ends) if (other !== end) other.send(new Uint8Array(message));
    };
    return true;
  };
}
