/** What a look at the first bytes of an appliance shows. */
export type ApplianceFacts =
  | { readonly state: "ready"; readonly fileBytes: number | undefined; readonly diskBytes: number }
  | { readonly state: "absent" }
  | { readonly state: "unknown" };

/** The part of a qcow2 header that says how large the disk is: magic, version ... size (bytes 24 to 31). */
const HEADER_BYTES = 32;
const QCOW2_MAGIC = 0x514649fb;

/**
 * Looks whether an image is where it should be, with one small request.
 *
 * A server may answer a missing file with a page and status 200, so the bytes decide, not the status alone.
 */
export async function lookAtAppliance(image: string, signal: AbortSignal): Promise<ApplianceFacts> {
  try {
    const response = await fetch(image, {
      headers: { Range: `bytes=0-${HEADER_BYTES - 1}` },
      // Chrome's cache may answer a later range with this one; see also the driver's own requests.
      cache: "no-store",
      signal,
    });
    if (response.status === 404) return { state: "absent" };
    if (!response.ok || !response.body) return { state: "unknown" };
    const header = await firstBytes(response.body, HEADER_BYTES);
    const view = new DataView(header.buffer);
    if (header.length < HEADER_BYTES || view.getUint32(0) !== QCOW2_MAGIC) return { state: "absent" };
    const total = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
    const fileBytes = total ?? (response.status === 200 ? response.headers.get("Content-Length") : null);
    return {
      state: "ready",
      fileBytes: fileBytes ? Number(fileBytes) : undefined,
      diskBytes: Number(view.getBigUint64(24)),
    };
  } catch {
    return { state: "unknown" };
  }
}

/** Reads no more than is needed: a server without ranges sends the whole image. */
async function firstBytes(body: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  const reader = body.getReader();
  while (filled < length) {
    const { done, value } = await reader.read();
    if (done) break;
    const piece = value.subarray(0, length - filled);
    bytes.set(piece, filled);
    filled += piece.length;
  }
  await reader.cancel();
  return bytes.slice(0, filled);
}
