/** The last part of an address, as a file name. */
export function fileNameOf(url: string): string {
  const path = new URL(url).pathname;
  const last = path.slice(path.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(last) || "image";
  } catch {
    return last;
  }
}

/** The last part of a path as images write them, with either slash. */
export function lastPart(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}

/**
 * A name that means a file and nothing else wherever it is written: into an overlay that a person exports
 * and opens elsewhere, `json:` or `nbd:` in front would send QEMU to another place.
 */
export function plainName(name: string): string {
  const plain = lastPart(name)
    .replace(/[^\p{L}\p{N}._+ -]/gu, "_")
    .replace(/^[.-]+/, "_")
    .slice(0, 200);
  return plain || "image";
}
