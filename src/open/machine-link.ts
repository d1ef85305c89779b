import { ByreError } from "../../disk/index.ts";
import { type NetworkChoice, networkChoiceText, parseNetworkChoice } from "../../emulator/index.ts";
import { quoted } from "../appliance/plain-text.ts";

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
  /** An offer: no network is on before the person allows it. Undefined: as the image itself says. */
  readonly network: NetworkChoice | undefined;
  /** A page of another site shows the machine in a frame; nothing is kept of it then. Undefined: none does. */
  readonly embed: EmbedLink | undefined;
  /** Absolute addresses of what is in the machine's other drives. */
  readonly drives: LinkDrives;
}

export interface EmbedLink {
  /** Of the pages that may drive the machine by messages. */
  readonly origins: readonly string[];
}

/** The drives beside a machine's own disk that a link can fill. */
export const LINK_DRIVES = ["hdb", "cdrom", "floppy"] as const;
export type LinkDrive = (typeof LINK_DRIVES)[number];
export type LinkDrives = { readonly [drive in LinkDrive]?: string };

/** Below 16 MiB SeaBIOS has no room; v86 has no addresses for 2 GiB. */
export const MEMORY_MIB = { min: 16, max: 2047 } as const;

/** As long as the format has room for. */
const MAX_SNAPSHOT_NAME_LENGTH = 255;

/** What browsers and servers agree on. */
const MAX_ADDRESS_LENGTH = 2000;

/** Pages that may drive one machine; they are shown before it starts. */
const MAX_ORIGINS = 8;

/**
 * Reads a link: a whole address of this page, its part from `#` on, or the plain address of an image. Of a parameter
 * that is repeated the first counts, but of `origin` all do; an empty one counts as left out, but for the image and
 * `origin`; unknown ones are nothing.
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
  if (path !== "run") throw refuse(`This page has nothing at #/${quoted(path)}`, "Start from the gallery.");
  const parameters = new URLSearchParams(query.join("?"));
  const image = parameters.get("image");
  if (!image) throw refuse("The link names no image", "It should look like #/run?image=URL.");
  return { kind: "image", image: imageLink(image, parameters, page) };
}

/** The part of a link from `#` on. */
export function imageHash(image: ImageLink, page: string): string {
  const parameters = new URLSearchParams({
    image: shortAddress(image.url, page),
  });
  if (image.memoryMiB !== undefined) parameters.set("memory", String(image.memoryMiB));
  if (image.snapshot !== undefined) parameters.set("snapshot", image.snapshot);
  if (image.ephemeral) parameters.set("ephemeral", "1");
  if (image.network) parameters.set("network", networkChoiceText(image.network));
  for (const drive of LINK_DRIVES) {
    const url = image.drives[drive];
    if (url !== undefined) parameters.set(drive, shortAddress(url, page));
  }
  if (image.embed) parameters.set("embed", "1");
  for (const origin of image.embed?.origins ?? []) parameters.append("origin", origin);
  // Slashes and colons may stand in a query; left alone, the link stays readable.
  return `#/run?${parameters.toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
}

/** An address as short as it can stand in a link of a page: what is in the page's folder is named from there. */
export function shortAddress(url: string, page: string): string {
  const folder = new URL(".", page).href;
  if (!url.startsWith(folder)) return url;
  const short = url.slice(folder.length);
  // "disk:1.qcow2", say, would be an address of its own.
  const isSame = short !== "" && URL.canParse(short, page) && new URL(short, page).href === url;
  return isSame ? short : url;
}

function imageLink(image: string, parameters: URLSearchParams, page: string): ImageLink {
  return {
    url: fileAddress(image, page, "image"),
    memoryMiB: memory(parameters.get("memory")),
    snapshot: snapshotName(parameters.get("snapshot")),
    ephemeral: parameters.get("ephemeral") === "1",
    network: network(parameters.get("network")),
    embed: embed(parameters),
    drives: drives(parameters, page),
  };
}

function network(text: string | null): NetworkChoice | undefined {
  if (text === null || text === "") return undefined;
  const choice = parseNetworkChoice(text);
  if (choice) return choice;
  throw refuse(
    `The link asks for network=${quoted(text)}`,
    "It is off, fetch, or the address of a relay (ws, wss, wisp or wisps) without a password.",
  );
}

function embed(parameters: URLSearchParams): EmbedLink | undefined {
  if (parameters.get("embed") !== "1") return undefined;
  const origins = [...new Set(parameters.getAll("origin"))];
  if (origins.length > MAX_ORIGINS)
    throw refuse(
      `The link lets ${origins.length} sites drive the machine`,
      `It may name ${MAX_ORIGINS} at most.`,
    );
  for (const origin of origins)
    if (!/^https?:/.test(origin) || !URL.canParse(origin) || new URL(origin).origin !== origin)
      throw refuse(
        `The link lets origin=${quoted(origin)} drive the machine`,
        "It takes exact origins, such as https://example.org, without a path.",
      );
  return { origins };
}

function drives(parameters: URLSearchParams, page: string): LinkDrives {
  const named = LINK_DRIVES.flatMap((drive) => {
    const address = parameters.get(drive);
    return address ? [[drive, fileAddress(address, page, drive)] as const] : [];
  });
  return Object.fromEntries(named);
}

/** @param what the parameter, for the message. */
function fileAddress(text: string, page: string, what: "image" | LinkDrive): string {
  const named = what === "image" ? "The image" : `What the link puts into ${what}`;
  if (text.length > MAX_ADDRESS_LENGTH)
    throw refuse(
      `${named} has an address of ${text.length} characters`,
      `It may have ${MAX_ADDRESS_LENGTH} at most.`,
    );
  // A browser would leave these out, and go to another address than the one that was read.
  const url = !/\p{Cc}/u.test(text) && URL.canParse(text, page) ? new URL(text, page) : undefined;
  const fromPage = new URL(page).protocol;
  if (!url || !["http:", "https:", fromPage].includes(url.protocol)) {
    throw refuse(`${named} cannot come from ${quoted(text)}: it is not an address of a file`, HTTP_ONLY);
  }
  if (url.username || url.password) {
    throw refuse(`${named} has an address that holds a password`, "Use an address without one.");
  }
  url.hash = "";
  return url.href;
}

const HTTP_ONLY = "Use an http or https address.";

function memory(text: string | null): number | undefined {
  if (text === null || text === "") return undefined;
  const memoryMiB = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (memoryMiB >= MEMORY_MIB.min && memoryMiB <= MEMORY_MIB.max) return memoryMiB;
  throw refuse(
    `The link asks for memory=${quoted(text)}`,
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
