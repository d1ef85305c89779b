import type { BlockFile } from "../block-file.ts";
import { ByreError } from "../errors.ts";

/** Formats that QEMU opens and byre does not, by what they begin with. */
const OTHERS: readonly { readonly name: string; readonly magic: string; readonly offsetBytes: number }[] = [
  { name: "VMDK", magic: "KDMV", offsetBytes: 0 },
  { name: "VMDK", magic: "COWD", offsetBytes: 0 },
  { name: "VHDX", magic: "vhdxfile", offsetBytes: 0 },
  { name: "VPC", magic: "conectix", offsetBytes: 0 },
  { name: "QED", magic: "QED\0", offsetBytes: 0 },
  { name: "VDI", magic: "\x7f\x10\xda\xbe", offsetBytes: 64 },
  { name: "LUKS", magic: "LUKS\xba\xbe", offsetBytes: 0 },
  { name: "Parallels", magic: "WithoutFreeSpace", offsetBytes: 0 },
  { name: "Parallels", magic: "WithouFreSpacExt", offsetBytes: 0 },
];

/** What a probe looks at, in bytes. */
const PROBE_BYTES = 512;

/**
 * Guesses an image's format from its first bytes, for a command that was given none. What has no other
 * format's mark is raw, as in QEMU.
 *
 * @throws ByreError UNSUPPORTED_FEATURE for a format that would be misread as raw.
 */
export async function probeFormat(
  file: Pick<BlockFile, "name" | "sizeBytes" | "read">,
): Promise<"qcow2" | "raw"> {
  const first = new Uint8Array(Math.min(file.sizeBytes, PROBE_BYTES));
  await file.read(0, first);
  const begins = (magic: string, offsetBytes: number) =>
    [...magic].every((character, index) => first[offsetBytes + index] === character.charCodeAt(0));
  if (begins("QFI\xfb", 0)) return "qcow2";
  const other = OTHERS.find(({ magic, offsetBytes }) => begins(magic, offsetBytes));
  if (!other) return "raw";
  throw new ByreError(
    "UNSUPPORTED_FEATURE",
    `${file.name} is a ${other.name} image, which byre does not read: convert it with qemu-img first, or say ` +
      "-f raw to take it as plain bytes.",
    { file: file.name, format: other.name },
  );
}
