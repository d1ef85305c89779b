import { parentPort, workerData } from "node:worker_threads";
import { toByreError } from "../errors.ts";
import { type Job, JobRunner, type JobSetup } from "./worker-job.ts";
import type { WorkerReply, WorkerRequest } from "./worker-pool.ts";

/** What runs in each thread of a conversion: jobs in, results out, in the order they came. */
async function main(): Promise<void> {
  const port = parentPort;
  if (!port) throw new Error("This runs in a worker thread only.");
  const reply = (message: WorkerReply, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
  let runner: JobRunner | undefined;
  try {
    runner = await JobRunner.open(workerData as JobSetup);
  } catch (error) {
    reply({ error: plainError(error) });
    return;
  }
  const open = runner;
  port.on("message", (request: WorkerRequest) => {
    if (request === "close") {
      open.close();
      port.close();
      return;
    }
    try {
      const result = open.run(request satisfies Job);
      reply({ result }, [result.sizes.buffer, result.bytes.buffer]);
    } catch (error) {
      reply({ error: plainError(error) });
    }
  });
  reply({ ready: true });
}

/** An error loses its class on the way between threads; its parts do not. */
function plainError(error: unknown): NonNullable<WorkerReply["error"]> {
  const { code, message, data } = toByreError(error);
  return { code, message, data };
}

void main();
