import type { Commands } from "../../disk/cli/index.ts";

/** The commands that know machines. */
export const MACHINE_COMMANDS: Commands = {
  run: { summary: "run a machine in the terminal", load: () => import("./run.ts") },
  snapshot: { summary: "list, make, apply or drop snapshots", load: () => import("./snapshot.ts") },
};
