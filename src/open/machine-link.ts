import { ByreError } from "../../disk/index.ts";

/** What a link asks for. A link chooses an image and a configuration, never input to the guest. */
export type MachineLink =
  | { readonly kind: "gallery" }
  | { readonly kind: "machine"; readonly id: string }
  | { readonly kind: "image"; readonly image: ImageLink };

export interface ImageLink {
  /** Absolute address of the image. */
  readonly url: string;
  readonly memoryMiB: number | undefined;
  /** Id or name of the image's saved state to start from. Undefined: as the image itself says. */
  readonly snapshot: string | undefined;
  /** Keep nothing: what the guest writes is gone when the machine is. */
  readonly ephemeral: boolean;
  /** Parameters of the link format that this version does not carry out; the page says so. */
  readonly ignored: readonly string[];
}

/** Below 16 MiB SeaBIOS has no room; v86 has no addresses for 2 GiB. */
export const MEMORY_MIB = { min: 16, max: 2047 } as const;

/** As long as the format has room for. */
const MAX_SNAPSHOT_NAME_LENGTH = 255;

const NOT_YET = ["network", "hdb", "cdrom", "floppy"] as const;

/**
 * Reads a link: a whole address of this page, its part from `#` on, or the plain address of an image.
 *
 * @param link untrusted text.
 * @param page address of the page; relative image addresses are resolved against it.
 * @throws ByreError INVALID_ARGUMENT saying what is wrong with the link.
 */
export function parseMachineLink(link: string, page: string): MachineLink {
  const hashAt = link.indexOf("#");
  if (hashAt < 0) return { kind: "image", image: imageLink(link, new URLSearchParams(), page) };
  const [path = "", ...query] = link
    .slice(hashAt + 1)
    .replace(/^\//, "")
    .split("?");
  if (path === "") return { kind: "gallery" };
  const id = /^machine\/([A-Za-z0-9-]{1,64})$/.exec(path)?.[1];
  if (id) return { kind: "machine", id };
  if (path !== "run") throw refuse(`This page has nothing at #/${path}`, "Start from the gallery.");
  const parameters = new URLSearchParams(query.join("?"));
  const image = parameters.get("image");
  if (!image) throw refuse("The link names no image", "It should look like #/run?image=URL.");
  return { kind: "image", image: imageLink(image, parameters, page) };
}

/** The part of a link from `#` on. */
export function imageHash(image: ImageLink, page: string): string {
  const folder = new URL(".", page).href;
  const parameters = new URLSearchParams({
    image: image.url.startsWith(folder) ? image.url.slice(folder.length) : image.url,
  });
  if (image.memoryMiB !== undefined) parameters.set("memory", String(image.memoryMiB));
  if (image.snapshot !== undefined) parameters.set("snapshot", image.snapshot);
  if (image.ephemeral) parameters.set("ephemeral", "1");
  // Slashes and colons may stand in a query; left alone, the link stays readable.
  return `#/run?${parameters.toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
}

function imageLink(image: string, parameters: URLSearchParams, page: string): ImageLink {
  return {
    url: imageAddress(image, page),
    memoryMiB: memory(parameters.get("memory")),
    snapshot: snapshotName(parameters.get("snapshot")),
    ephemeral: parameters.get("ephemeral") === "1",
    ignored: NOT_YET.filter((name) => parameters.has(name)),
  };
}

function imageAddress(image: string, page: string): string {
  const url = URL.canParse(image, page) ? new URL(image, page) : undefined;
  const fromPage = new URL(page).protocol;
  if (!url || !["http:", "https:", fromPage].includes(url.protocol)) {
    throw refuse(`${image} is not an address an image can come from`, "Use an http or https address.");
  }
  if (url.username || url.password) {
    throw refuse("The image's address holds a password", "Use an address without one.");
  }
  url.hash = "";
  return url.href;
}

function memory(text: string | null): number | undefined {
  if (text === null) return undefined;
  const memoryMiB = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (memoryMiB >= MEMORY_MIB.min && memoryMiB <= MEMORY_MIB.max) return memoryMiB;
  throw refuse(
    `The link asks for memory=${text}`,
    `A machine takes ${MEMORY_MIB.min} to ${MEMORY_MIB.max} (MiB).`,
  );
}

function snapshotName(text: string | null): string | undefined {
  if (text === null || text === "") return undefined;
  if (text.length <= MAX_SNAPSHOT_NAME_LENGTH) return text;
  throw refuse(
    `The link names a snapshot with ${text.length} characters`,
    `A name has at most ${MAX_SNAPSHOT_NAME_LENGTH}.`,
  );
}

function refuse(what: string, remedy: string): ByreError {
  return new ByreError("INVALID_ARGUMENT", `${what}. ${remedy}`);
}
