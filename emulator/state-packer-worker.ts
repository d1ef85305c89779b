import { loadCodec } from "../disk/index.ts";
import {
  COMPRESSION_LEVEL,
  type CompressionType,
  type PackedCluster,
  type PackRequest,
  type PlainCluster,
  packCluster,
  unpackCluster,
} from "./state-packer.ts";

/** What a worker is asked, one piece of work a message; it answers in the same order. */
export type PackerWork =
  | {
      readonly kind: "pack";
      readonly clusters: readonly PackRequest[];
      readonly type: CompressionType | undefined;
    }
  | {
      readonly kind: "unpack";
      readonly packed: readonly Uint8Array<ArrayBuffer>[];
      readonly clusterSizeBytes: number;
      readonly type: CompressionType;
    };

export type PackerAnswer =
  | { readonly packed: readonly PackedCluster[] }
  | { readonly plain: readonly (PlainCluster | undefined)[] }
  | { readonly failed: string };

/** The part of a worker's global scope that is used here; no DOM. */
interface WorkerScope {
  onmessage: ((event: { data: PackerWork }) => void) | null;
  postMessage(answer: PackerAnswer, transfer: readonly ArrayBuffer[]): void;
}

const scope = globalThis as unknown as WorkerScope;
/** Messages that come while a decoder is loaded wait for it. */
let line: Promise<void> = Promise.resolve();
scope.onmessage = ({ data }) => {
  line = line.then(() => answer(data));
};

async function answer(work: PackerWork): Promise<void> {
  try {
    if (work.kind === "pack") {
      const codec = work.type && (await loadCodec(work.type));
      const packed: PackedCluster[] = [];
      for (const cluster of work.clusters)
        packed.push(
          await packCluster(cluster, codec && ((bytes) => codec.compress(bytes, COMPRESSION_LEVEL))),
        );
      const buffers = packed.flatMap(({ bytes, packed }) => [
        bytes.buffer,
        ...(packed ? [packed.buffer] : []),
      ]);
      scope.postMessage({ packed }, buffers);
    } else {
      const codec = await loadCodec(work.type);
      const plain = work.packed.map((bytes) => unpackCluster(codec, bytes, work.clusterSizeBytes));
      scope.postMessage(
        { plain },
        plain.flatMap((cluster) => (cluster ? [cluster.bytes.buffer] : [])),
      );
    }
  } catch (error) {
    scope.postMessage({ failed: error instanceof Error ? error.message : String(error) }, []);
  }
}
