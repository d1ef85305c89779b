import { type ByreError, toByreError } from "../../disk/index.ts";
import { parseMachineLink } from "./machine-link.ts";
import type { OpenRequest } from "./open-machine.ts";
import { opener } from "./opener.ts";

/**
 * What an address of this page asks to open.
 *
 * @param location what stands after `#`; untrusted text.
 * @returns undefined for one that opens nothing, such as `/run` alone: files were dropped, and no address can
 *   name them.
 */
export function requestOf(location: string): OpenRequest | ByreError | undefined {
  if (location === "/run") return undefined;
  try {
    const link = parseMachineLink(`#${location}`, document.baseURI);
    return link.kind === "gallery" ? undefined : link;
  } catch (error) {
    return toByreError(error);
  }
}

/**
 * Opens what an address asks for, if it asks for something. The opener's state holds a failure, and the page
 * shows it.
 *
 * @returns whether the address is one that means something.
 */
export function openAddress(location: string): boolean {
  const request = requestOf(location);
  if (request && !(request instanceof Error)) opener.open(request).catch(() => {});
  return request !== undefined;
}
