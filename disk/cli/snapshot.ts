import { Command } from "commander";
import { ByreError } from "../errors.ts";
import type { Qcow2Device } from "../qcow2/qcow2-device.ts";
import { MAX_SNAPSHOT_NAME_BYTES, type Qcow2Snapshot } from "../qcow2/snapshot-table.ts";
import { addImageOptions, helpText, type ImageOptionValues, imageOptionsOf } from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { parseImageSpec, requestedFormat } from "./image-spec.ts";
import { interruptible } from "./interrupt.ts";
import { openFileSpec } from "./open-file.ts";
import type { OpenImageOptions } from "./open-image.ts";
import { openQcow2Image } from "./open-qcow2.ts";
import { type Out, warningsTo } from "./out.ts";
import { probeFormat } from "./probe-format.ts";
import { readHeader, readSnapshots } from "./read-header.ts";
import { snapshotList } from "./snapshot-list.ts";

/** Prints what is known of an image's snapshots. For the floors above, which know what is in them. */
export type ShowDetails = (spec: string, options: OpenImageOptions, out: Out) => Promise<void>;

interface SnapshotValues {
  readonly details?: boolean;
}

/** What is to be done with which snapshot. */
export type SnapshotAction = { readonly do: "list" | "nothing" } | SnapshotChange;

interface SnapshotChange {
  readonly do: "apply" | "create" | "delete";
  readonly name: string;
}

/** @param showDetails what `--details` does; there is no such option without it. */
export function createCommand(out: Out, showDetails?: ShowDetails): Command {
  const command = new Command("snapshot")
    .description("Lists, makes, goes back to, or drops what an image keeps of its disk at other times.")
    .argument("<file>", "the image")
    .option("-l, --list", "list the snapshots")
    .option("-c, --create <name>", "keep the disk as it is now")
    .option(
      "-a, --apply <snapshot>",
      "put the disk back to this snapshot, by id or name; what it is now is gone",
    )
    .option("-d, --delete <snapshot>", "drop the snapshot of this name")
    .option("-q, --quiet", "taken as qemu-img's: there is nothing it would say");
  if (showDetails) command.option("--details", "list what each takes, and what machine is saved in it");
  // Each time that one stands there: of one that stands twice, the values would have the last alone.
  const actions: SnapshotAction[] = [];
  command.on("option:list", () => actions.push({ do: "list" }));
  for (const what of ["apply", "create", "delete"] as const)
    command.on(`option:${what}`, (name: string) => actions.push({ do: what, name }));
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre snapshot -l disk.qcow2",
          "byre snapshot -c before-upgrade disk.qcow2",
          "byre snapshot -a before-upgrade disk.qcow2",
        ],
        { 0: "it is done", 1: "it is not: no such snapshot, or an image that cannot have any" },
      ),
    )
    .action(async (file: string, values: ImageOptionValues & SnapshotValues) => {
      const action = onlyOne(actions);
      if (!values.details || !showDetails) return await snapshot(file, action, imageOptionsOf(values), out);
      if (action.do !== "nothing")
        throw new ExitError(ExitCode.FAILED, "--details stands alone, without '-l', '-a', '-c', '-d'");
      await showDetails(file, imageOptionsOf(values), out);
    });
}

function onlyOne(actions: readonly SnapshotAction[]): SnapshotAction {
  if (actions.length > 1) throw new ExitError(ExitCode.FAILED, "Cannot mix '-l', '-a', '-c', '-d'");
  return actions[0] ?? { do: "nothing" };
}

/** Does one thing with an image's snapshots. What is behind the image is not opened: it has no part in them. */
export async function snapshot(
  spec: string,
  action: SnapshotAction,
  options: OpenImageOptions,
  out: Out,
): Promise<void> {
  if (!("name" in action)) {
    const snapshots = await read(spec, options);
    // QEMU prints nothing, not even the heading, where there is none.
    if (action.do === "list" && snapshots.length > 0) out.out(`Snapshot list:\n${snapshotList(snapshots)}`);
    return;
  }
  const device = await openQcow2Image(
    spec,
    {
      ...options,
      writable: true,
      noBacking: true,
      onWarning: warningsTo(out),
    },
    `Could not ${action.do} snapshot '${action.name}': only qcow2 images have snapshots`,
  );
  const leaves = () =>
    `${spec} is whole, with or without it; leaked clusters are mended by byre check -r leaks.`;
  try {
    await interruptible(out, { leaves }, () => change(device, action));
  } catch (error) {
    if (!(error instanceof ByreError)) throw error;
    throw new ExitError(
      ExitCode.FAILED,
      `Could not ${action.do} snapshot '${action.name}': ${error.message}`,
    );
  } finally {
    await device.close();
  }
}

async function change(device: Qcow2Device, action: SnapshotChange): Promise<void> {
  const { name } = action;
  // qemu-img counts no instructions, and says 0 of them.
  if (action.do === "create") await device.createSnapshot({ name: cutName(name), icount: 0n });
  else if (action.do === "apply") await device.applySnapshot(name);
  else {
    // Unlike -a, qemu-img goes by the name alone.
    const found = device.snapshots.find((snapshot) => snapshot.name === name);
    if (!found)
      throw new ExitError(ExitCode.FAILED, `Could not delete snapshot '${name}': snapshot not found`);
    await device.deleteSnapshot(found.id);
  }
  await device.flush();
}

/** The format has room for more, but QEMU reads and writes names of 255 bytes at most. */
function cutName(name: string): string {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length <= MAX_SNAPSHOT_NAME_BYTES) return name;
  // A character that would be cut in two goes as a whole.
  return new TextDecoder().decode(bytes.subarray(0, MAX_SNAPSHOT_NAME_BYTES)).replace(/\ufffd$/, "");
}

async function read(spec: string, options: OpenImageOptions): Promise<readonly Qcow2Snapshot[]> {
  const image = parseImageSpec(spec, options);
  const requested = requestedFormat(spec, image, options);
  const file = await openFileSpec(image.file);
  try {
    if ((requested ?? (await probeFormat(file))) !== "qcow2") return [];
    return await readSnapshots(file, await readHeader(file));
  } finally {
    await file.close();
  }
}
