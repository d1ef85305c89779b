import { parentPort, workerData } from "node:worker_threads";
import { toByreError } from "../errors.ts";
import { JobRunner, type JobSetup } from "./worker-job.ts";
import type { WorkerReply, WorkerRequest } from "./worker-pool.ts";

/** What runs in each thread of a conversion: jobs in, results out, in the order they came. */
async function main(): Promise<void> {
  const port = parentPort;
  if (!port) throw new Error("This runs in a worker thread only.");
  const reply = (message: WorkerReply, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
  // Jobs may come before the files are open: they wait in the port until it is listened to.
  const runner = await JobRunner.open(workerData as JobSetup).catch((error: unknown) => plainError(error));
  port.on("message", (job: WorkerRequest) => {
    if (!(runner instanceof JobRunner)) return reply({ error: runner });
    try {
      const result = runner.run(job);
      reply({ result }, [result.sizes.buffer, result.bytes.buffer]);
    } catch (error) {
      reply({ error: plainError(error) });
    }
  });
}

/** An error loses its class on the way between threads; its parts do not. */
function plainError(error: unknown): NonNullable<WorkerReply["error"]> {
  const { code, message, data } = toByreError(error);
  return { code, message, data };
}

void main();
