import { type ByreError, toByreError } from "../../disk/index.ts";
import { type ImageLink, parseMachineLink } from "./machine-link.ts";
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
 * The image of a link that wants to be in the frame of another page.
 *
 * @param location as for `requestOf`.
 */
export function embeddedImage(location: string): ImageLink | undefined {
  const request = requestOf(location);
  return request && "kind" in request && request.kind === "image" && request.image.embed
    ? request.image
    : undefined;
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
