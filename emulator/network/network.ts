import { ByreError } from "../../disk/index.ts";
import { createChangeNotifier } from "../change-notifier.ts";
import type { MachineNetwork, NetworkChoice, NetworkState } from "../machine-devices.ts";
import { relaySocket } from "../network-choice.ts";
import type { V86Emulator, V86LittleNetwork } from "../v86-internals.ts";
import { connectEthernetRelay } from "./ethernet-relay.ts";
import { connectWispRelay } from "./wisp-relay.ts";

/** Where the card's frames go. */
export interface NetworkLink {
  /** Takes a frame from the guest. It may be a view of the card's memory. */
  send(frame: Uint8Array): void;
  /** Forgets connections: the guest is not the one that opened them. */
  forget(): void;
  close(): void;
}

/** What a link tells. */
export interface LinkEvents {
  /** A frame for the guest. */
  receive(frame: Uint8Array): void;
  onState(state: NetworkState, problem?: string): void;
}

/** The network card of a machine, as the outside has it. It outlives the emulator it is attached to. */
export interface Network extends MachineNetwork {
  /** Bytes of frames to and from the guest. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  attach(emulator: V86Emulator): void;
  /** The guest was reset, or a saved state took its place. */
  forget(): void;
  close(): void;
}

/** Frames kept for a guest that stands still; a card's own memory holds some ten. */
const MAX_WAITING_FRAMES = 256;

/** @throws ByreError INVALID_ARGUMENT for a relay that is no address of one. */
export function createNetwork(first: NetworkChoice): Network {
  let emulator: V86Emulator | undefined;
  let choice = checked(first);
  let state: NetworkState = "off";
  let problem: string | undefined;
  let link: NetworkLink | undefined;
  let waiting: Uint8Array[] = [];
  let bytesIn = 0;
  let bytesOut = 0;
  const changes = createChangeNotifier();

  const change = (next: NetworkState, why?: string) => {
    if (state === next && problem === why) return;
    state = next;
    problem = why;
    changes.notify();
  };
  const receive = (frame: Uint8Array) => {
    // v86's own TCP never sends a frame twice, so none is dropped while the machine is paused.
    if (!emulator?.is_running()) {
      if (waiting.length < MAX_WAITING_FRAMES) waiting.push(frame.slice());
      return;
    }
    bytesIn += frame.length;
    emulator.network_adapter.bus.send("net0-receive", frame.slice());
  };
  const connect = (present: V86LittleNetwork): NetworkLink | undefined => {
    // A link that was taken away says no more.
    let gone = false;
    const events: LinkEvents = {
      receive: (frame) => {
        if (!gone) receive(frame);
      },
      onState: (next, why) => {
        if (!gone) change(next, why);
      },
    };
    const opened = open(choice, present, events);
    if (!opened) {
      change("off");
      return undefined;
    }
    return {
      ...opened,
      close() {
        gone = true;
        opened.close();
      },
    };
  };
  const reconnect = () => {
    link?.close();
    waiting = [];
    link = emulator && connect(emulator.network_adapter);
  };
  return {
    get choice() {
      return choice;
    },
    get state() {
      return state;
    },
    get problem() {
      return problem;
    },
    get bytesIn() {
      return bytesIn;
    },
    get bytesOut() {
      return bytesOut;
    },
    async set(next) {
      choice = checked(next);
      reconnect();
      changes.notify();
    },
    onChange: (listener) => changes.add(listener),
    attach(next) {
      emulator = next;
      const adapter = next.network_adapter;
      adapter.send = (frame) => {
        if (emulator !== next || !link) return;
        bytesOut += frame.length;
        try {
          link.send(frame);
        } catch {
          // A frame that v86's network cannot read: a wire has no use for it either.
        }
      };
      next.add_listener("emulator-started", () => {
        if (emulator !== next) return;
        for (const frame of waiting.splice(0)) receive(frame);
      });
      reconnect();
    },
    forget() {
      waiting = [];
      link?.forget();
    },
    close() {
      link?.close();
      link = undefined;
      emulator = undefined;
    },
  };
}

function checked(choice: NetworkChoice): NetworkChoice {
  if (choice.kind !== "relay" || relaySocket(choice.url)) return choice;
  throw new ByreError(
    "INVALID_ARGUMENT",
    "A relay's address begins with wss://, ws://, wisps:// or wisp://, and has no name and password in it.",
    { url: choice.url },
  );
}

function open(choice: NetworkChoice, little: V86LittleNetwork, events: LinkEvents): NetworkLink | undefined {
  if (choice.kind === "off") return undefined;
  if (choice.kind === "fetch") return openFetch(little, events);
  const relay = relaySocket(choice.url);
  if (!relay) return undefined;
  const connect = relay.protocol === "wisp" ? connectWispRelay : connectEthernetRelay;
  return connect(relay.url, events, little);
}

/** The little network of v86, whose HTTP server on every address asks the browser. */
function openFetch(little: V86LittleNetwork, events: LinkEvents): NetworkLink {
  const { send } = Object.getPrototypeOf(little) as V86LittleNetwork;
  little.receive = (frame) => events.receive(frame);
  // The guest is a stranger: nothing of the page's own goes with its requests.
  little.fetch = (url, options) =>
    fetch(url, { ...options, credentials: "omit", referrerPolicy: "no-referrer" });
  const forget = () => {
    little.tcp_conn = {};
  };
  forget();
  events.onState("on");
  return { send: (frame) => send.call(little, frame), forget, close: forget };
}
