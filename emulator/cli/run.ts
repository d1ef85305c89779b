import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import {
  addImageOptions,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
  type Out,
  warningsTo,
} from "../../disk/cli/index.ts";
import type { MachineConfiguration } from "../machine.ts";
import { checkSnapshotName, SnapshotDisks } from "../snapshot-disks.ts";
import { thenClose } from "./last-words.ts";
import { openMedia } from "./media.ts";
import { ExitError, RunExit } from "./run-exit.ts";
import { runMachine } from "./run-machine.ts";
import { MAX_SECONDS, parseScript } from "./script.ts";
import { endWithTerminal, TerminalWatch } from "./terminal-loss.ts";

interface RunValues {
  readonly hdb?: string;
  readonly cdrom?: string;
  readonly floppy?: string;
  readonly state?: string;
  readonly memory?: number;
  readonly vgaMemory?: number;
  readonly acpi: boolean;
  readonly boot?: MachineConfiguration["bootOrder"];
  readonly snapshot?: boolean;
  readonly loadvm?: string | false;
  readonly savevmOnExit?: string;
  readonly script?: string;
  readonly timeLimit?: number;
}

export function createCommand(out: Out): Command {
  const command = new Command("run")
    .description(
      "Runs a machine in this terminal: what is typed goes to its first serial port, and what it says there is " +
        "shown. Ctrl-A X leaves it, Ctrl-A H lists what else there is.",
    )
    .argument("[file]", "its disk, as qcow2 or raw image; or a CD or a floppy to boot from")
    .option("--hdb <file>", "a second disk")
    .option("--cdrom <file>", "a CD")
    .option("--floppy <file>", "a floppy, as raw image")
    .option("--memory <MiB>", "memory; else what the image asks for, or 128", numberOf("a number of MiB"))
    .option("--vga-memory <MiB>", "memory of the graphics card", numberOf("a number of MiB"))
    .option("--no-acpi", "without ACPI")
    .option("--boot <drive>", "what to boot from: disk, cdrom or floppy", bootOf)
    .option("--snapshot", "keep what the guest writes in memory: the images stay as they are")
    .option("--loadvm <name>", "start from this saved machine, by id or name; the disks go back to it")
    .option("--no-loadvm", "boot, though the image says that it starts from a saved machine")
    .option("--savevm-on-exit <name>", "save the machine under this name when it is left")
    .option("--state <file>", "a qcow2 image for saved machines, where no disk is one; it is made if need be")
    .option("--script <file>", "wait for text and send text, as this file says")
    .option(
      "--time-limit <seconds>",
      "end it after so long",
      numberOf(`a number of seconds, at most ${MAX_SECONDS}`, MAX_SECONDS),
    );
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(
        [
          "byre run disk.qcow2",
          "byre run --snapshot appliance.qcow2",
          "byre run --savevm-on-exit evening disk.qcow2; byre run --loadvm evening disk.qcow2",
          "byre run --script install.script --time-limit 600 -f raw disk.img --cdrom install.iso",
        ],
        {
          [RunExit.OK]: "the guest switched itself off, or it was left",
          [RunExit.FAILED]: "it could not be started, or not be saved; or input or output failed",
          [RunExit.MACHINE_FAILED]: "the guest crashed, or a disk failed",
          [RunExit.SCRIPT_FAILED]: "a script waited for what did not come",
          [RunExit.TIME_LIMIT]: "the time was up",
          [RunExit.INTERRUPTED]: "SIGINT (129 SIGHUP, 143 SIGTERM) ended it; what was written is stored",
        },
      ),
    )
    .action(async (file: string | undefined, values: ImageOptionValues & RunValues) => {
      await run(file, values, out);
    });
}

async function run(file: string | undefined, values: ImageOptionValues & RunValues, out: Out): Promise<void> {
  const { script: scriptPath, savevmOnExit: saveAs } = values;
  const script =
    scriptPath === undefined
      ? undefined
      : {
          name: basename(scriptPath),
          steps: parseScript(await readScript(scriptPath), basename(scriptPath)),
        };
  if (saveAs !== undefined) checkSnapshotName(saveAs);
  const media = await openMedia({
    file,
    image: { ...imageOptionsOf(values), onWarning: warningsTo(out) },
    hdb: values.hdb,
    cdrom: values.cdrom,
    floppy: values.floppy,
    state: values.state,
    throwAway: values.snapshot ?? false,
    saves: saveAs !== undefined,
    snapshot: values.loadvm,
  });
  const { stdin: input, stdout: output, stderr } = process;
  endWithTerminal();
  const watch = new TerminalWatch([input, output, stderr]);
  let unused = true;
  const onStarted = () => {
    unused = false;
  };
  const work = async () => {
    // Before the machine has run for hours.
    if (saveAs !== undefined) new SnapshotDisks(media.disks).checkCanSave();
    if (media.offeredState !== undefined)
      out.err(
        `byre: ${file} has a saved machine to start from, which puts its disk back: --loadvm ${media.offeredState}, ` +
          "or --snapshot to keep the disk.\n",
      );
    await runMachine(
      {
        disks: media.disks,
        configuration: { ...media.configuration, ...configurationOf(values) },
        ...(media.startFrom && { startFrom: media.startFrom }),
      },
      { saveAs, script, timeLimitSeconds: values.timeLimit },
      { streams: { input, output }, out, watch, onStarted },
    );
  };
  await thenClose(work, () => media.close({ unused })).finally(() => watch.stop());
}

async function readScript(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ExitError(RunExit.FAILED, `the script cannot be read: ${reason}`);
  }
}

function configurationOf(values: RunValues): Partial<MachineConfiguration> {
  return {
    ...(values.memory !== undefined && { memoryMiB: values.memory }),
    ...(values.vgaMemory !== undefined && { vgaMemoryMiB: values.vgaMemory }),
    ...(!values.acpi && { acpi: false }),
    ...(values.boot !== undefined && { bootOrder: values.boot }),
  };
}

function numberOf(what: string, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+(\.\d+)?$/.test(text) && number > 0 && number <= most) return number;
    throw new InvalidArgumentError(`It must be ${what}.`);
  };
}

function bootOf(text: string): MachineConfiguration["bootOrder"] {
  if (text === "disk" || text === "cdrom" || text === "floppy") return text;
  throw new InvalidArgumentError("It must be disk, cdrom or floppy.");
}
