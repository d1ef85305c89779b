/** One file of an archive; the paths have no leading slash. All belong to root. */
export type CpioEntry =
  | { path: string; type: "file"; mode: number; content: Uint8Array }
  | { path: string; type: "folder"; mode: number }
  | { path: string; type: "link"; target: string }
  | { path: string; type: "character-device"; mode: number; major: number; minor: number };

const TYPE_BITS = { file: 0o100000, folder: 0o040000, link: 0o120000, "character-device": 0o020000 } as const;

/**
 * A cpio archive in the "newc" form, which the Linux kernel unpacks as its initial root
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Written here and not by a cpio command
 * so that device nodes need no root and the same input gives the same bytes.
 */
export function writeCpioArchive(entries: readonly CpioEntry[]): Uint8Array {
  const encoder = new TextEncoder();
  const pieces: Uint8Array[] = [];
  let lengthBytes = 0;
  const append = (piece: Uint8Array) => {
    pieces.push(piece);
    lengthBytes += piece.length;
  };
  const pad = (boundaryBytes: number) => append(new Uint8Array(-lengthBytes & (boundaryBytes - 1)));
  const member = (path: string, mode: number, content: Uint8Array, major = 0, minor = 0, inode = 0) => {
    const name = encoder.encode(`${path}\0`);
    const links = inode === 0 ? 0 : 1;
    const fields = [inode, mode, 0, 0, links, 0, content.length, 0, 0, major, minor, name.length, 0];
    append(encoder.encode(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`));
    append(name);
    pad(4);
    append(content);
    pad(4);
  };

  entries.forEach((entry, index) => {
    const inode = index + 1;
    const mode = TYPE_BITS[entry.type] | (entry.type === "link" ? 0o777 : entry.mode);
    if (entry.type === "file") member(entry.path, mode, entry.content, 0, 0, inode);
    else if (entry.type === "link") member(entry.path, mode, encoder.encode(entry.target), 0, 0, inode);
    else if (entry.type === "folder") member(entry.path, mode, new Uint8Array(), 0, 0, inode);
    else member(entry.path, mode, new Uint8Array(), entry.major, entry.minor, inode);
  });
  member("TRAILER!!!", 0, new Uint8Array());
  pad(512);

  const archive = new Uint8Array(lengthBytes);
  let offsetBytes = 0;
  for (const piece of pieces) {
    archive.set(piece, offsetBytes);
    offsetBytes += piece.length;
  }
  return archive;
}
