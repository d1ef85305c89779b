import { goTo } from "../components/page-location.ts";
import { imageHash, parseMachineLink, shortAddress } from "../open/machine-link.ts";
import { opener } from "../open/opener.ts";

/**
 * Makes a machine of an appliance and shows it. Failures are the machine page's to show.
 *
 * @param discFiles are put on a CD in its drive.
 */
export function startAppliance(url: string, discFiles?: readonly File[]): void {
  const link = parseMachineLink(url, document.baseURI);
  if (link.kind !== "image") return;
  // Whoever presses this has the machines made before in the list above, and wants another.
  opener
    .open({ kind: "image", image: link.image, fresh: true, seen: true, ...(discFiles && { discFiles }) })
    .catch(() => {});
  goTo(imageHash(link.image, document.baseURI));
}

/** Where the page tells all about an appliance, from `#` on. */
export function applianceHash(url: string): string {
  const image = shortAddress(url, document.baseURI);
  return `#/appliance?${new URLSearchParams({ image }).toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
}

/** Whether an image lies beside the page, where the page's own build puts it. */
export function isOwnFile(url: string): boolean {
  return url.startsWith(new URL("appliances/", document.baseURI).href);
}

/**
 * The image that such an address is about.
 *
 * @param location what stands after `#`.
 * @returns undefined for an address that names none.
 */
export function imageOfHash(location: string): string | undefined {
  const image = new URLSearchParams(location.split("?").slice(1).join("?")).get("image");
  if (!image) return undefined;
  try {
    const link = parseMachineLink(image, document.baseURI);
    return link.kind === "image" ? link.image.url : undefined;
  } catch {
    return undefined;
  }
}
