import { WriteStage } from "../block-file.ts";
import { markBitmapsInUse } from "./bitmaps.ts";
import { keptAutoclearFeatures } from "./features.ts";
import { AutoclearFeature } from "./format.ts";
import { hasFeature } from "./header.ts";
import type { Qcow2Image } from "./image.ts";
import { whenWritable } from "./needs.ts";

/**
 * What must be true in the file before anything in it changes: bitmaps that record changes, which they will
 * not see here, are marked as in use (QEMU then knows that they are not to be relied on), and autoclear
 * features that are not known here are dropped.
 *
 * @throws what the file meets; nothing of the guest's has changed then.
 */
export async function prepareForChanges(
  image: Qcow2Image,
  onWarning: (message: string) => void,
): Promise<void> {
  const { file } = image;
  const { version, autoclearFeatures } = image.header;
  if (version < 3) return;
  const kept = keptAutoclearFeatures(autoclearFeatures);
  let changed = kept !== autoclearFeatures;
  if (changed) {
    await image.whenHeaderReady(() => image.setAutoclearFeatures(kept));
    onWarning(
      `${file.name} has features that changes may make untrue (autoclear bits 0x${autoclearFeatures.toString(16)}); ` +
        "those that are not known here are dropped.",
    );
  }
  if (hasFeature(kept, AutoclearFeature.BITMAPS)) changed = (await markBitmaps(image, onWarning)) || changed;
  // On a file without transactions the header goes last: what relies on it waits.
  if (changed && !file.transactional) await file.flush();
}

async function markBitmaps(image: Qcow2Image, onWarning: (message: string) => void): Promise<boolean> {
  const { file } = image;
  const writes = await markBitmapsInUse(file, image.header);
  for (const { offsetBytes, bytes } of writes) {
    await whenWritable(file, offsetBytes, bytes.length, () =>
      file.write(offsetBytes, bytes, WriteStage.HEADER),
    );
  }
  if (writes.length > 0)
    onWarning(
      `${file.name} has ${writes.length} dirty bitmaps, which do not see what is written here: they are marked as ` +
        "in use, and QEMU will not rely on them any more.",
    );
  return writes.length > 0;
}
