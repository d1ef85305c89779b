import { beforeEach, describe, expect, it } from "vitest";
import type { MachineSession } from "../open/machine-session.ts";
import type { OpenState } from "../open/opener.ts";
import { serveEmbedder } from "./serve-embedder.ts";

const ORIGIN = "https://my.example";
const OTHER = "https://other.example";

/** A window around a frame, a frame, and a machine in it. */
function world(origins: readonly string[]) {
  const heard = new Set<(event: MessageEvent) => void>();
  const sent: { message: Record<string, unknown>; origin: string }[] = [];
  const parent = {
    postMessage: (message: Record<string, unknown>, origin: string) => sent.push({ message, origin }),
  };
  const self = {
    addEventListener: (_type: string, listener: (event: MessageEvent) => void) => heard.add(listener),
    removeEventListener: (_type: string, listener: (event: MessageEvent) => void) => heard.delete(listener),
  };
  const changes = new Set<() => void>();
  const outputs = new Set<(text: string) => void>();
  const typed: string[] = [];
  let state: OpenState = { phase: "none" };
  let session: MachineSession | undefined;
  const on = (listeners: Set<() => void>) => (listener: () => void) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  const machine = {
    name: "Notes",
    state: "running",
    error: undefined,
    onChange: on(new Set()),
    serial: {
      text: () => "so far",
      send: (text: string) => typed.push(text),
      onReset: () => () => {},
      onOutput: (listener: (text: string) => void) => {
        outputs.add(listener);
        return () => void outputs.delete(listener);
      },
    },
  } as unknown as MachineSession;
  const end = serveEmbedder(origins, { state: () => state, session: () => session, onChange: on(changes) }, {
    self,
    parent,
  } as unknown as Parameters<typeof serveEmbedder>[2]);
  return {
    sent,
    typed,
    outputs,
    end,
    start() {
      session = machine;
      state = { phase: "open", session: machine } as OpenState;
      for (const change of changes) change();
    },
    write: (text: string) => {
      for (const listener of outputs) listener(text);
    },
    /** Answers come within the turn. */
    async send(data: unknown, { origin = ORIGIN, source = parent as unknown } = {}) {
      const before = sent.length;
      for (const listener of heard) listener({ data, origin, source } as MessageEvent);
      await new Promise((done) => setImmediate(done));
      return sent.slice(before).map(({ message }) => message);
    },
  };
}

let frame: ReturnType<typeof world>;
beforeEach(() => {
  frame = world([ORIGIN]);
});

describe("an embedded page", () => {
  it("says that it hears, to the named origins and no other", () => {
    expect(world([ORIGIN, OTHER]).sent).toEqual([
      { origin: ORIGIN, message: { byre: 1, event: "ready" } },
      { origin: OTHER, message: { byre: 1, event: "ready" } },
    ]);
    expect(world([]).sent).toEqual([]);
  });

  it("answers a request with its id, to the origin that sent it", async () => {
    expect(await frame.send({ byre: 1, id: "a", method: "state" })).toEqual([
      { byre: 1, id: "a", result: { state: "closed" } },
    ]);
    expect(frame.sent.at(-1)?.origin).toBe(ORIGIN);
    expect(await frame.send({ byre: 1, id: 2, method: "serial.text" })).toMatchObject([
      { id: 2, error: { code: "NOT_FOUND" } },
    ]);
    frame.start();
    expect(await frame.send({ byre: 1, id: 3, method: "serial.text" })).toEqual([
      { byre: 1, id: 3, result: "so far" },
    ]);
  });

  it.each([
    ["another origin", { origin: OTHER }],
    ["an origin that begins alike", { origin: `${ORIGIN}.evil.example` }],
    ["a sandbox without one", { origin: "null" }],
    ["another window", { source: {} }],
  ])("does not hear %s", async (_who, from) => {
    frame.start();
    expect(await frame.send({ byre: 1, id: 1, method: "serial.send", params: ["rm\n"] }, from)).toEqual([]);
    expect(frame.typed).toEqual([]);
  });

  it.each([
    undefined,
    null,
    "serial.send",
    7,
    [],
    { id: 1, method: "serial.send", params: ["x"] },
    { byre: 2, id: 1, method: "serial.send", params: ["x"] },
    { byre: 1, method: "serial.send", params: ["x"] },
    { byre: 1, id: {}, method: "serial.send", params: ["x"] },
    { byre: 1, id: 1, method: ["serial.send"], params: ["x"] },
    { byre: 1, id: 1, method: "serial.send", params: { 0: "x", length: 1 } },
  ])("does not take %j for a request", async (data) => {
    frame.start();
    expect(await frame.send(data)).toEqual([]);
    expect(frame.typed).toEqual([]);
  });

  it("tells of what was subscribed to, from then on, until it no longer is", async () => {
    frame.write("unheard");
    expect(await frame.send({ byre: 1, id: 1, method: "subscribe" })).toEqual([
      { byre: 1, id: 1, result: { state: "closed", serial: "" } },
    ]);
    const before = frame.sent.length;
    frame.start();
    frame.write("hello");
    expect(frame.sent.slice(before).map(({ message }) => message)).toEqual([
      { byre: 1, event: "state", data: { state: "running", name: "Notes" } },
      { byre: 1, event: "serial", data: "hello" },
    ]);
    await frame.send({ byre: 1, id: 2, method: "subscribe", params: [["state"]] });
    const after = frame.sent.length;
    frame.write("unheard");
    expect(frame.sent).toHaveLength(after);
  });

  it("is silent and deaf once it has ended", async () => {
    await frame.send({ byre: 1, id: 1, method: "subscribe" });
    frame.start();
    frame.end();
    expect(frame.outputs.size).toBe(0);
    expect(await frame.send({ byre: 1, id: 2, method: "state" })).toEqual([]);
  });
});
