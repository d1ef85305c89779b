import { keepHandle, keepPath, type LastingFile } from "../library/import-sources.ts";

/** In the browsers whose handles of dropped files last beyond a reload. */
interface LastingItem extends DataTransferItem {
  getAsFileSystemHandle?(): Promise<FileSystemHandle | null>;
}

/** Somebody who drops a whole disk's folder by mistake is not to wait for ever. */
const MAX_FILES = 10_000;

/**
 * The files of a drop, those in dropped folders too. Call it in the event: afterwards the browser has forgotten them.
 */
export function filesOfDrop(transfer: DataTransfer): Promise<readonly File[]> {
  // All is asked for before anything is awaited.
  const found = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item: LastingItem) => ({
      file: item.getAsFile(),
      entry: item.webkitGetAsEntry?.(),
      handle: item.getAsFileSystemHandle?.().catch(() => null),
    }));
  return (async () => {
    const files: File[] = [];
    for (const { file, entry, handle } of found) {
      if (entry?.isDirectory) await filesOfFolder(entry as FileSystemDirectoryEntry, files);
      else if (file) {
        const lasting = await handle;
        if (lasting?.kind === "file") keepHandle(file, lasting as LastingFile);
        files.push(file);
      }
    }
    return files;
  })();
}

async function filesOfFolder(folder: FileSystemDirectoryEntry, files: File[]): Promise<void> {
  const reader = folder.createReader();
  for (;;) {
    // It gives some at a time, and none when it is done.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (entries.length === 0) return;
    for (const entry of entries) {
      if (files.length >= MAX_FILES) return;
      if (entry.isDirectory) await filesOfFolder(entry as FileSystemDirectoryEntry, files);
      else {
        const file = await new Promise<File>((resolve, reject) =>
          (entry as FileSystemFileEntry).file(resolve, reject),
        );
        keepPath(file, entry.fullPath.replace(/^\//, ""));
        files.push(file);
      }
    }
  }
}
