import { createWorkerPacker, type StatePacker } from "../../emulator/index.ts";

let packer: StatePacker | undefined;

/** Packs and unpacks saved states in workers of this tab, for every machine that it opens. */
export function statePacker(): StatePacker {
  packer ??= createWorkerPacker(
    () =>
      new Worker(new URL("../../emulator/state-packer-worker.ts", import.meta.url), {
        type: "module",
      }),
  );
  return packer;
}
