import { library } from "../library/library.ts";
import type { PinnedFile } from "../library/machine-record.ts";
import type { ImageLink, LinkDrives } from "../open/machine-link.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { opener } from "../open/opener.ts";

/** Where others can have what a machine was made of. */
export type ShareSource = Pick<ImageLink, "url" | "drives" | "snapshot">;

/**
 * The image on a server that a machine was made of, with what is in its other drives.
 *
 * @returns undefined when some of it is in this browser alone.
 * @throws ByreError STORAGE.
 */
export async function shareSource(session: MachineSession): Promise<ShareSource | undefined> {
  const record = session.id === undefined ? undefined : await library.get(session.id);
  if (!record) {
    const state = opener.state();
    return state.phase === "open" && state.session === session && state.request.kind === "image"
      ? state.request.image
      : undefined;
  }
  const { base, bootsFrom, baseSnapshot, drives: { hdb, cdrom, floppy } = {} } = record;
  const pins = { hdb: hdb?.base, cdrom, floppy };
  const drives = Object.entries(pins).flatMap(([drive, pin]) => (pin ? [[drive, urlOf(pin)] as const] : []));
  const url = bootsFrom === undefined ? urlOf(base) : undefined;
  if (url === undefined || drives.some(([, address]) => address === undefined)) return undefined;
  return { url, drives: Object.fromEntries(drives) as LinkDrives, snapshot: baseSnapshot?.id };
}

function urlOf({ source }: PinnedFile): string | undefined {
  return source.kind === "url" ? source.url : undefined;
}
