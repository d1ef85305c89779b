import { statSync } from "node:fs";
import { isAbsolute } from "node:path";
import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";
import { openNodeFile } from "../files/node-file.ts";
import type { BackingResolver } from "../qcow2/open.ts";
import { type FileSpec, parseFileName, parseImageName } from "./image-spec.ts";

export interface OpenFileOptions {
  /** Default: false. */
  readonly writable?: boolean | undefined;
  /** False for a new file that nothing relies on before it is done. Default: true. */
  readonly cacheOrdered?: boolean | undefined;
}

/** Opens the bytes; the caller closes them. */
export async function openFileSpec(file: FileSpec, options: OpenFileOptions = {}): Promise<BlockFile> {
  switch (file.kind) {
    case "path":
      return await openNodeFile(file.path, { writable: options.writable ?? false });
    case "url":
      refuseWriting(options, file.url, "what a web server has");
      // A command reads what it needs and ends: nothing is fetched ahead for it.
      return await (await import("../files/http-file.ts")).openHttpFile(file.url, {
        fetchWholeBelowBytes: 0,
      });
    case "tar":
      refuseWriting(options, file.path, "a member of an archive");
      return await openMember(file.path);
    case "slice":
      return await openSlice(file, options);
  }
}

function refuseWriting(options: { writable?: boolean | undefined }, name: string, what: string): void {
  if (!options.writable) return;
  throw new ByreError("READ_ONLY", `${name}: ${what} can only be read. Copy it out first.`, { file: name });
}

async function openMember(path: string): Promise<BlockFile> {
  const archive = archiveIn(path);
  if (archive === undefined)
    throw new ByreError("NOT_FOUND", `tar:${path}: no part of this path is an archive's file.`, {
      file: path,
    });
  const { openTarMember } = await import("../files/tar-member.ts");
  return await openTarMember(await openNodeFile(archive), path.slice(archive.length + 1));
}

/** The file of this host that bytes are in, whole or as a part of it; undefined for what is on the web. */
export function hostPath(file: FileSpec): string | undefined {
  if (file.kind === "slice") return hostPath(file.file);
  if (file.kind === "tar") return archiveIn(file.path);
  return file.kind === "path" ? file.path : undefined;
}

/** The first part of `DIR/FILE.tar/folder/disk.qcow2` that is a file. */
function archiveIn(path: string): string | undefined {
  for (let at = path.indexOf("/", 1); at >= 0; at = path.indexOf("/", at + 1)) {
    const archive = path.slice(0, at);
    if (statSync(archive, { throwIfNoEntry: false })?.isFile()) return archive;
  }
  return undefined;
}

async function openSlice(
  { file: below, offsetBytes, sizeBytes }: FileSpec & { kind: "slice" },
  options: OpenFileOptions,
): Promise<BlockFile> {
  const { createSliceFile } = await import("../files/slice-file.ts");
  const file = await openFileSpec(below, options);
  try {
    return createSliceFile(file, { offsetBytes, ...(sizeBytes !== undefined && { sizeBytes }) });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Opens what images name behind them. A chain asks link by link, so each relative name belongs to the
 * folder of the one before.
 */
export function backingResolver(top: FileSpec): BackingResolver {
  let overlay = top;
  return async ({ name }) => {
    overlay = backingSpec(overlay, name);
    return await openFileSpec(overlay);
  };
}

/** Which file an image's backing name means. */
export function backingSpec(overlay: FileSpec, name: string): FileSpec {
  if (hasProtocol(name)) return name.startsWith("json:") ? parseImageName(name).file : parseFileName(name);
  if (isAbsolute(name)) return { kind: "path", path: name };
  if (overlay.kind === "path") return { kind: "path", path: folderOf(overlay.path) + name };
  if (overlay.kind === "url") return { kind: "url", url: new URL(name, overlay.url).href };
  throw new ByreError(
    "BACKING_DENIED",
    `The backing file name "${name}" is relative, but the image is inside another file and has no folder.`,
    { backing: name },
  );
}

/** The name that a backing file would be opened by, for people; undefined when there is none. Opens nothing. */
export function fullBackingName(overlay: FileSpec, name: string): string | undefined {
  if (hasProtocol(name) || isAbsolute(name)) return name;
  if (overlay.kind === "path") return folderOf(overlay.path) + name;
  return overlay.kind === "url" ? new URL(name, overlay.url).href : undefined;
}

/** A name with a protocol is taken as it stands, a relative path in it from the current folder, as QEMU does. */
function hasProtocol(name: string): boolean {
  return /^[^:/]*:/.test(name);
}

/** Up to the last slash and with it: names are joined as QEMU joins them, for `info` to print them alike. */
function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
