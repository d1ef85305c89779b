/**
 * What an overlay calls an image behind it that it is over as an internal snapshot has it: `linux@1.qcow2` for snapshot
 * 1 of linux.qcow2. QEMU has no way to say so; a name of its own keeps it from reading the image as it is now, which
 * would be another disk. `qemu-img convert -l` makes a file of that name.
 */
export function nameAtSnapshot(fileName: string, snapshotId: string): string {
  const [stem, ending] = split(fileName);
  return `${stem}@${snapshotId}${ending}`;
}

/** The image and its snapshot that such a name means; undefined for any other name. */
export function parseNameAtSnapshot(
  name: string,
): { readonly fileName: string; readonly snapshot: string } | undefined {
  const [stem, ending] = split(name);
  const [, file, snapshot] = /^(.+)@(\d+)$/.exec(stem) ?? [];
  return file !== undefined && snapshot !== undefined ? { fileName: file + ending, snapshot } : undefined;
}

/** Before the ending and the ending, its dot included. */
function split(fileName: string): [stem: string, ending: string] {
  const dot = fileName.lastIndexOf(".");
  return dot > 0 ? [fileName.slice(0, dot), fileName.slice(dot)] : [fileName, ""];
}
