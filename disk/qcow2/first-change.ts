import { keptAutoclearFeatures } from "./features.ts";
import type { Qcow2Image } from "./image.ts";

/**
 * What must be true in the file before anything in it changes: autoclear features that we do not keep right
 * are dropped.
 *
 * @throws what the file meets; nothing has changed then.
 */
export async function prepareForChanges(
  image: Qcow2Image,
  onWarning: (message: string) => void,
): Promise<void> {
  const { version, autoclearFeatures } = image.header;
  const kept = keptAutoclearFeatures(autoclearFeatures);
  if (version < 3 || kept === autoclearFeatures) return;
  const { file } = image;
  await image.loadHeader();
  image.setAutoclearFeatures(kept);
  onWarning(
    `${file.name} has features that changes may make untrue (autoclear bits 0x${autoclearFeatures.toString(16)}); ` +
      "those that are not known here are dropped.",
  );
  // On a file without transactions the header goes last: what relies on it waits.
  if (!file.transactional) await file.flush();
}
