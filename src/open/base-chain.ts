import {
  type BackingRequest,
  type BackingResolver,
  type BlockFile,
  ByreError,
  createBlobFile,
  type HttpFile,
  openHttpFile,
} from "../../disk/index.ts";
import type { PinnedFile } from "../library/machine-record.ts";
import { fileNameOf, lastPart, plainName } from "./file-names.ts";
import { type ImportHooks, openImported } from "./open-imported.ts";
import type { Progress } from "./progress.ts";
import { parseNameAtSnapshot } from "./snapshot-file-name.ts";

/** A base image and the files behind it, opened one by one as the driver asks for them. */
export interface BaseChain {
  /** Opens the base itself. The caller closes it. */
  openBase(): Promise<BlockFile>;
  /** Supplies what is behind the base; nothing else. */
  resolveBehind: BackingResolver;
  /** The files opened so far, in the order of the chain, as a machine record pins them. */
  pinned(): readonly PinnedFile[];
  /** Those of them that come over HTTP. */
  remote(): HttpFile[];
}

export interface RemoteOptions extends ImportHooks {
  readonly progress: Progress;
  /** Ends the opening; once the machine has started it is not used any more. */
  readonly signal: AbortSignal;
}

/**
 * The chain of an image at an address: what is behind it is looked for in the same folder, under the file
 * name alone, whatever path the image states.
 */
export function linkedChain(url: string, options: RemoteOptions): BaseChain {
  const opened: { file: HttpFile; snapshot: string | undefined }[] = [];
  const open = async (address: string, snapshot?: string) => {
    const file = await openRemote({ url: address, name: plainName(fileNameOf(address)) }, options);
    opened.push({ file, snapshot });
    return file;
  };
  const beside = (fileName: string) => new URL(encodeURIComponent(fileName), url).href;
  return {
    openBase: () => open(url),
    resolveBehind: async ({ name, overlayName }) => {
      const address = beside(lastPart(name));
      const part = parseNameAtSnapshot(lastPart(name));
      try {
        if (!part) return await open(address);
        const { fileName, snapshot } = part;
        return { file: await open(beside(fileName), snapshot), snapshot };
      } catch (error) {
        if (!(error instanceof ByreError) || error.code !== "NOT_FOUND") throw error;
        throw new ByreError(
          "BACKING_MISSING",
          `${overlayName} is built on "${name}", and there is no ${part?.fileName ?? lastPart(name)} beside it. Put that file into ` +
            `the same folder of the server, or download both and drop them on this page together.`,
          { file: overlayName, backing: name, url: address },
          error,
        );
      }
    },
    pinned: () =>
      opened.map(({ file: { name, url: address, identity }, snapshot }) => ({
        name,
        source: { kind: "url", url: address },
        identity,
        snapshot,
      })),
    remote: () => opened.map(({ file }) => file),
  };
}

/** The chain that a machine was made on: exactly those files, or a refusal. */
export function pinnedChain(pins: readonly PinnedFile[], options: RemoteOptions): BaseChain {
  const files: HttpFile[] = [];
  let next = 0;
  // A chain is asked for from the top down, one by one.
  const openNext = async (request: BackingRequest) => {
    const pin = pins[next++];
    if (!pin) throw notPinned(request);
    const file = await openPinned(pin, options, (remote) => files.push(remote));
    return { file, ...(pin.snapshot !== undefined && { snapshot: pin.snapshot }) };
  };
  return {
    openBase: async () => {
      const request = { name: "its base", format: undefined, overlayName: "the machine's overlay" };
      return (await openNext(request)).file;
    },
    resolveBehind: openNext,
    pinned: () => pins,
    remote: () => files,
  };
}

/**
 * Opens a file that a machine was made on, read-only.
 *
 * @param onRemote is told of one that comes over HTTP.
 * @throws ByreError FILE_CHANGED when it is not the same any more; for a copy that is not whole and whose file is not at
 *   hand IMPORT_UNFINISHED; what opening it meets.
 */
export async function openPinned(
  { name, source, identity }: PinnedFile,
  options: RemoteOptions,
  onRemote: (file: HttpFile) => void = () => {},
): Promise<BlockFile> {
  if (source.kind === "import") return openImported({ name, source, identity }, options);
  const file = await openRemote({ url: source.url, name, identity }, options);
  onRemote(file);
  return file;
}

/** A file that is part of a chain, as its snapshot has it if that says one. */
export interface SuppliedFile {
  readonly file: File;
  readonly snapshot: string | undefined;
}

/**
 * The chain of files that a person supplied together: `base` is the one to run, and what is behind it is
 * found among the others by file name.
 */
export function suppliedChain(
  base: File,
  others: readonly File[],
  openFile: (file: File) => Promise<BlockFile> = async (file) =>
    createBlobFile(file, { name: plainName(file.name) }),
): BaseChain & { readonly used: readonly SuppliedFile[] } {
  const used: SuppliedFile[] = [];
  const open = async (file: File, snapshot?: string) => {
    const opened = await openFile(file);
    used.push({ file, snapshot });
    return opened;
  };
  return {
    used,
    openBase: () => open(base),
    resolveBehind: async ({ name, overlayName }) => {
      const file = others.find((other) => other.name === lastPart(name));
      if (file) return open(file);
      const part = parseNameAtSnapshot(lastPart(name));
      const whole = part && others.find((other) => other.name === part.fileName);
      if (whole) return { file: await open(whole, part.snapshot), snapshot: part.snapshot };
      throw new ByreError(
        "BACKING_MISSING",
        `${overlayName} is built on "${name}", which was not supplied. Drop both files on this page together.`,
        { file: overlayName, backing: name },
      );
    },
    pinned: () => [],
    remote: () => [],
  };
}

async function openRemote(
  file: { url: string; name: string; identity?: PinnedFile["identity"] },
  { progress, signal }: RemoteOptions,
): Promise<HttpFile> {
  const { url, name, identity } = file;
  const key = `disk ${url}`;
  progress.begin(key, name, identity?.sizeBytes);
  const opened = await openHttpFile(url, {
    name,
    signal,
    ...(identity && { identity }),
    onProgress: ({ loadedBytes, totalBytes }) => progress.advance(key, loadedBytes, totalBytes),
  });
  progress.finish(key);
  return opened;
}

function notPinned({ name, overlayName }: BackingRequest): ByreError {
  return new ByreError(
    "BACKING_DENIED",
    `${overlayName} asks for "${name}", which was not there when this machine was made. ` +
      "Reset the machine to take its base as it is now, or export its overlay.",
    { file: overlayName, backing: name },
  );
}
