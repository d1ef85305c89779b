import { createMemoryFile, openQcow2, withMetadata } from "../disk/index.ts";
import { type GuestImageOptions, guestImage } from "./images.ts";

/** An image that boots the tiny guest and says of itself what it is given. */
export async function applianceImage(
  pairs: Readonly<Record<string, string>>,
  options: GuestImageOptions = {},
): Promise<Buffer<ArrayBuffer>> {
  const file = createMemoryFile({ name: "appliance", content: new Uint8Array(await guestImage(options)) });
  const device = await openQcow2(file, { writable: true });
  const metadata = new Map(Object.entries(pairs));
  await device.changeHeader({
    extensions: (present) => withMetadata(device.header, present, metadata, "appliance"),
  });
  await device.flush();
  const bytes = Buffer.alloc(file.sizeBytes);
  await file.read(0, bytes);
  await device.close();
  return bytes;
}

/** A picture of 2 x 2 points. */
export const SMALL_PNG =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGNgYGj4z9DAwPC/4f//BgAf+gX9wesNEwAAAABJRU5ErkJggg==";
