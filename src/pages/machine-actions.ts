import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
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

/** Hands the overlay to the person, from the open machine or from storage. */
export async function exportMachine(record: MachineRecord): Promise<void> {
  const { exportStoredOverlay, saveAs } = await import("../open/export-overlay.ts");
  const { overlayName } = await import("../open/machine-disk.ts");
  const session = opener.session();
  const blob =
    session?.id === record.id
      ? await session.exportDisk({ flatten: false })
      : await exportStoredOverlay(record);
  saveAs(blob, overlayName(record.name));
}
