import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import type { MachineSession } from "../open/machine-session.ts";
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

export async function resetMachine(id: string): Promise<void> {
  const actions = await import("../open/change-machine.ts");
  await closed(id);
  await actions.resetMachine(id, { progress: createProgress(), signal: new AbortController().signal });
}

/**
 * Hands the overlay of the open machine to the person, with what could not be stored in it.
 *
 * @param options.snapshots false leaves the saved states out.
 */
export async function exportOverlay(
  session: MachineSession,
  options: { snapshots?: boolean } = {},
): Promise<void> {
  await save(await session.exportDisk(options), session.name);
}

/** Hands the overlay to the person, from the open machine or from storage. */
export async function exportMachine(record: MachineRecord): Promise<void> {
  const session = opener.session();
  if (session?.id === record.id) return exportOverlay(session);
  const { exportStoredOverlay } = await import("../open/export-overlay.ts");
  await save(await exportStoredOverlay(record), record.name);
}

async function save(overlay: Blob, machineName: string): Promise<void> {
  const [{ saveAs }, { overlayName }] = await Promise.all([
    import("../open/export-overlay.ts"),
    import("../open/machine-disk.ts"),
  ]);
  saveAs(overlay, overlayName(machineName));
}

/** Suspends the open machine and lets go of it. It stays open where that fails. */
export async function suspendMachine(session: MachineSession): Promise<void> {
  await session.suspend();
  await opener.close();
}
