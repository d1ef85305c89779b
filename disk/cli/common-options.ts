import { type Command, InvalidArgumentError, Option } from "commander";
import type { OpenImageOptions } from "./open-image.ts";
import { parseSecrets } from "./secrets.ts";

/** What `addImageOptions` adds, as commander hands it over. */
export interface ImageOptionValues {
  readonly format?: string;
  readonly imageOpts?: boolean;
  readonly object?: readonly string[];
  readonly forceShare?: boolean;
}

/** The options by which every command that opens an image says how. */
export function addImageOptions(command: Command): Command {
  return command
    .option("-f, --format <format>", "the image's format: qcow2 or raw; else it is guessed")
    .option("--image-opts", "the image is given as driver=qcow2,file.filename=NAME,...")
    .option("--object <definition>", "a password: secret,id=ID,data=TEXT or secret,id=ID,file=PATH", collect)
    .option("-U, --force-share", "taken as qemu-img's; byre locks no files");
}

/** @returns what `openImage` is to be told. */
export function imageOptionsOf(values: ImageOptionValues): OpenImageOptions {
  return {
    ...(values.format !== undefined && { format: values.format }),
    ...(values.imageOpts && { imageOpts: true }),
    secrets: parseSecrets(values.object ?? []),
  };
}

/** For options that may be given again and again: `-o a=1 -o b=2`. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** `--output=human|json`. */
export function outputOption(): Option {
  return new Option("--output <format>", "human or json").default("human").argParser((value: string) => {
    if (value === "human" || value === "json") return value;
    throw new InvalidArgumentError("It must be human or json.");
  });
}

/** The part of a command's help after its options. */
export function helpText(examples: readonly string[], exitCodes: Readonly<Record<number, string>>): string {
  const codes = Object.entries(exitCodes).map(([code, meaning]) => `  ${code.padEnd(4)} ${meaning}`);
  return ["", "Exit codes:", ...codes, "", "Examples:", ...examples.map((example) => `  ${example}`)].join(
    "\n",
  );
}
