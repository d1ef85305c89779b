import type { IndexedDbFileSize } from "../../disk/index.ts";
import { type MachineRecord, ownersOf, ownFileIds, type PinnedFile } from "../library/machine-record.ts";

/** One file that a machine has in this browser. */
export interface StoredFile {
  readonly fileId: string;
  readonly what: string;
  readonly storedBytes: number;
  /** Of a copy that is not whole. */
  readonly import: { readonly copiedBytes: number; readonly totalBytes: number } | undefined;
  /** Names of other machines that use it too. */
  readonly sharedWith: readonly string[];
  /** It counts for one of those. */
  readonly countsElsewhere: boolean;
}

export interface MachineStorage {
  readonly record: MachineRecord;
  readonly files: readonly StoredFile[];
  /** Of the files that count for it. */
  readonly storedBytes: number;
}

/** What takes how much of this browser's storage. */
export interface StorageReport {
  /** The largest first. */
  readonly machines: readonly MachineStorage[];
  /** Files that no machine needs. */
  readonly leftovers: readonly IndexedDbFileSize[];
  /** Of all files. */
  readonly storedBytes: number;
}

/** Puts together what the library and the block store know. */
export function storageReport(
  records: readonly MachineRecord[],
  files: readonly IndexedDbFileSize[],
): StorageReport {
  const owners = ownersOf(records);
  const byId = new Map(files.map((file) => [file.fileId, file]));
  const machines = records.map((record): MachineStorage => {
    const names = namesOf(record);
    const own = ownFileIds(record).flatMap((fileId): StoredFile[] => {
      const file = byId.get(fileId);
      if (!file) return [];
      const { storedBytes, importOf, sizeBytes } = file;
      const sharing = records.filter((other) => other !== record && ownFileIds(other).includes(fileId));
      return [
        {
          fileId,
          what: names.get(fileId) ?? file.name,
          storedBytes,
          import: importOf && { copiedBytes: sizeBytes, totalBytes: importOf.sizeBytes },
          sharedWith: sharing.map(({ name }) => name),
          countsElsewhere: owners.get(fileId) !== record.id,
        },
      ];
    });
    return { record, files: own, storedBytes: sum(own.filter(({ countsElsewhere }) => !countsElsewhere)) };
  });
  return {
    machines: machines.sort((a, b) => b.storedBytes - a.storedBytes),
    leftovers: files.filter(({ fileId }) => !owners.has(fileId)),
    storedBytes: sum(files),
  };
}

/** What each file of a machine is, in words. */
function namesOf(record: MachineRecord): ReadonlyMap<string, string> {
  const { base, behindBase, drives, overlayFileId } = record;
  const pins = [base, ...behindBase, ...(drives?.hdb ? [drives.hdb.base, ...drives.hdb.behindBase] : [])];
  const imported = (pin: PinnedFile | undefined): [string, string][] =>
    pin?.source.kind === "import" ? [[pin.source.fileId, `Copy of ${pin.name}`]] : [];
  return new Map([
    ...[...pins, drives?.cdrom, drives?.floppy].flatMap(imported),
    [overlayFileId, "What it wrote, and its snapshots"] as const,
    ...(drives?.hdb ? [[drives.hdb.overlayFileId, "What it wrote to its second disk"] as const] : []),
  ]);
}

function sum(files: readonly { readonly storedBytes: number }[]): number {
  return files.reduce((total, { storedBytes }) => total + storedBytes, 0);
}
