import {
  Z_BUF_ERROR,
  Z_DEFAULT_STRATEGY,
  Z_FINISH,
  Z_STREAM_END,
  ZStream,
  zlibDeflate,
  zlibDeflateEnd,
  zlibDeflateInit2,
  zlibInflate,
  zlibInflateEnd,
  zlibInflateInit2,
} from "pako";

/**
 * What one compression type does with a cluster. Everything that waits (loading a decoder) is done before:
 * these calls are synchronous, so that an operation of the device stays within one turn.
 */
export interface ClusterCodec {
  /**
   * Unpacks one cluster. What follows the compressed data is not looked at: its length is only known in
   * whole sectors.
   *
   * @returns the plain cluster; undefined when the data is damaged, or is not exactly one cluster.
   */
  decompress(input: Uint8Array, clusterSizeBytes: number): Uint8Array | undefined;

  /**
   * How much of a compressed cluster's sectors is its own data: what follows is another's.
   *
   * @returns undefined when the data is damaged.
   */
  packedLength(input: Uint8Array, clusterSizeBytes: number): number | undefined;

  /**
   * Packs one cluster.
   *
   * @param level zlib 1 to 9, zstd 1 to 22: from fast to small. Default: the library's own.
   * @returns the compressed data, or undefined when it would not be smaller than the cluster.
   */
  compress(cluster: Uint8Array, level?: number): Uint8Array | undefined;
}

/** The compression type of most images, ready at once. */
export const zlibCodec: ClusterCodec = {
  decompress: (input, clusterSizeBytes) => inflateCluster(input, clusterSizeBytes),
  packedLength: (input, clusterSizeBytes) => inflate(input, clusterSizeBytes)?.inputBytes,
  compress: (cluster, level) => deflateCluster(cluster, level),
};

/**
 * The codec of an image's compression type. The zstd decoder is loaded when first asked for, so that pages
 * that meet no zstd image do not fetch it.
 *
 * @throws ByreError INTERNAL when the zstd decoder cannot be started.
 */
export async function loadCodec(type: "zlib" | "zstd"): Promise<ClusterCodec> {
  if (type === "zlib") return zlibCodec;
  const { loadZstd } = await import("./zstd.ts");
  return loadZstd();
}

/** QEMU reads windows of up to 15 bits. Negative: raw deflate, no zlib header. */
const INFLATE_WINDOW_BITS = -15;
/** The format's window for what is written. */
const DEFLATE_WINDOW_BITS = -12;
const DEFLATE_METHOD = 8;
const DEFLATE_MEMORY_LEVEL = 8;

/**
 * Inflates one cluster. The input may go on after the end of the deflate stream (a compressed cluster's
 * length is rounded up to whole sectors); what follows is not looked at.
 *
 * @param input raw deflate data, with trailing bytes allowed.
 * @param clusterSizeBytes length of the plain cluster.
 * @returns the plain cluster; undefined when the data is damaged or shorter than a cluster.
 */
export function inflateCluster(input: Uint8Array, clusterSizeBytes: number): Uint8Array | undefined {
  return inflate(input, clusterSizeBytes)?.output;
}

function inflate(
  input: Uint8Array,
  clusterSizeBytes: number,
): { output: Uint8Array; inputBytes: number } | undefined {
  const output = new Uint8Array(clusterSizeBytes);
  const stream = new ZStream();
  stream.input = input;
  stream.avail_in = input.length;
  stream.output = output;
  stream.avail_out = clusterSizeBytes;
  if (zlibInflateInit2(stream, INFLATE_WINDOW_BITS) !== 0) return undefined;
  const status = zlibInflate(stream, Z_FINISH);
  zlibInflateEnd(stream);
  const whole = stream.avail_out === 0 && (status === Z_STREAM_END || status === Z_BUF_ERROR || status === 0);
  return whole ? { output, inputBytes: input.length - stream.avail_in } : undefined;
}

/**
 * Deflates one cluster.
 *
 * @param level zlib's 1 (fast) to 9 (small).
 * @returns raw deflate data, or undefined when it would not be smaller than the cluster.
 */
export function deflateCluster(cluster: Uint8Array, level = 6): Uint8Array | undefined {
  const output = new Uint8Array(cluster.length - 1);
  const stream = new ZStream();
  stream.input = cluster;
  stream.avail_in = cluster.length;
  stream.output = output;
  stream.avail_out = output.length;
  zlibDeflateInit2(
    stream,
    level,
    DEFLATE_METHOD,
    DEFLATE_WINDOW_BITS,
    DEFLATE_MEMORY_LEVEL,
    Z_DEFAULT_STRATEGY,
  );
  const status = zlibDeflate(stream, Z_FINISH);
  const lengthBytes = output.length - stream.avail_out;
  zlibDeflateEnd(stream);
  return status === Z_STREAM_END ? output.slice(0, lengthBytes) : undefined;
}
