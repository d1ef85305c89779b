import type { NetworkChoice } from "./machine-devices.ts";

/** More than any relay's address needs. */
const MAX_CHARACTERS = 512;

/** The schemes of relays, and what they are on the wire. */
const SOCKETS: Readonly<Record<string, string>> = { ws: "ws", wss: "wss", wisp: "ws", wisps: "wss" };

/**
 * Reads a network from text that a stranger may have written: "off", "fetch", or a relay's address (`ws`, `wss`,
 * `wisp`, `wisps`; no name and password in it).
 *
 * @returns undefined for anything else.
 */
export function parseNetworkChoice(text: string): NetworkChoice | undefined {
  if (text === "off" || text === "fetch") return { kind: text };
  const url = relayUrl(text);
  return url === undefined ? undefined : { kind: "relay", url };
}

/** The text that `parseNetworkChoice` takes. */
export function networkChoiceText(choice: NetworkChoice): string {
  return choice.kind === "relay" ? choice.url : choice.kind;
}

/** What a relay is, and the address of its WebSocket. Undefined when it is no relay's. */
export function relaySocket(
  url: string,
): { readonly protocol: "ethernet" | "wisp"; readonly url: string } | undefined {
  const parts = splitRelay(url);
  if (!parts) return undefined;
  return { protocol: parts.scheme.startsWith("wisp") ? "wisp" : "ethernet", url: parts.socket.href };
}

function relayUrl(text: string): string | undefined {
  const parts = splitRelay(text);
  if (!parts) return undefined;
  const { href, protocol } = parts.socket;
  return `${parts.scheme}${href.slice(protocol.length - 1)}`;
}

function splitRelay(text: string): { readonly scheme: string; readonly socket: URL } | undefined {
  // Printable characters only: URL would take line breaks out and trim blanks.
  if (text.length > MAX_CHARACTERS || !/^[!-~]+$/.test(text)) return undefined;
  const match = /^([a-z]+):\/\//i.exec(text);
  const scheme = match?.[1]?.toLowerCase() ?? "";
  if (!match || !Object.hasOwn(SOCKETS, scheme)) return undefined;
  // As a WebSocket's, since URL checks no host of a scheme it does not know.
  const address = `${SOCKETS[scheme]}://${text.slice(match[0].length)}`;
  if (!URL.canParse(address)) return undefined;
  const socket = new URL(address);
  if (socket.username !== "" || socket.password !== "" || socket.href.includes("#")) return undefined;
  return { scheme, socket };
}
