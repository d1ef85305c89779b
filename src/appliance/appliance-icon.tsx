import { useEffect, useRef } from "react";
import styles from "./appliance-icon.module.css";
import type { IconData } from "./icon-data.ts";

export interface ApplianceIconProps {
  /** What `readIcon` let through. Undefined: a drawn stand-in. */
  icon: IconData | undefined;
  /** Of the appliance; its first letter stands for a missing icon. */
  name: string;
  size?: "tiny" | "small" | "large";
}

/** Points on the canvas for each of the page: sharp on most screens. */
const DRAWN_SIDE = 192;

/**
 * The picture of an appliance; decoration, since its name stands beside it.
 *
 * It is drawn, not shown as an image element: a stranger's picture does not move, and is not decoded unless
 * `readIcon` has bounded it.
 */
export function ApplianceIcon({ icon, name, size = "small" }: ApplianceIconProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let gone = false;
    const surface = canvas.current;
    if (!icon || !surface) return;
    surface.hidden = true;
    createImageBitmap(new Blob([icon.bytes], { type: icon.type })).then(
      (bitmap) => {
        if (!gone) draw(bitmap, surface);
        bitmap.close();
      },
      // No picture after all: the stand-in stays.
      () => {},
    );
    return () => {
      gone = true;
    };
  }, [icon]);
  const letter = [...name.trim()][0]?.toUpperCase() ?? "?";
  return (
    <span className={`${styles.icon} ${styles[size]}`} aria-hidden="true">
      <span className={styles.letter}>{letter}</span>
      <span className={styles.cursor} />
      {icon && (
        <canvas ref={canvas} className={styles.picture} width={DRAWN_SIDE} height={DRAWN_SIDE} hidden />
      )}
    </span>
  );
}

/** Whole, in the middle; small pictures of few pixels stay sharp. */
function draw(bitmap: ImageBitmap, surface: HTMLCanvasElement): void {
  const context = surface.getContext("2d");
  if (!context) return;
  const scale = Math.min(surface.width / bitmap.width, surface.height / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.clearRect(0, 0, surface.width, surface.height);
  context.imageSmoothingEnabled = scale < 3;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (surface.width - width) / 2, (surface.height - height) / 2, width, height);
  surface.hidden = false;
}
