import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createFakeRelays, type RelayEnd } from "../testing/fake-relay.ts";
import type { V86Emulator, V86LittleNetwork } from "../v86-internals.ts";
import { createNetwork, type Network } from "./network.ts";

const ETHERNET = { kind: "relay", url: "wss://relay.example/" } as const;
const WISP = { kind: "relay", url: "wisps://relay.example/" } as const;

/** An emulator of which only the network card is there. */
function fakeCard() {
  const received: Uint8Array[] = [];
  const started: (() => void)[] = [];
  const card = { running: true };
  const adapter: V86LittleNetwork = Object.assign(Object.create({ send() {} }), {
    bus: { send: (_: string, frame: Uint8Array) => received.push(frame) },
    router_mac: new Uint8Array(6),
    router_ip: new Uint8Array(4),
    vm_ip: new Uint8Array(4),
    eth_encoder_buf: {},
    tcp_conn: {},
  });
  const emulator = {
    network_adapter: adapter,
    is_running: () => card.running,
    add_listener: (_: string, listener: () => void) => started.push(listener),
  } as unknown as V86Emulator;
  return {
    emulator,
    received,
    pause: () => {
      card.running = false;
    },
    run: () => {
      card.running = true;
      for (const listener of started) listener();
    },
    /** What the guest's driver would send. */
    send: (frame: Uint8Array) => adapter.send(frame),
  };
}

let ends: RelayEnd[];
let answers: boolean;
let relays: ReturnType<typeof createFakeRelays>;
let network: Network;

beforeEach(() => {
  ends = [];
  answers = true;
  relays = createFakeRelays((end) => {
    if (answers) ends.push(end);
    return answers;
  });
  vi.stubGlobal("WebSocket", relays.WebSocket);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  network.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function reached(state: Network["state"]): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (network.state === state) resolve();
    };
    network.onChange(look);
    look();
  });
}

function turns(count = 5): Promise<void> {
  return Array.from({ length: count }).reduce<Promise<void>>(
    (before) => before.then(() => new Promise((resolve) => setImmediate(resolve))),
    Promise.resolve(),
  );
}

const frame = (length: number, byte = 7) => new Uint8Array(length).fill(byte);

describe("an Ethernet relay", () => {
  test("carries frames both ways, counted, and nothing once it is off", async () => {
    const card = fakeCard();
    network = createNetwork(ETHERNET);
    network.attach(card.emulator);
    expect(network.state).toBe("connecting");
    await reached("on");
    const sent: Uint8Array[] = [];
    const [end] = ends;
    if (!end) throw new Error("Nobody came.");
    expect(end.url).toBe("wss://relay.example/");
    end.onMessage = (message) => sent.push(message);
    const view = frame(60, 1);
    card.send(view);
    // The card's memory, which the guest writes over.
    view.fill(9);
    end.send(frame(64, 2));
    await turns();
    expect(sent).toEqual([frame(60, 1)]);
    expect(card.received).toEqual([frame(64, 2)]);
    expect([network.bytesOut, network.bytesIn]).toEqual([60, 64]);
    await network.set({ kind: "off" });
    card.send(frame(60));
    end.send(frame(60));
    await turns();
    expect([network.state, network.bytesOut, network.bytesIn, sent.length]).toEqual(["off", 60, 64, 1]);
  });

  test("that sends what is no frame is not listened to", async () => {
    const card = fakeCard();
    network = createNetwork(ETHERNET);
    network.attach(card.emulator);
    await reached("on");
    for (const message of ["text", frame(0), frame(13), frame(1519), frame(2_000_000)])
      ends[0]?.send(message);
    ends[0]?.send(frame(14));
    await turns();
    expect(card.received).toEqual([frame(14)]);
  });

  test("that ends is said to have failed, and is tried again ever more seldom", async () => {
    network = createNetwork(ETHERNET);
    network.attach(fakeCard().emulator);
    await reached("on");
    answers = false;
    ends[0]?.close();
    expect([network.state, network.problem]).toEqual(["failed", expect.stringContaining("relay.example")]);
    for (const [index, seconds] of [1, 2, 4, 8, 16, 30, 30].entries()) {
      vi.advanceTimersByTime(seconds * 1000 - 1);
      await turns();
      expect(relays.tries).toBe(1 + index);
      vi.advanceTimersByTime(1);
      await turns();
      expect(relays.tries).toBe(2 + index);
    }
    answers = true;
    vi.advanceTimersByTime(30_000);
    await reached("on");
    expect(network.problem).toBeUndefined();
    network.close();
    vi.advanceTimersByTime(100_000);
    await turns();
    expect(relays.tries).toBe(9);
  });

  test("keeps frames for a guest that stands still, in order, and forgets them for another guest", async () => {
    const card = fakeCard();
    network = createNetwork(ETHERNET);
    network.attach(card.emulator);
    await reached("on");
    card.pause();
    for (let i = 0; i < 300; i++) ends[0]?.send(frame(60, i & 0xff));
    expect(card.received).toHaveLength(0);
    card.run();
    expect(card.received).toHaveLength(256);
    expect(card.received[3]).toEqual(frame(60, 3));
    card.pause();
    ends[0]?.send(frame(60));
    network.forget();
    card.run();
    expect(card.received).toHaveLength(256);
  });
});

describe("a Wisp relay", () => {
  test("is on once it has said how much it takes, whatever else it says", async () => {
    const card = fakeCard();
    network = createNetwork(WISP);
    network.attach(card.emulator);
    await turns();
    const [end] = ends;
    expect([network.state, end?.url]).toEqual(["connecting", "wss://relay.example/"]);
    // Short, unknown streams, unknown types, a credit cut short.
    for (const bytes of [
      [],
      [3],
      [3, 0, 0, 0, 0, 1],
      [2, 9, 0, 0, 0, 1],
      [4, 9, 0, 0, 0, 2],
      [5, 0, 0, 0, 0],
      [99, 1, 1, 1, 1, 1],
    ])
      end?.send(Uint8Array.from(bytes));
    expect(network.state).toBe("connecting");
    end?.send(Uint8Array.of(3, 0, 0, 0, 0, 128, 0, 0, 0));
    expect(network.state).toBe("on");
  });
});

test("a frame that the network cannot read is dropped", () => {
  const card = fakeCard();
  const adapter = card.emulator.network_adapter;
  Object.getPrototypeOf(adapter).send = () => {
    throw new RangeError("outside the frame");
  };
  network = createNetwork({ kind: "fetch" });
  network.attach(card.emulator);
  expect(network.state).toBe("on");
  expect(() => card.send(frame(3))).not.toThrow();
});

test("what a guest fetches carries nothing of the page's own", async () => {
  const card = fakeCard();
  const asked: unknown[] = [];
  vi.stubGlobal("fetch", async (url: string, options: RequestInit) => asked.push([url, options]));
  network = createNetwork({ kind: "fetch" });
  network.attach(card.emulator);
  await card.emulator.network_adapter.fetch("http://cow.example/", { method: "GET", credentials: "include" });
  expect(asked).toEqual([
    ["http://cow.example/", { method: "GET", credentials: "omit", referrerPolicy: "no-referrer" }],
  ]);
});

test("where there are no WebSockets a relay has failed, and says so", () => {
  vi.stubGlobal("WebSocket", undefined);
  network = createNetwork(ETHERNET);
  network.attach(fakeCard().emulator);
  expect([network.state, network.problem]).toEqual(["failed", expect.stringContaining("cannot be reached")]);
});

test("what is no relay is refused, and the network stays as it is", async () => {
  expect(() => createNetwork({ kind: "relay", url: "http://relay.example/" })).toThrow(/wss:/);
  network = createNetwork({ kind: "off" });
  await expect(network.set({ kind: "relay", url: "javascript:1" })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  expect(network.choice).toEqual({ kind: "off" });
});
