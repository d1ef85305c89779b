import { toByreError } from "../../disk/index.ts";
import { startMachine } from "../../emulator/index.ts";
import { APPLIANCES } from "../library/appliance-list.ts";
import { whileMakingFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { linkedChain, type RemoteOptions } from "./base-chain.ts";
import { recordOf } from "./change-machine.ts";
import { cancelled, fetchEmulatorFiles } from "./emulator-files.ts";
import { fileNameOf, plainName } from "./file-names.ts";
import { makeFromFiles, makeKept, type OpenedDisk, openKept } from "./keep-machine.ts";
import { makeThrowAwayDisk } from "./machine-disk.ts";
import type { ImageLink } from "./machine-link.ts";
import { createSession, type MachineSession } from "./machine-session.ts";

/** What is to be opened. */
export type OpenRequest =
  | { readonly kind: "machine"; readonly id: string }
  /** `fresh`: makes a new machine even when there is one from this image. */
  | { readonly kind: "image"; readonly image: ImageLink; readonly fresh?: boolean }
  | { readonly kind: "files"; readonly files: readonly File[] };

/**
 * From a request to a running machine: lock, base, overlay, record, emulator.
 *
 * @throws ByreError whatever stands in the way; everything that was opened is closed again, and a machine
 *   that could not be made has left nothing behind.
 */
export async function openMachine(request: OpenRequest, options: RemoteOptions): Promise<MachineSession> {
  // Files keep the signal they were opened with. This one ends with the opening, so that what the caller does
  // with its own later cannot stop the machine's fetches.
  const opening = new AbortController();
  const cancel = () => opening.abort();
  if (options.signal.aborted) cancel();
  options.signal.addEventListener("abort", cancel);
  try {
    return await openWith(request, { ...options, signal: opening.signal });
  } finally {
    options.signal.removeEventListener("abort", cancel);
  }
}

async function openWith(request: OpenRequest, options: RemoteOptions): Promise<MachineSession> {
  // Both at once: they come over the same line, and a boot needs both.
  const fetching = fetchEmulatorFiles(options.progress, options.signal);
  fetching.catch(() => {});
  const { disk, record, name, lock, configuration } = await openDisk(request, options, fetching);
  try {
    const { wasm, firmware } = await fetching;
    if (options.signal.aborted) throw cancelled();
    const screenElement = document.createElement("div");
    const machine = await startMachine({
      configuration,
      disks: { hda: disk.device },
      firmware,
      wasm,
      screenElement,
    });
    return createSession({ record, name, notes: notesOn(request), machine, disk, lock, screenElement });
  } catch (error) {
    await disk.device.close();
    lock?.release();
    throw toByreError(error);
  }
}

async function openDisk(
  request: OpenRequest,
  options: RemoteOptions,
  ready: Promise<unknown>,
): Promise<OpenedDisk> {
  if (request.kind === "machine") return openKept(await recordOf(request.id), options);
  if (request.kind === "files") return makeFromFiles(request.files, options, ready);
  const { image, fresh } = request;
  const { memoryMiB } = image;
  if (image.ephemeral) {
    const name = nameOf(image);
    const disk = await makeThrowAwayDisk(linkedChain(image.url, options), name);
    const configuration = memoryMiB === undefined ? {} : { memoryMiB };
    return { disk, record: undefined, name, lock: undefined, configuration };
  }
  const known = fresh ? undefined : await machineFrom(image);
  if (known) return openKept(known, options);
  const machine = { baseName: nameOf(image), memoryMiB, ready, signal: options.signal };
  return whileMakingFiles(() => makeKept(linkedChain(image.url, options), machine));
}

/** The machine made from an image and used last; a link opened twice leads to the same machine. */
export async function machineFrom(image: ImageLink): Promise<MachineRecord | undefined> {
  const records = await library.list();
  return records.find(
    ({ base, configuration }) =>
      base.source.kind === "url" &&
      base.source.url === image.url &&
      (image.memoryMiB === undefined || configuration.memoryMiB === image.memoryMiB),
  );
}

/** A listed appliance's name, else the image's file name. */
function nameOf({ url }: ImageLink): string {
  const appliance = APPLIANCES.find(({ image }) => new URL(image, document.baseURI).href === url);
  return appliance?.name ?? plainName(fileNameOf(url));
}

function notesOn(request: OpenRequest): string[] {
  if (request.kind !== "image" || request.image.ignored.length === 0) return [];
  const left = request.image.ignored.join(", ");
  return [`The link also asks for ${left}, which this version does not do. It was left out.`];
}
