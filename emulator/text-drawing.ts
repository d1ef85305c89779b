let mended = false;

/**
 * Mends how v86 0.5.462 draws text on its canvas. It paints a row's text colours run by run before it cuts
 * the letters out, but the name it keeps the current colour in lives on from row to row, while the place where
 * the run begins does not. So when a row begins in the colour the last one ended in, its first run is painted
 * from x = undefined, which paints nothing: of several rows that change in one frame only the first is right.
 * Painting the whole row there is right, because later runs of other colours are painted over it.
 *
 * The context is v86's own and out of reach, so this is done for every offscreen context of the page; a
 * rectangle without an x means nothing to anybody else.
 */
export function mendTextDrawing(): void {
  if (mended || typeof OffscreenCanvasRenderingContext2D === "undefined") return;
  mended = true;
  const { prototype } = OffscreenCanvasRenderingContext2D;
  const { fillRect } = prototype;
  prototype.fillRect = function (x: number | undefined, y, width, height) {
    if (x === undefined) fillRect.call(this, 0, y, this.canvas.width, height);
    else fillRect.call(this, x, y, width, height);
  };
}
