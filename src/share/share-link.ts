import { type ImageLink, imageHash, parseMachineLink } from "../open/machine-link.ts";

/** What of a link a person chooses when they share a machine. */
export interface ShareChoice {
  /** A saved state of the image, by name or id; empty: as the image says. */
  readonly snapshot: string;
  /** MiB, as typed; empty: as the image says. */
  readonly memory: string;
  /** As `network=` takes it; empty: as the image says. */
  readonly network: string;
  /** Nothing of it is kept by who opens it. */
  readonly ephemeral: boolean;
}

export const AS_THE_IMAGE_SAYS: ShareChoice = { snapshot: "", memory: "", network: "", ephemeral: false };

/**
 * The link to an image with a choice, as whoever opens it will read it.
 *
 * @param image what is shared; its own choice is replaced.
 * @param page address of this page.
 * @throws ByreError INVALID_ARGUMENT saying what of the choice no link can have.
 */
export function shareLink(
  image: Pick<ImageLink, "url" | "drives">,
  choice: ShareChoice,
  page: string,
): { readonly link: string; readonly frameLink: string } {
  const parameters = new URLSearchParams({ image: image.url });
  for (const [drive, url] of Object.entries(image.drives)) parameters.set(drive, url);
  const { snapshot, memory, network, ephemeral } = choice;
  for (const [name, value] of Object.entries({ snapshot, memory: memory.trim(), network: network.trim() }))
    if (value !== "") parameters.set(name, value);
  if (ephemeral) parameters.set("ephemeral", "1");
  // Read by the same reader, so that no link is handed out that this page would refuse.
  const parsed = parseMachineLink(`#/run?${parameters}`, page);
  if (parsed.kind !== "image") throw new Error("A link to an image is one.");
  const here = new URL(page);
  here.hash = "";
  const whole = (link: ImageLink) => `${here.href}${imageHash(link, page)}`;
  return {
    link: whole(parsed.image),
    frameLink: whole({ ...parsed.image, ephemeral: false, embed: { origins: [] } }),
  };
}

/** HTML that shows a machine in a page. */
export function embedSnippet(frameLink: string, name: string): string {
  return (
    `<iframe src="${escaped(frameLink)}" title="${escaped(name)}"\n` +
    '  width="800" height="500" allow="fullscreen; clipboard-write; autoplay"></iframe>'
  );
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}

/** Whether a page is reached from its own computer alone, so that no link to it can be shared. */
export function isOnlyHere(page: string): boolean {
  const { protocol, hostname } = new URL(page);
  return protocol === "file:" || /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}
