import type { Command } from "commander";
import type { Out } from "./out.ts";

/**
 * Turns a command's words into what commander is to see, for the few arguments that are no options though
 * they look like one (`resize disk.qcow2 -1G`).
 */
export type PrepareArguments = (words: readonly string[]) => readonly string[];

/** What the module of a command exports. */
export interface CommandModule {
  createCommand(out: Out): Command;
  readonly prepareArguments?: PrepareArguments;
}

interface CommandEntry {
  readonly summary: string;
  load(): Promise<CommandModule>;
}

/** Commands by name. */
export type Commands = Readonly<Record<string, CommandEntry>>;

/**
 * Every command on images, each in a module of its own that is loaded only when it is asked for: `byre info` is to be
 * there in the time a person does not notice.
 */
export const COMMANDS: Commands = {
  amend: { summary: "change what kind of image one is, in place", load: () => import("./amend.ts") },
  check: { summary: "look for damage, and mend it", load: () => import("./check.ts") },
  commit: { summary: "write an image into what is behind it", load: () => import("./commit.ts") },
  compare: { summary: "say whether two images have the same content", load: () => import("./compare.ts") },
  convert: { summary: "copy an image into another format", load: () => import("./convert.ts") },
  create: { summary: "make an image", load: () => import("./create.ts") },
  info: { summary: "say what an image is", load: () => import("./info.ts") },
  io: { summary: "read and write a disk by hand", load: () => import("./io.ts") },
  map: { summary: "say where each part of a disk is stored", load: () => import("./map.ts") },
  measure: { summary: "say how large a new image would be", load: () => import("./measure.ts") },
  meta: { summary: "read and write what an image says of itself", load: () => import("./meta.ts") },
  rebase: { summary: "put an image over another backing file", load: () => import("./rebase.ts") },
  resize: { summary: "change how large a disk is", load: () => import("./resize.ts") },
  serve: { summary: "serve a folder of images to pages", load: () => import("./serve.ts") },
  snapshot: { summary: "list, make, apply or drop snapshots", load: () => import("./snapshot.ts") },
};
