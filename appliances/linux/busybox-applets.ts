/**
 * Not linked to, though busybox has them: they delete or replace the running system
 * and are meant for an initial root only, or (busybox itself) are no link.
 */
const LEFT_OUT = new Set(["busybox", "linuxrc", "nuke", "resume", "run-init"]);

/**
 * The commands a busybox program answers to, read from the table inside it: sorted names, each ended by NUL,
 * the first of them `[` and `[[`. The program itself may not run on the host.
 */
export function busyboxApplets(program: Uint8Array): string[] {
  const bytes = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  const start = bytes.indexOf("\0[\0[[\0", 0, "latin1");
  if (start === -1) throw new Error("This busybox holds no table of its commands where one is expected.");
  const end = bytes.indexOf("\0\0", start + 1, "latin1");
  const names = bytes.toString("latin1", start + 1, end).split("\0");
  for (const needed of ["init", "insmod", "mount", "sh", "switch_root"]) {
    if (!names.includes(needed)) throw new Error(`This busybox lacks the command ${needed}.`);
  }
  return names.filter((name) => !LEFT_OUT.has(name));
}
