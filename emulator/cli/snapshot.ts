import type { Command } from "commander";
import {
  createSnapshotCommand,
  humanSize,
  inOneLine,
  type OpenImageOptions,
  type Out,
  openQcow2Image,
  warningsTo,
} from "../../disk/cli/index.ts";
import { ByreError, type Qcow2Device, type Qcow2Snapshot } from "../../disk/index.ts";
import { readStateHeader, type StateHeader, stateProblem } from "../index.ts";

/** `byre snapshot`, with a look into the machines that are saved. */
export function createCommand(out: Out): Command {
  return createSnapshotCommand(out, showDetails);
}

/** A paragraph a snapshot: what it takes, and what machine is saved in it. */
async function showDetails(spec: string, options: OpenImageOptions, out: Out): Promise<void> {
  const device = await openQcow2Image(
    spec,
    { ...options, noBacking: true, onWarning: warningsTo(out) },
    `${spec} is no qcow2 image, and only those have snapshots`,
  );
  try {
    const paragraphs: string[] = [];
    for (const snapshot of device.snapshots) paragraphs.push(await describe(device, snapshot));
    out.out(paragraphs.join("\n"));
  } finally {
    await device.close();
  }
}

async function describe(device: Qcow2Device, snapshot: Qcow2Snapshot): Promise<string> {
  const { ownBytes, sharedBytes } = await device.snapshotUsage(snapshot.id);
  const lines: [string, string][] = [
    ["date", new Date(snapshot.dateSeconds * 1000).toISOString().replace(/\.\d+Z$/, "Z")],
    ["takes", `${humanSize(ownBytes)} of its own, and shares ${humanSize(sharedBytes)}`],
    ["disk", humanSize(snapshot.diskBytes)],
    ...(await machineLines(device, snapshot)),
  ];
  const title = `${inOneLine(snapshot.id)}: ${inOneLine(snapshot.name)}`;
  return `${[title, ...lines.map(([name, value]) => `    ${name.padEnd(12)}${value}`)].join("\n")}\n`;
}

async function machineLines(device: Qcow2Device, snapshot: Qcow2Snapshot): Promise<[string, string][]> {
  let header: StateHeader | undefined;
  try {
    header = await readStateHeader(device, snapshot.id);
  } catch (error) {
    // Of another program, or damaged: it says so, and the others are listed all the same.
    if (!(error instanceof ByreError)) throw error;
    return [["machine", inOneLine(error.message)]];
  }
  if (!header) return [["machine", "none: a disk alone"]];
  const { memoryMiB, vgaMemoryMiB, acpi, bootOrder } = header.configuration;
  const problem = stateProblem(header, snapshot.name);
  return [
    [
      "machine",
      `${memoryMiB} MiB, ${vgaMemoryMiB} MiB graphics, ${acpi ? "ACPI" : "no ACPI"}, boots from ${bootOrder}`,
    ],
    ["drives", inOneLine(header.drives.join(" "))],
    ["emulator", inOneLine(header.emulator)],
    ...(problem ? ([["problem", inOneLine(problem.message)]] as [string, string][]) : []),
    ...(header.description ? ([["description", inOneLine(header.description)]] as [string, string][]) : []),
  ];
}
