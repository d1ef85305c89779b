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
 * box is smaller than the screen, scaled down to fit.
 *
 * @param screen in guest pixels.
 * @param box in CSS pixels, as is the result.
 * @param pixelRatio device pixels a CSS pixel.
 */
export function fitScreen(screen: Size, box: Size, pixelRatio: number): ScreenFit {
  if (screen.width === 0 || screen.height === 0) return { width: 0, height: 0, sharp: true };
  const fill = Math.min(box.width / screen.width, box.height / screen.height) * pixelRatio;
  const sharp = fill >= 1;
  const scale = (sharp ? Math.floor(fill) : fill) / pixelRatio;
  return { width: screen.width * scale, height: screen.height * scale, sharp };
}
