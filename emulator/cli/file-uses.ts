import { statSync } from "node:fs";
import {
  backingSpec,
  type FileSpec,
  hostPath,
  type OpenImageOptions,
  openFileSpec,
  parseImageSpec,
  probeFormat,
  readHeader,
  requestedFormat,
} from "../../disk/cli/index.ts";
import { ByreError } from "../../disk/index.ts";

/** An image that the command line names. */
export interface FileUse {
  /** What it is named as, for messages. */
  readonly as: string;
  readonly spec: string;
  readonly image: OpenImageOptions;
  /** What is behind it is only read, always. */
  readonly isWritten: boolean;
}

/** A file of an image's chain: as a person knows it, and what it is whatever it is called. */
interface ChainFile {
  readonly path: string;
  readonly identity: string;
}

/**
 * Holds every file that is to be written against all others that are in use: whatever keeps tables of such a file in
 * memory would not see what another writes there.
 *
 * @throws ByreError IN_USE for one that is in use twice; what cannot be opened, as whoever opens it later would.
 */
export async function checkUsedOnce(uses: readonly FileUse[]): Promise<void> {
  if (uses.length < 2 || !uses.some(({ isWritten }) => isWritten)) return;
  const chains: { readonly use: FileUse; readonly files: readonly (ChainFile | undefined)[] }[] = [];
  for (const use of uses) chains.push({ use, files: await filesOf(use) });
  for (const { use, files } of chains) {
    const [top] = files;
    if (!use.isWritten || !top) continue;
    for (const other of chains) {
      const at = other.files.findIndex((file) => file?.identity === top.identity);
      if (other.use === use || at < 0) continue;
      const also = at === 0 ? other.use.as : `behind ${other.use.as} (${other.use.spec})`;
      throw new ByreError(
        "IN_USE",
        `${top.path} is ${use.as}, which is written, and also ${also}: it would be damaged. Name another file, or a ` +
          "copy, for one of them.",
        { file: top.path },
      );
    }
  }
}

/** An image's file and those behind it, top first; undefined for one that is no file of this host. */
async function filesOf({ spec, image: options }: FileUse): Promise<(ChainFile | undefined)[]> {
  const image = parseImageSpec(spec, options);
  const files: (ChainFile | undefined)[] = [];
  let format: string | undefined = requestedFormat(spec, image, options);
  let next: FileSpec | undefined = image.file;
  while (next) {
    const file = identify(next);
    // One that is to be made; or one that is behind itself, which whoever opens it refuses.
    if (next.kind === "path" && (!file || files.some((above) => above?.identity === file.identity))) break;
    files.push(file);
    const backing: Backing | undefined = image.noBacking ? undefined : await backingOf(next, format);
    next = backing && backingSpec(next, backing.name);
    format = backing?.format;
  }
  return files;
}

function identify(spec: FileSpec): ChainFile | undefined {
  const path = hostPath(spec);
  const stats = path === undefined ? undefined : statSync(path, { bigint: true, throwIfNoEntry: false });
  return path !== undefined && stats ? { path, identity: `${stats.dev}:${stats.ino}` } : undefined;
}

interface Backing {
  readonly name: string;
  readonly format: string | undefined;
}

async function backingOf(spec: FileSpec, format: string | undefined): Promise<Backing | undefined> {
  const file = await openFileSpec(spec);
  try {
    if ((format ?? (await probeFormat(file))) !== "qcow2") return undefined;
    const { backingName: name, backingFormat } = await readHeader(file);
    return name === undefined ? undefined : { name, format: backingFormat };
  } finally {
    await file.close();
  }
}
