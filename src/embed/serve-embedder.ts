import { ByreError, toByreError } from "../../disk/index.ts";
import type { MachineSession } from "../open/machine-session.ts";
import type { OpenState } from "../open/opener.ts";
import { doVerb } from "./embed-verbs.ts";

/** Marks our messages, and their version; a page sends and gets others too. */
const VERSION = 1;

const EVENTS = ["state", "serial"] as const;
type EventName = (typeof EVENTS)[number];

/** What is in the frame: a machine's own state, or what is on the way to one. */
export interface EmbeddedState {
  readonly state: MachineSession["state"] | "opening" | "asking" | "closed" | "failed";
  readonly name?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/** The two windows of an embedded page. */
export interface EmbedWindows {
  /** The frame's own, which hears. */
  readonly self: Pick<Window, "addEventListener" | "removeEventListener">;
  /** Around the frame, which is answered. */
  readonly parent: Pick<Window, "postMessage">;
}

/** What `serveEmbedder` needs of the opener. */
export interface Embedded {
  state(): OpenState;
  session(): MachineSession | undefined;
  onChange(listener: () => void): () => void;
}

/**
 * Lets the page around the frame drive the machine by messages, as docs/embedding.md has it. Only the window around
 * the frame is heard, and only while its page is of one of the origins; to nothing else anything is sent.
 *
 * @param origins exact.
 * @returns ends it.
 */
export function serveEmbedder(
  origins: readonly string[],
  opener: Embedded,
  { self, parent }: EmbedWindows,
): () => void {
  /** What each origin wants to hear of. */
  const wanted = new Map<string, Set<EventName>>();
  let session: MachineSession | undefined;
  let endSession = () => {};
  let told = "";

  const post = (origin: string, message: object) => parent.postMessage({ byre: VERSION, ...message }, origin);
  const tell = (name: EventName, event: object) => {
    for (const [origin, names] of wanted) if (names.has(name)) post(origin, event);
  };
  const look = () => {
    const state = embeddedState(opener.state());
    const text = JSON.stringify(state);
    if (text !== told) tell("state", { event: "state", data: state });
    told = text;
    const current = opener.session();
    if (current === session) return;
    endSession();
    session = current;
    endSession = () => {};
    if (!current) return;
    const ends = [
      current.onChange(look),
      current.serial.onOutput((data) => tell("serial", { event: "serial", data })),
      current.serial.onReset((data) => tell("serial", { event: "serial-reset", data })),
    ];
    endSession = () => {
      for (const end of ends) end();
    };
    // Its own state goes on from here.
    look();
  };

  const hear = ({ source, origin, data }: MessageEvent<unknown>) => {
    if (source !== parent || !origins.includes(origin)) return;
    const request = requestOf(data);
    if (!request) return;
    const { id, method, parameters } = request;
    answer(origin, method, parameters).then(
      (result) => post(origin, { id, result }),
      (cause: unknown) => {
        const { code, message } = toByreError(cause);
        post(origin, { id, error: { code, message } });
      },
    );
  };
  const answer = async (origin: string, method: string, parameters: readonly unknown[]): Promise<unknown> => {
    if (method === "state") return embeddedState(opener.state());
    if (method === "subscribe") {
      const names = parameters[0] ?? EVENTS;
      if (!Array.isArray(names) || !names.every(isEventName)) throw noSuchEvents();
      wanted.set(origin, new Set(names));
      // What is told from now on follows on this.
      return { ...embeddedState(opener.state()), serial: session?.serial.text() ?? "" };
    }
    if (!session)
      throw new ByreError("NOT_FOUND", 'There is no machine in the frame yet. Wait for the event "state".');
    return doVerb(session, method, parameters);
  };

  self.addEventListener("message", hear as EventListener);
  const endOpener = opener.onChange(look);
  look();
  // Whoever waits for it may ask from now on. A window of another origin does not get it.
  for (const origin of origins) post(origin, { event: "ready" });
  return () => {
    self.removeEventListener("message", hear as EventListener);
    endOpener();
    endSession();
  };
}

/** A request of the protocol; undefined for any other message. */
function requestOf(data: unknown) {
  if (typeof data !== "object" || data === null) return undefined;
  const { byre, id, method, params = [] } = data as Readonly<Record<string, unknown>>;
  if (byre !== VERSION || typeof method !== "string" || !Array.isArray(params)) return undefined;
  return typeof id === "number" || typeof id === "string" ? { id, method, parameters: params } : undefined;
}

function embeddedState(state: OpenState): EmbeddedState {
  switch (state.phase) {
    case "none":
      return { state: "closed" };
    case "opening":
      return { state: "opening" };
    case "failed":
      return { state: "failed", error: { code: state.error.code, message: state.error.message } };
    case "open": {
      const { name, error, state: machineState } = state.session;
      return {
        state: machineState,
        name,
        ...(error && { error: { code: error.code, message: error.message } }),
      };
    }
    default:
      return { state: "asking" };
  }
}

function isEventName(name: unknown): name is EventName {
  return EVENTS.some((known) => known === name);
}

function noSuchEvents(): ByreError {
  return new ByreError(
    "INVALID_ARGUMENT",
    `"subscribe" takes a list of events. There are: ${EVENTS.join(", ")}.`,
  );
}
