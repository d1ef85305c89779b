import { ByreError } from "../disk/index.ts";
import type { StatePacker } from "./state-packer.ts";

/**
 * A packer in workers.
 *
 * @param create makes a worker that runs state-packer-worker.ts.
 * @param count how many. Default: one a processor but one, 1 to 4.
 */
export function createWorkerPacker(create: () => Worker, count?: number): StatePacker {
  throw new ByreError("INTERNAL", `Still to come: ${create} ${count}`);
}
