import { asBlob, type ExportTarget } from "./export-disk.ts";

/** Where a browser lets a page write a file that the person chose, it does so through this. */
interface SavePicker {
  showSaveFilePicker?(options: {
    suggestedName: string;
    types: { description: string; accept: Record<string, string[]> }[];
  }): Promise<FileSystemFileHandle>;
}

/**
 * Has the person choose a file and writes it piece by piece; where the browser cannot, it becomes a download once it
 * is whole. Call it in answer to a click: a browser asks for nothing otherwise.
 *
 * @returns false when the person chose no file.
 */
export async function saveFile(
  fileName: string,
  write: (target: ExportTarget) => Promise<void>,
): Promise<boolean> {
  const suggestedName = safeFileName(fileName);
  const chosen = await chooseFile(suggestedName);
  if (chosen === "none") return false;
  if (chosen) await write(await chosen.createWritable());
  else download(await asBlob(write), suggestedName);
  return true;
}

/** A name without what a file's name cannot have on one system or another. */
export function safeFileName(name: string): string {
  return name.replace(/[\p{Cc}\\/:*?"<>|]/gu, "_");
}

/** @returns undefined where the browser, or the frame this page is in, has no such dialog. */
async function chooseFile(suggestedName: string): Promise<FileSystemFileHandle | "none" | undefined> {
  const types = [{ description: "Disk image", accept: { "application/octet-stream": [".qcow2"] } }];
  try {
    return await (window as SavePicker).showSaveFilePicker?.({ suggestedName, types });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return "none";
    return undefined;
  }
}

/** Hands a file to the person, as a download. */
export function download(blob: Blob, fileName: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  // The download has its own hold on the bytes by the next turns; a minute is ample.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
