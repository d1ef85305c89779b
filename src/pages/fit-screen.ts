import type { ScreenSize } from "../library/preferences.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface ScreenFit extends Size {
  /** Whether a guest pixel is a whole number of device pixels, so that nothing is smoothed. */
  readonly sharp: boolean;
}

/**
 * How large to show a guest's screen: the largest whole multiple of device pixels that fits, or, where the
 * box is smaller than the screen or is to be filled, as large as fits.
 *
 * @param screen in guest pixels.
 * @param box in CSS pixels, as is the result.
 * @param pixelRatio device pixels a CSS pixel.
 * @param size default: `whole`.
 */
export function fitScreen(
  screen: Size,
  box: Size,
  pixelRatio: number,
  size: ScreenSize = "whole",
): ScreenFit {
  if (screen.width === 0 || screen.height === 0) return { width: 0, height: 0, sharp: true };
  const fill = Math.min(box.width / screen.width, box.height / screen.height) * pixelRatio;
  const devicePixels = size === "whole" && fill >= 1 ? Math.floor(fill) : fill;
  const sharp = Number.isInteger(devicePixels);
  const scale = devicePixels / pixelRatio;
  return { width: screen.width * scale, height: screen.height * scale, sharp };
}
