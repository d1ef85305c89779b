import { ByreError } from "../errors.ts";

/** What tells one state of a remote file from another. */
export interface FileIdentity {
  sizeBytes: number;
  etag?: string;
  lastModified?: string;
}

/** The identity that a response names; cross-origin, an ETag is there only when the server exposes it. */
export function identityFrom(headers: Headers, sizeBytes: number): FileIdentity {
  const etag = headers.get("etag");
  const lastModified = headers.get("last-modified");
  return { sizeBytes, ...(etag && { etag }), ...(lastModified && { lastModified }) };
}

/** @throws ByreError FILE_CHANGED naming both, when the two cannot be the same bytes. */
export function checkIdentity(name: string, pinned: FileIdentity, found: FileIdentity): void {
  if (isSameIdentity(pinned, found)) return;
  throw new ByreError(
    "FILE_CHANGED",
    `${name} has changed on its server: it was ${inWords(pinned)}, and is now ${inWords(found)}. ` +
      "What was made over the old one cannot go on over the new one.",
    {
      file: name,
      pinnedSizeBytes: pinned.sizeBytes,
      pinnedEtag: pinned.etag,
      pinnedLastModified: pinned.lastModified,
      foundSizeBytes: found.sizeBytes,
      foundEtag: found.etag,
      foundLastModified: found.lastModified,
    },
  );
}

/**
 * Whether two answers can be of the same bytes. An ETag decides where both have one (weak ones by their value: servers
 * weaken them when they might compress); else Last-Modified, where both have that.
 */
export function isSameIdentity(a: FileIdentity, b: FileIdentity): boolean {
  if (a.sizeBytes !== b.sizeBytes) return false;
  if (a.etag && b.etag) return a.etag.replace(/^W\//, "") === b.etag.replace(/^W\//, "");
  return !a.lastModified || !b.lastModified || a.lastModified === b.lastModified;
}

function inWords({ sizeBytes, etag, lastModified }: FileIdentity): string {
  const parts = [
    `${sizeBytes} bytes`,
    etag && `ETag ${etag}`,
    lastModified && `last modified ${lastModified}`,
  ];
  return parts.filter(Boolean).join(", ");
}
