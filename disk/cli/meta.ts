import { Command } from "commander";
import {
  addImageOptions,
  collect,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
  outputOption,
} from "./common-options.ts";
import {
  exportMetadata,
  getMetadata,
  importMetadata,
  listMetadata,
  setMetadata,
  unsetMetadata,
} from "./meta-work.ts";
import type { Out } from "./out.ts";

const EXIT_CODES = {
  0: "it is done",
  1: "it is not: no such key, a value there is no room for, or an image that cannot be opened",
};

export function createCommand(out: Out): Command {
  const command = new Command("meta")
    .description(
      "Reads and writes what an image says of itself: name, icon, licence, and the machine it wants. " +
        "docs/metadata.md lists the keys that mean something; any other is yours.",
    )
    .usage("list|get|set|unset|export|import [options] FILE ...")
    .addHelpText(
      "after",
      helpText(
        [
          'byre meta set disk.qcow2 "appliance.name=Tiny Linux" machine.memory=128',
          "byre meta get disk.qcow2 appliance.name",
          "byre meta export disk.qcow2 > meta.json && byre meta import other.qcow2 meta.json",
        ],
        EXIT_CODES,
      ),
    );
  const add = (name: string, description: string, example: string): Command => {
    const below = addImageOptions(new Command(name).description(description).argument("<file>", "the image"));
    below.addHelpText("after", helpText([example], EXIT_CODES));
    command.addCommand(below);
    return below;
  };
  add("list", "Prints every key and its value, one a line.", "byre meta list disk.qcow2")
    .addOption(outputOption())
    .action(async (file: string, values: ImageOptionValues & { output: "human" | "json" }) => {
      await listMetadata(file, values.output, imageOptionsOf(values), out);
    });
  add("get", "Prints the value of a key, and nothing else.", "byre meta get disk.qcow2 appliance.name")
    .argument("<key>", "the key")
    .action(async (file: string, key: string, values: ImageOptionValues) => {
      await getMetadata(file, key, imageOptionsOf(values), out);
    });
  add(
    "set",
    "Sets keys to values; all of them or, when one cannot be, none.",
    "byre meta set disk.qcow2 machine.memory=128 --from-file appliance.license=LICENSE",
  )
    .argument("[pairs...]", "KEY=VALUE")
    .option("--from-file <pair>", "KEY=PATH: the value is what is in the file", collect)
    .action(async (file: string, pairs: string[], values: ImageOptionValues & { fromFile?: string[] }) => {
      await setMetadata(file, pairs, values.fromFile ?? [], imageOptionsOf(values), out);
    });
  add(
    "unset",
    "Removes keys; all of them or, when one is not there, none.",
    "byre meta unset disk.qcow2 appliance.icon",
  )
    .argument("<keys...>", "the keys")
    .action(async (file: string, keys: string[], values: ImageOptionValues) => {
      await unsetMetadata(file, keys, imageOptionsOf(values), out);
    });
  add(
    "export",
    "Prints all of it as a JSON object of strings.",
    "byre meta export disk.qcow2 > meta.json",
  ).action(async (file: string, values: ImageOptionValues) => {
    await exportMetadata(file, imageOptionsOf(values), out);
  });
  add(
    "import",
    "Sets the keys of a JSON object of strings, as export prints it. Other keys stay, but with --replace.",
    "byre meta import disk.qcow2 meta.json",
  )
    .argument("<json>", "the JSON file; - for standard input")
    .option("--replace", "remove every key that the JSON does not have")
    .action(async (file: string, json: string, values: ImageOptionValues & { replace?: boolean }) => {
      await importMetadata(file, json, values.replace ?? false, imageOptionsOf(values), out);
    });
  return command;
}
