import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import type { MachineSession, WorkOptions } from "../open/machine-session.ts";
import { opener } from "../open/opener.ts";
import { createProgress } from "../open/progress.ts";

/**
 * A machine that is open in this tab is closed first: what follows throws away what is on its disk, so what
 * cannot be stored any more (a full disk may be why it is deleted) is given up.
 */
async function closed(id: string): Promise<void> {
  const session = opener.session();
  if (session?.id !== id) return;
  await session.powerOff().catch(() => session.powerOff().catch(() => {}));
  await opener.close();
}

export async function renameMachine(id: string, name: string): Promise<void> {
  await library.update(id, { name });
}

export async function deleteMachine(id: string): Promise<void> {
  const actions = await import("../open/change-machine.ts");
  await closed(id);
  await actions.deleteMachine(id);
}

/** A machine that is open in this tab gives its copying up itself, and runs on. */
export async function deleteUnfinishedCopy(id: string, fileId: string): Promise<void> {
  const session = opener.session();
  if (session?.id === id && session.copying) {
    await session.copying.cancel();
    await library.update(id, { importPaused: true });
    return;
  }
  const actions = await import("../open/change-machine.ts");
  await actions.deleteUnfinishedCopy(id, fileId);
}

export async function resetMachine(id: string): Promise<void> {
  const actions = await import("../open/change-machine.ts");
  await closed(id);
  await actions.resetMachine(id, { progress: createProgress(), signal: new AbortController().signal });
}

/** What of a machine's disk a person wants as a file. */
export interface ExportChoice {
  /** The whole disk; else what the machine wrote alone. */
  readonly flatten: boolean;
  readonly compress?: boolean;
  readonly snapshots: boolean;
}

/**
 * Writes a machine's disk into a file that the person chooses, from the open machine or from storage.
 *
 * @returns what the file was called at first; undefined when the person chose none.
 */
export async function exportMachine(
  machine: MachineRecord | MachineSession,
  choice: ExportChoice,
  work: WorkOptions = {},
): Promise<string | undefined> {
  const [{ saveFile }, { exportStoredDisk }, { overlayName }] = await exporting();
  const open = opener.session();
  const session = "exportDiskTo" in machine ? machine : open?.id === machine.id ? open : undefined;
  const fileName = choice.flatten ? `${machine.name}.qcow2` : overlayName(machine.name);
  const options = { ...choice, ...work };
  const written = await saveFile(fileName, async (target) => {
    if (session) await session.exportDiskTo(target, options);
    else if (!("exportDiskTo" in machine)) await exportStoredDisk(machine, target, options);
  });
  return written ? fileName : undefined;
}

/** Hands the overlay of the open machine to the person at once, with what could not be stored in it. */
export async function rescueOverlay(session: MachineSession): Promise<void> {
  const [{ download }, , { overlayName }] = await exporting();
  download(await session.exportDisk(), overlayName(session.name));
}

/** Hands the overlay of a machine that cannot be opened to the person. */
export async function rescueStoredOverlay(record: MachineRecord): Promise<void> {
  const [{ download }, { asBlob, exportStoredDisk }, { overlayName }] = await exporting();
  download(await asBlob((target) => exportStoredDisk(record, target)), overlayName(record.name));
}

function exporting() {
  return Promise.all([
    import("../open/save-file.ts"),
    import("../open/export-disk.ts"),
    import("../open/machine-disk.ts"),
  ]);
}

/** Suspends the open machine and lets go of it. It stays open where that fails. */
export async function suspendMachine(session: MachineSession): Promise<void> {
  await session.suspend();
  await opener.close();
}
