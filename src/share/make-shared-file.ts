import { library } from "../library/library.ts";
import type { ExportedFile } from "../library/machine-record.ts";
import type { ExportOptions } from "../open/export-disk.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { safeFileName, saveFile } from "../open/save-file.ts";
import { type ImagePrint, watchPrint } from "./image-print.ts";
import { stateNames } from "./image-states.ts";

/**
 * Writes the whole disk of a machine into a file that the person chooses, and remembers what it is known by. Call it in
 * answer to a click.
 *
 * @returns undefined when the person chose no file.
 * @throws ByreError what the export meets.
 */
export async function makeSharedFile(
  session: MachineSession,
  options: Pick<ExportOptions, "compress" | "snapshots">,
): Promise<ExportedFile | undefined> {
  const fileName = safeFileName(`${session.name}.qcow2`);
  const states = options.snapshots === false ? [] : stateNames(session.snapshots());
  let print: ImagePrint | undefined;
  const written = await saveFile(fileName, async (target) => {
    const watched = watchPrint(target);
    await session.exportDiskTo(watched.target, { ...options, flatten: true });
    print = await watched.print();
  });
  if (!written || !print) return undefined;
  const file = { fileName, ...print, states };
  // The person may come back with the address another day.
  if (session.id !== undefined) await library.update(session.id, { shared: file });
  return file;
}
