import { ByreError, type ByreErrorCode } from "../errors.ts";
import { featureName } from "./extensions.ts";
import {
  AutoclearFeature,
  CryptMethod,
  FeatureType,
  IncompatibleFeature,
  MIN_EXTENDED_CLUSTER_BITS,
} from "./format.ts";
import { hasIncompatible, type Qcow2Header } from "./header.ts";

/**
 * Refuses, by name, an image that needs what this driver does not do.
 *
 * @param writable whether the image is to be opened for writing: a corrupt image may only be read.
 * @throws ByreError with the feature's code, or UNSUPPORTED_FEATURE with the name the image gives the bit.
 */
export function checkFeatures(header: Qcow2Header, fileName: string, writable: boolean): void {
  const has = (bit: number) => hasIncompatible(header, bit);
  const refuse = (code: ByreErrorCode, what: string, bit?: number): never => {
    throw new ByreError(code, `${fileName} ${what}.`, { file: fileName, bit });
  };
  if (has(IncompatibleFeature.EXTERNAL_DATA_FILE))
    refuse(
      "EXTERNAL_DATA_FILE",
      "keeps its data in an external file, which is never opened here; convert it with qemu-img first",
      IncompatibleFeature.EXTERNAL_DATA_FILE,
    );
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
  if (header.compressionType > 1)
    refuse("UNSUPPORTED_FEATURE", `has compression type ${header.compressionType}, which is not known here`);
  if (has(IncompatibleFeature.EXTENDED_L2) && header.clusterBits < MIN_EXTENDED_CLUSTER_BITS)
    refuse(
      "CORRUPT",
      `has extended L2 entries with clusters of ${header.clusterSizeBytes} bytes (cluster_bits at offset 20); ` +
        "they need at least 16384",
    );
  if (header.cryptMethod === CryptMethod.LUKS)
    refuse("LUKS", "is encrypted with LUKS, which is not read here; convert it with qemu-img first");
  if (header.cryptMethod > CryptMethod.LUKS)
    refuse(
      "UNSUPPORTED_FEATURE",
      `has crypt_method ${header.cryptMethod}, which is not known here (offset 32)`,
    );
  if (!writable) return;
  if (has(IncompatibleFeature.CORRUPT))
    refuse("MARKED_CORRUPT", "is marked corrupt and can only be read; repair it with byre check -r all");
}

/**
 * The autoclear bits that stay when the image is written: bitmaps, which the first write marks as in use,
 * and raw external data, which is never opened. An unknown bit is about something that writes here may make
 * untrue.
 */
export function keptAutoclearFeatures(autoclearFeatures: bigint): bigint {
  const kept = (1n << BigInt(AutoclearFeature.BITMAPS)) | (1n << BigInt(AutoclearFeature.RAW_EXTERNAL_DATA));
  return autoclearFeatures & kept;
}
