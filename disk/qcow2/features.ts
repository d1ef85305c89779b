import { ByreError, type ByreErrorCode } from "../errors.ts";
import { featureName } from "./extensions.ts";
import { AutoclearFeature, FeatureType, IncompatibleFeature } from "./format.ts";
import type { Qcow2Header } from "./header.ts";

/** What this driver does not do yet, each refused by its own code. */
const REFUSED: readonly { bit: number; code: ByreErrorCode; what: string }[] = [
  {
    bit: IncompatibleFeature.EXTERNAL_DATA_FILE,
    code: "EXTERNAL_DATA_FILE",
    what: "keeps its data in an external file, which is never opened here; convert it with qemu-img first",
  },
  {
    bit: IncompatibleFeature.EXTENDED_L2,
    code: "EXTENDED_L2",
    what: "has extended L2 entries (subclusters), which are not read yet; convert it with qemu-img first",
  },
];

/**
 * Refuses, by name, an image that needs what this driver does not do.
 *
 * @param writable whether the image is to be opened for writing: a dirty or corrupt image may only be read.
 * @throws ByreError with the feature's code, or UNSUPPORTED_FEATURE with the name the image gives the bit.
 */
export function checkFeatures(header: Qcow2Header, fileName: string, writable: boolean): void {
  const has = (bit: number) => ((header.incompatibleFeatures >> BigInt(bit)) & 1n) === 1n;
  const refuse = (code: ByreErrorCode, what: string, bit?: number): never => {
    throw new ByreError(code, `${fileName} ${what}.`, { file: fileName, bit });
  };
  for (const { bit, code, what } of REFUSED) if (has(bit)) refuse(code, what, bit);
  const unknown = header.incompatibleFeatures >> 5n;
  if (unknown !== 0n) {
    const names: string[] = [];
    for (let bit = 5; bit < 64; bit++)
      if (has(bit))
        names.push(
          featureName(header.extensions, FeatureType.INCOMPATIBLE, bit) ?? `incompatible bit ${bit}`,
        );
    refuse("UNSUPPORTED_FEATURE", `needs a feature that is not known here: ${names.join(", ")}`);
  }
  const declaresCompression = has(IncompatibleFeature.COMPRESSION_TYPE);
  if (declaresCompression !== (header.compressionType !== 0))
    refuse(
      "CORRUPT",
      `has compression type ${header.compressionType}, which does not agree with its feature bit 3 (offset 104)`,
    );
  if (header.compressionType === 1)
    refuse("ZSTD", "has zstd-compressed clusters, which are not read yet; convert it with qemu-img first");
  if (header.compressionType > 1)
    refuse("UNSUPPORTED_FEATURE", `has compression type ${header.compressionType}, which is not known here`);
  if (header.cryptMethod === 1)
    refuse("ENCRYPTED", "is encrypted (AES), which is not read yet; convert it with qemu-img first");
  if (header.cryptMethod === 2)
    refuse("ENCRYPTED", "is encrypted (LUKS), which is not read; convert it with qemu-img first");
  if (header.cryptMethod > 2)
    refuse(
      "UNSUPPORTED_FEATURE",
      `has crypt_method ${header.cryptMethod}, which is not known here (offset 32)`,
    );
  if (!writable) return;
  if (has(IncompatibleFeature.CORRUPT))
    refuse("MARKED_CORRUPT", "is marked corrupt and can only be read; repair it with qemu-img check -r all");
  if (has(IncompatibleFeature.DIRTY))
    refuse(
      "DIRTY",
      "was not closed cleanly (dirty bit) and can only be read; repair it with qemu-img check -r all",
    );
}

/**
 * The autoclear bits that stay when the image is written. Writes here do not keep bitmaps right, and an
 * unknown bit is about something we cannot keep right either; so nothing stays but raw external data, which
 * is never opened.
 */
export function keptAutoclearFeatures(autoclearFeatures: bigint): bigint {
  return autoclearFeatures & (1n << BigInt(AutoclearFeature.RAW_EXTERNAL_DATA));
}
