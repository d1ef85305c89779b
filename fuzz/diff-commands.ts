import { execFile } from "node:child_process";
import type { DiffShape, DiffStep } from "./diff-model.ts";

/** The password of encrypted images. */
export const PASSWORD = "secret";

/** How a program ended. */
export interface Ended {
  readonly code: number;
  readonly output: string;
}

/** One command line: the program's name is put before it, so that the same can be told for `byre`. */
export type Command = readonly string[];

/** Arguments that name an image: its password must come with it when it has one. */
export function imageArguments(shape: DiffShape, path: string): readonly string[] {
  if (!shape.encrypted) return ["-f", "qcow2", path];
  const options = `driver=qcow2,encrypt.key-secret=s,file.filename=${path}`;
  return ["--object", `secret,id=s,data=${PASSWORD}`, "--image-opts", options];
}

/** The command that makes an image of a shape. */
export function createCommand(shape: DiffShape, path: string): Command {
  const { backing, encrypted, version } = shape;
  const options = [`compat=${version === 2 ? "0.10" : "1.1"}`, `cluster_size=${shape.clusterSizeBytes}`];
  if (version === 3)
    options.push(
      `refcount_bits=${shape.refcountBits}`,
      `compression_type=${shape.compression}`,
      `extended_l2=${onOff(shape.extendedL2)}`,
      `lazy_refcounts=${onOff(shape.lazyRefcounts)}`,
    );
  if (shape.preallocation !== "off") options.push(`preallocation=${shape.preallocation}`);
  if (encrypted) options.push("encrypt.format=aes", "encrypt.key-secret=s");
  return [
    "img",
    "create",
    "-q",
    "-f",
    "qcow2",
    ...(encrypted ? ["--object", `secret,id=s,data=${PASSWORD}`] : []),
    ...(backing ? ["-b", `base.${backing.format}`, "-F", backing.format] : []),
    "-o",
    options.join(","),
    path,
    `${shape.sizeBytes}`,
  ];
}

/**
 * The commands of a step.
 *
 * @param sizeBytes the disk's size before it.
 */
export function stepCommands(
  shape: DiffShape,
  step: DiffStep,
  path: string,
  sizeBytes: number,
  patternPath: (pattern: number) => string,
): readonly Command[] {
  const image = imageArguments(shape, path);
  const io = (...commands: string[]): Command => [
    "io",
    "-d",
    "unmap",
    ...commands.flatMap((command) => ["-c", command]),
    ...image,
  ];
  // `qemu-img snapshot` knows no -f.
  const bare = shape.encrypted ? image : [path];
  const from = (source: { value: number } | { pattern: number }) =>
    "value" in source ? `-P ${source.value}` : `-s ${patternPath(source.pattern)}`;
  switch (step.kind) {
    case "write":
      return [io(`write ${from(step.source)} ${step.offset} ${step.length}`)];
    case "zero":
      return [io(`write -z ${step.unmap ? "-u " : ""}${step.offset} ${step.length}`)];
    case "discard":
      return [io(`discard ${step.offset} ${step.length}`)];
    case "compressed":
      return [
        io(
          // QEMU packs nothing over a cluster that is the image's own.
          `discard ${step.offset} ${step.length}`,
          `write -c ${from(step.source)} ${step.offset} ${step.length}`,
        ),
      ];
    case "snapshot":
      return [["img", "snapshot", "-q", "-c", step.name, ...bare]];
    case "apply":
      return [["img", "snapshot", "-q", "-a", step.name, ...bare]];
    case "delete":
      return [["img", "snapshot", "-q", "-d", step.name, ...bare]];
    case "resize": {
      const shrink = step.sizeBytes < sizeBytes ? ["--shrink"] : [];
      const resize: Command = ["img", "resize", "-q", ...shrink, ...image, `${step.sizeBytes}`];
      return [resize];
    }
  }
}

/** Runs a command with QEMU's programs. */
export function runQemu(command: Command, folder: string): Promise<Ended> {
  const [program, ...parameters] = command;
  return new Promise((resolve) => {
    execFile(
      `qemu-${program}`,
      parameters,
      { cwd: folder, encoding: "utf8", timeout: 120_000, maxBuffer: 4 << 20 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 255;
        const output = `${stdout}${stderr}`;
        // qemu-io says of some failures only in words.
        resolve({ code: code === 0 && /failed|error:/i.test(output) ? 1 : code, output });
      },
    );
  });
}

/** The command as one would type it. */
export function commandText(command: Command, programs: "qemu" | "byre"): string {
  const [program, ...parameters] = command;
  const name = programs === "qemu" ? [`qemu-${program}`] : program === "img" ? ["byre"] : ["byre", "io"];
  return [...name, ...parameters]
    .map((part) => (/^[\w@%+=:,./-]+$/.test(part) ? part : `'${part}'`))
    .join(" ");
}

function onOff(value: boolean): "on" | "off" {
  return value ? "on" : "off";
}
