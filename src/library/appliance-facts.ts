import { ByreError, metadataOf, parseHeader, type Qcow2Header } from "../../disk/index.ts";
import { type ApplianceDescription, describeAppliance } from "../appliance/appliance-description.ts";
import { oneLine } from "../appliance/plain-text.ts";

/** What a look at the first bytes of an appliance shows. Everything in it is a stranger's word, cleaned and bounded. */
export type ApplianceFacts =
  | PresentAppliance
  /** There is no image: the server says so, or answers with something else. */
  | { readonly state: "absent"; readonly message: string }
  /** There is an image, and it cannot be run: damaged, or of a version that is not read here. */
  | { readonly state: "damaged"; readonly message: string }
  /** The server could not be asked. */
  | { readonly state: "unreachable"; readonly message: string };

export interface PresentAppliance {
  readonly state: "present";
  readonly description: ApplianceDescription;
  /** All that the image says of itself, by key, as it stands there: for showing as text. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Why it says nothing, where what it says cannot be read. */
  readonly problem: string | undefined;
  /** Undefined where the server does not say. */
  readonly fileBytes: number | undefined;
  readonly diskBytes: number;
  /** It goes on from a saved state instead of booting. */
  readonly startsAtOnce: boolean;
  /** The image that it is built on, by the name it states. */
  readonly backingName: string | undefined;
}

/** Addresses are names of backing files too. */
const MAX_BACKING_NAME_LENGTH = 255;

/** What a list needs of an appliance: short texts only, so that a thousand hostile images fill no memory. */
export type ListedFacts = Exclude<ApplianceFacts, PresentAppliance> | ListedAppliance;

export interface ListedAppliance
  extends Pick<PresentAppliance, "state" | "problem" | "fileBytes" | "diskBytes" | "startsAtOnce">,
    Pick<ApplianceDescription, "name" | "summary" | "vendor" | "icon"> {}

export function listedFacts(facts: ApplianceFacts): ListedFacts {
  if (facts.state !== "present") return facts;
  const { state, problem, fileBytes, diskBytes, startsAtOnce } = facts;
  const { name, summary, vendor, icon } = facts.description;
  return { state, problem, fileBytes, diskBytes, startsAtOnce, name, summary, vendor, icon };
}

/** The most that is asked for: a cluster of QEMU's own size, which has room for all that an image may say. */
export const FACTS_BYTES = 64 * 1024;
/** A server that answers drop by drop is not waited for. */
const TIME_LIMIT_MS = 20_000;

/**
 * Reads what an image says of itself, and how large it is, with one request for its first `FACTS_BYTES`.
 *
 * @param url absolute.
 * @throws only what `signal` was aborted with.
 */
export async function readApplianceFacts(
  url: string,
  signal: AbortSignal,
  timeLimitMs = TIME_LIMIT_MS,
): Promise<ApplianceFacts> {
  try {
    const first = await fetchFirst(url, AbortSignal.any([signal, AbortSignal.timeout(timeLimitMs)]));
    return "state" in first ? first : factsOf(first.bytes, first.fileBytes, url);
  } catch (error) {
    signal.throwIfAborted();
    const late = error instanceof Error && error.name === "TimeoutError";
    const host = new URL(url).host;
    return {
      state: "unreachable",
      message: late
        ? `${host} does not answer.`
        : `${host} cannot be reached, or does not let other sites read its files (CORS).`,
    };
  }
}

interface FirstBytes {
  readonly bytes: Uint8Array;
  readonly fileBytes: number | undefined;
}

async function fetchFirst(url: string, signal: AbortSignal): Promise<FirstBytes | ApplianceFacts> {
  const response = await fetch(url, {
    headers: { Range: `bytes=0-${FACTS_BYTES - 1}` },
    // Chrome's cache may answer a later range with this one; see also the driver's own requests.
    cache: "no-store",
    signal,
  });
  const { status, headers } = response;
  if (status === 404 || status === 410 || status === 403)
    return { state: "absent", message: `Its file is not there: the server answers ${status}.` };
  if (!response.ok || !response.body)
    return { state: "unreachable", message: `The server answers ${status} for its file.` };
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("Content-Range") ?? "");
  if (status === 206 && range && range[1] !== "0")
    return {
      state: "unreachable",
      message: "The server sends another part of its file than it was asked for.",
    };
  // The length of what was packed on the way is not the file's.
  const whole =
    status === 200 && !headers.has("Content-Encoding") ? headers.get("Content-Length") : undefined;
  const fileBytes = Number(range?.[2] ?? whole ?? Number.NaN);
  return {
    bytes: await firstBytes(response.body, FACTS_BYTES),
    fileBytes: Number.isSafeInteger(fileBytes) && fileBytes > 0 ? fileBytes : undefined,
  };
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

/**
 * What the beginning of an image says.
 *
 * @param bytes at most `FACTS_BYTES` of it.
 * @param url for messages.
 */
export function factsOf(bytes: Uint8Array, fileBytes: number | undefined, url: string): ApplianceFacts {
  let header: Qcow2Header;
  try {
    header = parseHeader(inWholeCluster(bytes), url);
  } catch (error) {
    if (!(error instanceof ByreError)) throw error;
    // A server may answer a missing file with a page and status 200, so the bytes decide.
    return error.code === "NOT_QCOW2"
      ? { state: "absent", message: "What the server sends is no disk image." }
      : { state: "damaged", message: "Its file is damaged, or of a kind that is not read here." };
  }
  const { metadata, problem } = metadataIn(header, url);
  const description = describeAppliance(metadata);
  return {
    state: "present",
    description,
    metadata,
    problem,
    fileBytes,
    diskBytes: header.sizeBytes,
    startsAtOnce: description.snapshot !== undefined && header.snapshotCount > 0,
    backingName: header.backingName && oneLine(header.backingName, MAX_BACKING_NAME_LENGTH),
  };
}

const CLUSTER_BITS_OFFSET = 20;
const MAX_CLUSTER_BITS = 21;

/**
 * A cluster longer than what is fetched reads as zeros from there, which ends the list of what it says. Nobody but a
 * hostile image has more than 64 KiB before its description.
 */
export function inWholeCluster(bytes: Uint8Array): Uint8Array {
  if (bytes.length < FACTS_BYTES) return bytes;
  const clusterBits = new DataView(bytes.buffer, bytes.byteOffset).getUint32(CLUSTER_BITS_OFFSET);
  if (clusterBits > MAX_CLUSTER_BITS || 2 ** clusterBits <= bytes.length) return bytes;
  const cluster = new Uint8Array(2 ** clusterBits);
  cluster.set(bytes);
  return cluster;
}

function metadataIn(
  header: Qcow2Header,
  url: string,
): { metadata: ReadonlyMap<string, string>; problem: string | undefined } {
  try {
    return { metadata: metadataOf(header, url), problem: undefined };
  } catch (error) {
    if (!(error instanceof ByreError)) throw error;
    return { metadata: new Map(), problem: "What it says of itself is damaged and was left out." };
  }
}
