import type { ClusterCipher } from "./crypt.ts";

/** The cipher of a password. Loaded when first asked for, so that a page without encrypted images is smaller. */
export async function openCipher(password: string | Uint8Array): Promise<ClusterCipher> {
  const { createClusterCipher } = await import("./crypt.ts");
  return createClusterCipher(typeof password === "string" ? new TextEncoder().encode(password) : password);
}
