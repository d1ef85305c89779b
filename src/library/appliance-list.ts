/** Addresses of the images that the gallery offers, and what of the catalogue could not be read. */
export interface ApplianceList {
  /** Absolute, each once, in the catalogue's order. */
  readonly urls: readonly string[];
  /** Why there are none, or fewer than the catalogue has; for people. */
  readonly problem: string | undefined;
}

/** Where the catalogue is, relative to the page. */
export const CATALOG_PATH = "appliances/catalog.json";

const MAX_CATALOG_BYTES = 256 * 1024;
const MAX_APPLIANCES = 1000;
const MAX_URL_LENGTH = 2000;

/**
 * Fetches the catalogue, a list of addresses and nothing else: what the images are they say themselves.
 *
 * @param page address of the page.
 * @throws only what `signal` was aborted with.
 */
export async function fetchApplianceList(page: string, signal: AbortSignal): Promise<ApplianceList> {
  const address = new URL(CATALOG_PATH, page).href;
  try {
    const response = await fetch(address, { signal });
    if (!response.ok) return none(`The server answers ${response.status} for it.`);
    return parseCatalog(await response.text(), address);
  } catch (error) {
    signal.throwIfAborted();
    return none(error instanceof Error ? `${error.message}.` : "");
  }
}

/**
 * Reads the text of a catalogue: a JSON array of addresses, absolute or relative to the catalogue.
 *
 * @param address of the catalogue itself.
 */
export function parseCatalog(text: string, address: string): ApplianceList {
  if (text.length > MAX_CATALOG_BYTES) return none("It is larger than 256 KiB.");
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch {
    return none("It is no JSON.");
  }
  if (!Array.isArray(entries)) return none("It is not a list of addresses.");
  const urls = new Set<string>();
  let skipped = 0;
  for (const entry of entries) {
    const url = imageAddress(entry, address);
    if (url === undefined || urls.size === MAX_APPLIANCES) skipped++;
    else urls.add(url);
  }
  const problem =
    skipped === 0
      ? undefined
      : `${skipped === 1 ? "One entry" : `${skipped} entries`} of ${CATALOG_PATH} cannot be used: each must be an ` +
        `http or https address, at most ${MAX_APPLIANCES} of them.`;
  return { urls: [...urls], problem };
}

function none(why: string): ApplianceList {
  return { urls: [], problem: `The list of appliances (${CATALOG_PATH}) cannot be read. ${why}`.trim() };
}

function imageAddress(entry: unknown, base: string): string | undefined {
  if (typeof entry !== "string" || entry === "" || entry.length > MAX_URL_LENGTH) return undefined;
  if (!URL.canParse(entry, base)) return undefined;
  const url = new URL(entry, base);
  if (!["http:", "https:"].includes(url.protocol) || url.username || url.password) return undefined;
  url.hash = "";
  return url.href;
}
