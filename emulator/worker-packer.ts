import { ByreError } from "../disk/index.ts";
import type { StatePacker } from "./state-packer.ts";
import type { PackerAnswer, PackerWork } from "./state-packer-worker.ts";

/** What more threads than this could do is no longer what a save waits for. */
const MAX_WORKERS = 4;

/**
 * A packer in workers, which are made when there is something to do for the first time.
 *
 * @param create makes a worker that runs state-packer-worker.ts.
 * @param count how many. Default: as many as there are processors, at most 4.
 */
export function createWorkerPacker(
  create: () => Worker,
  count = Math.min(MAX_WORKERS, Math.max(1, navigator.hardwareConcurrency)),
): StatePacker {
  const threads = new Set<PackerThread>();
  let closed = false;
  const ask = (work: PackerWork, transfer: ArrayBuffer[]): Promise<PackerAnswer> => {
    if (closed) return Promise.reject(new ByreError("CLOSED", "What packs saved states is closed."));
    // The least busy one; a new one as long as all have work.
    let thread = [...threads].reduce<PackerThread | undefined>(
      (least, each) => (least && least.waiting <= each.waiting ? least : each),
      undefined,
    );
    if (!thread || (thread.waiting > 0 && threads.size < count)) {
      const made = createThread(create(), () => threads.delete(made));
      threads.add(made);
      thread = made;
    }
    return thread.ask(work, transfer);
  };
  return {
    // The guest wants a processor for itself while a state is packed.
    parallel: Math.max(1, count - 1),
    async pack(clusters, type) {
      const buffers = clusters.map(({ bytes }) => bytes.buffer);
      const answer = await ask({ kind: "pack", clusters, type }, buffers);
      return "packed" in answer ? [...answer.packed] : refuse(answer);
    },
    async unpack(packed, clusterSizeBytes, type) {
      const answer = await ask({ kind: "unpack", packed, clusterSizeBytes, type }, []);
      return "plain" in answer ? [...answer.plain] : refuse(answer);
    },
    close() {
      closed = true;
      for (const thread of threads) thread.close();
    },
  };
}

function refuse(answer: PackerAnswer): never {
  throw new ByreError("INTERNAL", "failed" in answer ? answer.failed : "A worker gave the wrong answer.");
}

interface PackerThread {
  /** Pieces of work it has not answered yet. */
  readonly waiting: number;
  ask(work: PackerWork, transfer: ArrayBuffer[]): Promise<PackerAnswer>;
  close(): void;
}

/** @param onEnd called when it has failed, or was closed: it takes no more work. */
function createThread(worker: Worker, onEnd: () => void): PackerThread {
  const waiting: { resolve(answer: PackerAnswer): void; reject(error: ByreError): void }[] = [];
  // A worker that failed may be silent from now on, or answer what nobody waits for any more.
  const end = (message: string, cause?: unknown) => {
    worker.terminate();
    onEnd();
    for (const { reject } of waiting.splice(0)) reject(new ByreError("INTERNAL", message, {}, cause));
  };
  worker.onmessage = ({ data }: MessageEvent<PackerAnswer>) => waiting.shift()?.resolve(data);
  worker.onerror = (event) => {
    // Whoever waits hears of it.
    event.preventDefault();
    end(`The worker that packs saved states failed: ${event.message ?? "it could not be loaded."}`);
  };
  worker.onmessageerror = () => end("The worker that packs saved states gave no answer.");
  return {
    get waiting() {
      return waiting.length;
    },
    ask: (work, transfer) =>
      new Promise((resolve, reject) => {
        worker.postMessage(work, transfer);
        waiting.push({ resolve, reject });
      }),
    close: () => end("What packs saved states was closed."),
  };
}
