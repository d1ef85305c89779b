import { type IconData, iconOf } from "./icon-data.ts";

/** Sharp at the sizes an icon is shown in, on most screens; the smaller ones are for pictures that do not pack well. */
const SIDES = [192, 128, 96, 64] as const;
/** Leaves room in the image for a licence and a message. */
const MAX_BYTES = 12 * 1024;

/**
 * Makes an icon of a person's own picture: square, small, without what else the file holds (where it was taken).
 *
 * @returns undefined when the browser cannot read it as a picture.
 */
export async function shrinkPicture(file: Blob): Promise<IconData | undefined> {
  const bitmap = await createImageBitmap(file).catch(() => undefined);
  if (!bitmap) return undefined;
  try {
    for (const side of SIDES) {
      for (const type of ["image/png", "image/webp"]) {
        const picture = await draw(bitmap, side).convertToBlob({ type, quality: 0.85 });
        if (picture.size <= MAX_BYTES) return iconOf(new Uint8Array(await picture.arrayBuffer()));
      }
    }
    return undefined;
  } finally {
    bitmap.close();
  }
}

/** Whole, in the middle of a square. */
function draw(bitmap: ImageBitmap, side: number): OffscreenCanvas {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  const scale = Math.min(side / bitmap.width, side / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  if (context) context.imageSmoothingQuality = "high";
  context?.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
  return canvas;
}
