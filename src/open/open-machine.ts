import { type ImportingFile, type Qcow2Device, toByreError } from "../../disk/index.ts";
import { type Machine, type StartFrom, startMachine } from "../../emulator/index.ts";
import { whileMakingFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import { configurationOf, settingsOf } from "../settings/machine-settings.ts";
import { linkedChain, type RemoteOptions } from "./base-chain.ts";
import type { StartWish } from "./base-start.ts";
import { recordOf } from "./change-machine.ts";
import { createSession } from "./create-session.ts";
import { cancelled, fetchEmulatorFiles } from "./emulator-files.ts";
import { fileNameOf, plainName } from "./file-names.ts";
import {
  makeFromFiles,
  makeKept,
  makeThrowAway,
  makeWithDisc,
  type OpenedDisk,
  openKept,
} from "./keep-machine.ts";
import { isPristine } from "./machine-disk.ts";
import { createMachineImport } from "./machine-import.ts";
import type { ImageLink } from "./machine-link.ts";
import type { MachineSession } from "./machine-session.ts";
import { hasDrives, makeDrives } from "./record-drives.ts";
import { RunMark } from "./run-mark.ts";
import { planStart, type StartPlan } from "./start-plan.ts";
import { type AskStart, agreeToStart } from "./start-question.ts";
import { statePacker } from "./state-packer.ts";

/** What is to be opened. `diskOnly`: its disk is booted, whatever saved state it would go on from. */
export type OpenRequest =
  | { readonly kind: "machine"; readonly id: string; readonly diskOnly?: boolean }
  /**
   * `fresh`: makes a new machine even when there is one from this image. `seen`: the person chose it on this page,
   * which told what it is.
   */
  | {
      readonly kind: "image";
      readonly image: ImageLink;
      readonly fresh?: boolean;
      readonly seen?: boolean;
      /** Put on a CD in the drive of the new machine. */
      readonly discFiles?: readonly File[];
      readonly diskOnly?: boolean;
    }
  | { readonly kind: "files"; readonly files: readonly File[]; readonly diskOnly?: boolean };

/** A machine was not switched off: what is lost by going on from its last state, what by booting its disk. */
export interface ResumeQuestion {
  readonly name: string;
  /** Of the state, in milliseconds since 1970. */
  readonly savedAtMs: number;
  /** When the machine was opened that time. */
  readonly lastUsedAtMs: number;
}

export interface OpenMachineOptions extends RemoteOptions {
  /** Resolves with whether to go on from the state; rejects to open nothing. */
  readonly askResume: (question: ResumeQuestion) => Promise<boolean>;
  /** Resolves with whether a new machine may run; rejects to open nothing. Not asked where there is nothing to ask. */
  readonly askStart: AskStart;
}

/**
 * From a request to a running machine: lock, base, overlay, emulator, record.
 *
 * @throws ByreError whatever stands in the way; everything that was opened is closed again, and a machine
 *   that could not be made has left nothing behind.
 */
export async function openMachine(
  request: OpenRequest,
  options: OpenMachineOptions,
): Promise<MachineSession> {
  // Files keep the signal they were opened with. This one ends with the opening, so that what the caller does
  // with its own later cannot stop the machine's fetches.
  const opening = new AbortController();
  const cancel = () => opening.abort();
  if (options.signal.aborted) cancel();
  options.signal.addEventListener("abort", cancel);
  try {
    const open = () => openWith(request, { ...options, signal: opening.signal });
    // A frame of another site may be let store nothing, and a lock is refused there too.
    return isThrownAway(request) ? await open() : await whileMakingFiles(open);
  } finally {
    options.signal.removeEventListener("abort", cancel);
  }
}

async function openWith(request: OpenRequest, options: OpenMachineOptions): Promise<MachineSession> {
  // Both at once: they come over the same line, and a boot needs both.
  const fetching = fetchEmulatorFiles(options.progress, options.signal);
  fetching.catch(() => {});
  const importing: ImportingFile[] = [];
  const opened = await openDisk(request, { ...options, onImporting: (file) => importing.push(file) });
  const { disk, drives, record, name, pins, lock, baseSnapshot } = opened;
  try {
    const plan = await choosePlan(opened, request.diskOnly ?? false, options);
    const { wasm, firmware } = await fetching;
    if (options.signal.aborted) throw cancelled();
    const screenElement = document.createElement("div");
    const startFrom = startFromOf(plan, disk.device, options);
    const settings = settingsOf(opened.wishes, record?.settings);
    const start: StartAnd = (remember) =>
      startAndRemember(
        () =>
          startMachine({
            configuration: configurationOf(settings),
            network: settings.network,
            disks: { hda: disk.device, ...drives.disks },
            firmware,
            wasm,
            screenElement,
            packer: statePacker(),
            ...(startFrom && { startFrom }),
          }),
        remember,
        options.signal,
      );
    const mark = record && new RunMark(record);
    const startIt = async () => {
      if (!record || !mark) return start(async () => {});
      return opened.isNew ? start(() => mark.keep(record)) : startKept(record, mark, plan, start);
    };
    const machine = await startIt();
    const copying =
      record && importing.length > 0
        ? createMachineImport(record.id, importing, record.importPaused ?? false)
        : undefined;
    return createSession({
      record,
      name,
      notes: opened.notes,
      machine,
      disk,
      drives,
      pins,
      baseSnapshot,
      wishes: opened.wishes,
      copying,
      lock,
      mark,
      screenElement,
    });
  } catch (error) {
    // Why it did not start counts, not what could not be put away after it.
    await opened.discard().catch(() => {});
    throw toByreError(error);
  }
}

/** Starts a machine, and remembers it once it runs. */
type StartAnd = (remember: () => Promise<unknown>) => Promise<Machine>;

/** Starts a machine that is kept already, and marks it as on before. */
function startKept(record: MachineRecord, mark: RunMark, plan: Plan, start: StartAnd) {
  const { baseSnapshot } = record;
  return mark.starting(plan.kind === "own" ? plan.state : undefined, () =>
    start(() =>
      library.update(record.id, {
        lastUsedAt: Date.now(),
        ...(plan.kind === "disk" && baseSnapshot && { baseSnapshot: { ...baseSnapshot, diskOnly: true } }),
      }),
    ),
  );
}

/** A machine that runs and cannot be remembered, or was called off meanwhile, is switched off again. */
async function startAndRemember(
  start: () => Promise<Machine>,
  remember: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<Machine> {
  const machine = await start();
  try {
    if (signal.aborted) throw cancelled();
    await remember();
    if (signal.aborted) throw cancelled();
    return machine;
  } catch (error) {
    await machine.close();
    throw error;
  }
}

/** `disk` is a boot that was asked for in the place of a state. */
type Plan = Exclude<StartPlan, { kind: "ask" }> | { readonly kind: "disk" };

/** How to start; asks the person where both ways lose something. */
async function choosePlan(
  { record, disk, drives, baseSnapshot }: OpenedDisk,
  diskOnly: boolean,
  { askResume }: OpenMachineOptions,
): Promise<Plan> {
  if (diskOnly) return { kind: "disk" };
  if (!record) return baseSnapshot ? { kind: "base", snapshot: baseSnapshot } : { kind: "boot" };
  const { device } = disk;
  const { hdb } = drives.disks;
  // The base's memory fits neither disk once that was written to.
  const pristine = (await isPristine(device)) && (!hdb || (await isPristine(hdb)));
  const plan = planStart(record, { snapshots: device.snapshots, pristine });
  if (plan.kind !== "ask") return plan;
  const { name, openedAt: lastUsedAtMs = record.lastUsedAt } = record;
  const goOn = await askResume({ name, savedAtMs: plan.state.atMs, lastUsedAtMs });
  return goOn ? { kind: "own", state: plan.state } : { kind: "boot" };
}

function startFromOf(
  plan: Plan,
  device: Qcow2Device,
  { progress, signal }: RemoteOptions,
): StartFrom | undefined {
  if (plan.kind !== "own" && plan.kind !== "base") return undefined;
  const from = plan.kind === "own" ? device : (device.backing as Qcow2Device);
  const snapshot = plan.kind === "own" ? plan.state.id : plan.snapshot.id;
  // A snapshot of the disk alone has nothing to start from: its disk, which the overlay is over, is booted.
  const { vmStateBytes = 0 } = from.snapshots.find(({ id }) => id === snapshot) ?? {};
  if (vmStateBytes === 0 && plan.kind === "base") return undefined;
  progress.begin("state", "Memory");
  return {
    device: from,
    snapshot,
    signal,
    onProgress: ({ loadedBytes, totalBytes }) => progress.advance("state", loadedBytes, totalBytes),
  };
}

/** A page of another site is not handed what the person keeps either. */
export function isThrownAway(request: OpenRequest): boolean {
  return request.kind === "image" && (request.image.ephemeral || request.image.embed !== undefined);
}

async function openDisk(request: OpenRequest, options: OpenMachineOptions): Promise<OpenedDisk> {
  const { diskOnly } = request;
  const agree: StartWish["agree"] = (start, base) => agreeToStart(request, start, base, options.askStart);
  if (request.kind === "machine") return openKept(await recordOf(request.id), options);
  if (request.kind === "files") return makeFromFiles(request.files, options, { diskOnly, agree });
  const { image, fresh } = request;
  const { memoryMiB, snapshot, network } = image;
  const secondDisk = image.drives.hdb !== undefined;
  const wish = { memoryMiB, snapshot, secondDisk, network, diskOnly, agree };
  const link = { drives: image.drives, options };
  if (isThrownAway(request)) return makeThrowAway(linkedChain(image.url, options), nameOf(image), wish, link);
  const known = fresh ? undefined : await machineFrom(image);
  if (known) return openKept(known, options);
  if (request.discFiles)
    return makeWithDisc(linkedChain(image.url, options), nameOf(image), wish, request.discFiles, options);
  return makeKept(linkedChain(image.url, options), nameOf(image), wish, () =>
    makeDrives(image.drives, true, options),
  );
}

/** The machine made from an image and used last; a link opened twice leads to the same machine. */
export async function machineFrom(image: ImageLink): Promise<MachineRecord | undefined> {
  const records = await library.list();
  const { snapshot } = image;
  // A state that a link names has its own memory, whatever else the link says.
  const memoryMiB = snapshot === undefined ? image.memoryMiB : undefined;
  return records.find(
    ({ base, baseSnapshot, configuration, drives }) =>
      base.source.kind === "url" &&
      base.source.url === image.url &&
      hasDrives(drives, image.drives) &&
      (snapshot === undefined || snapshot === baseSnapshot?.name || snapshot === baseSnapshot?.id) &&
      (memoryMiB === undefined || configuration.memoryMiB === memoryMiB),
  );
}

/** For an image that does not say what it is called. */
function nameOf({ url }: ImageLink): string {
  return plainName(fileNameOf(url));
}
