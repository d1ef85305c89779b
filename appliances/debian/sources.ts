/** Where the host fetches Debian from: the mirrors its own administrator chose. */
export interface DebianMirrors {
  /** URI of the main archive. */
  archive: string;
  /** URI of the security archive; absent when the host does not use one. */
  security: string | undefined;
}

/** The archive's folder is called `debian` on every mirror; a snapshot adds a time. */
const ARCHIVE = /\/debian(\/\d{8}T\d{6}Z)?\/?$/;
const SECURITY = /\/debian-security(\/\d{8}T\d{6}Z)?\/?$/;

/**
 * Finds Debian's mirrors among the host's apt sources, in either of apt's two notations.
 * Lists of other vendors are passed over: the recipe needs nothing of theirs and their failures are not ours.
 * @param contents what /etc/apt/sources.list and /etc/apt/sources.list.d/*.list and *.sources hold
 */
export function findDebianMirrors(contents: readonly string[]): DebianMirrors | undefined {
  const uris = contents.flatMap(sourceUris);
  const archive = uris.find((uri) => ARCHIVE.test(uri));
  if (archive === undefined) return undefined;
  return { archive, security: uris.find((uri) => SECURITY.test(uri)) };
}

function sourceUris(content: string): string[] {
  const uris: string[] = [];
  for (const line of content.split("\n")) {
    const oneLine = /^\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?(\S+)\s/.exec(line);
    const stanza = /^URIs:\s*(.+)$/i.exec(line);
    if (oneLine?.[1] !== undefined) uris.push(oneLine[1]);
    if (stanza?.[1] !== undefined) uris.push(...stanza[1].trim().split(/\s+/));
  }
  return uris;
}
