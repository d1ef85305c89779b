import { createStore, delMany, get, keys, set, type UseStore } from "idb-keyval";

/** A file that a page may be let read again later; its types are in no library yet. */
export interface LastingFile extends FileSystemFileHandle {
  queryPermission?(options: { mode: "read" }): Promise<PermissionState>;
  requestPermission?(options: { mode: "read" }): Promise<PermissionState>;
}

/** What is known of where a file is that is being copied into this browser. */
export interface ImportSourceKnown {
  /** It can be read at once. */
  readonly file?: File;
  /** The browser asks the person first. */
  readonly handle?: LastingFile;
}

/** How to read files again after a reload, in the browsers that can. */
const handles = new WeakMap<File, LastingFile>();
/** Where files of dropped folders stood in them. */
const paths = new WeakMap<File, string>();
/** Files that this tab was given, by the id of their copy. */
const filesOfTab = new Map<string, File>();
let store: UseStore | undefined;

/** Says how a file that was dropped or picked can be read again after a reload. */
export function keepHandle(file: File, handle: LastingFile): void {
  handles.set(file, handle);
}

/** Says where in a dropped folder a file stood: `folder/file.txt`. */
export function keepPath(file: File, path: string): void {
  paths.set(file, path);
}

/** The name of a file, after those of the dropped folders that it was in. */
export function pathOf(file: File): string {
  return paths.get(file) ?? file.name;
}

/**
 * Remembers where the bytes of a copy come from: for as long as the tab is there, and where the browser keeps
 * handles of files, beyond. What cannot be remembered is asked for again.
 */
export async function rememberSource(fileId: string, file: File): Promise<void> {
  filesOfTab.set(fileId, file);
  const handle = handles.get(file);
  if (handle) await set(fileId, handle, handleStore()).catch(() => {});
}

/** What is known of the source of a copy. */
export async function knownSource(fileId: string): Promise<ImportSourceKnown> {
  const file = filesOfTab.get(fileId);
  if (file) return { file };
  const handle = await get<LastingFile>(fileId, handleStore()).catch(() => undefined);
  if (!handle) return {};
  const permission = (await handle.queryPermission?.({ mode: "read" })) ?? "granted";
  if (permission !== "granted") return { handle };
  const again = await fileOf(handle);
  return again ? { file: again, handle } : {};
}

/** Asks the person to let the page read a file again. Call it in answer to a click. */
export async function readAgain(handle: LastingFile): Promise<File | undefined> {
  const permission = (await handle.requestPermission?.({ mode: "read" })) ?? "granted";
  return permission === "granted" ? fileOf(handle) : undefined;
}

/** The copies are whole, or gone. */
export async function forgetSources(fileIds: readonly string[]): Promise<void> {
  for (const fileId of fileIds) filesOfTab.delete(fileId);
  await delMany([...fileIds], handleStore()).catch(() => {});
}

/** Forgets the sources of all copies but these. */
export async function forgetOtherSources(fileIds: ReadonlySet<string>): Promise<void> {
  const known = await keys<string>(handleStore()).catch(() => []);
  await forgetSources(known.filter((fileId) => !fileIds.has(fileId)));
}

/** Undefined for a file that was moved or deleted since. */
async function fileOf(handle: LastingFile): Promise<File | undefined> {
  try {
    const file = await handle.getFile();
    handles.set(file, handle);
    return file;
  } catch {
    return undefined;
  }
}

function handleStore(): UseStore {
  store ??= createStore("byre-file-handles", "handles");
  return store;
}
