import { ByreError } from "../disk/index.ts";
import type { MachineScreen, Thumbnail } from "./machine.ts";
import { MAX_THUMBNAIL_BYTES } from "./state-format.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** CSS pixels: what a list of snapshots shows, at twice the density. */
const THUMBNAIL_WIDTH = 240;
const THUMBNAIL_HEIGHT = 180;
/** Small before sharp: 4-8 KiB for a screen of text. */
const THUMBNAIL_QUALITY = 0.7;

/** The screen of a machine. It outlives the emulator it is attached to. */
export interface Screen extends MachineScreen {
  /** Shows this emulator's screen from now on, in the place of the one before. */
  attach(emulator: V86Emulator, container: HTMLElement | undefined): void;
  /** A small picture; undefined when headless, or where the browser cannot make one. */
  thumbnail(): Promise<Thumbnail | undefined>;
}

export function createScreen(screenElement: HTMLElement | undefined): Screen {
  let emulator: V86Emulator | undefined;
  let scale: number | undefined;

  const currentCanvas = () => {
    const canvas = screenElement?.querySelector("canvas");
    if (!canvas || !emulator) return undefined;
    // v86 draws with animation frames; a hidden page has none, and a paused machine may lack its last one.
    const { vga } = emulator.v86.cpu.devices;
    if (vga.graphical_mode) vga.screen_fill_buffer();
    else emulator.screen_adapter.update_graphical_text?.();
    return canvas;
  };
  return {
    attach(next, container) {
      emulator = next;
      if (container) screenElement?.append(container);
      if (scale !== undefined) next.screen_adapter.set_scale(scale, scale);
    },
    text() {
      if (!emulator || emulator.v86.cpu.devices.vga.graphical_mode) return "";
      const rows = emulator.screen_adapter.get_text_screen();
      return rows
        .map((row) => row.replaceAll("\0", " ").trimEnd())
        .join("\n")
        .trimEnd();
    },
    async screenshot() {
      const canvas = currentCanvas();
      if (!canvas)
        throw new ByreError(
          "UNSUPPORTED_FEATURE",
          "A machine without a screen element has no picture; use screen.text().",
        );
      const blob = await toBlob(canvas, "image/png");
      if (!blob) throw new ByreError("INTERNAL", "The browser could not encode the picture of the screen.");
      return blob;
    },
    async thumbnail() {
      const canvas = currentCanvas();
      if (!canvas || canvas.width === 0 || canvas.height === 0) return undefined;
      const factor = Math.min(1, THUMBNAIL_WIDTH / canvas.width, THUMBNAIL_HEIGHT / canvas.height);
      const small = canvas.ownerDocument.createElement("canvas");
      small.width = Math.max(1, Math.round(canvas.width * factor));
      small.height = Math.max(1, Math.round(canvas.height * factor));
      const context = small.getContext("2d");
      if (!context) return undefined;
      context.imageSmoothingQuality = "high";
      context.drawImage(canvas, 0, 0, small.width, small.height);
      for (const wanted of ["image/webp", "image/jpeg"]) {
        const blob = await toBlob(small, wanted, THUMBNAIL_QUALITY);
        // A browser that cannot encode a type gives a PNG.
        const type = TYPES.find((each) => each === blob?.type);
        if (!blob || !type || blob.size > MAX_THUMBNAIL_BYTES) continue;
        return { type, bytes: new Uint8Array(await blob.arrayBuffer()) };
      }
      return undefined;
    },
    setScale(next) {
      scale = next;
      emulator?.screen_adapter.set_scale(next, next);
    },
  };
}

const TYPES = ["image/webp", "image/jpeg", "image/png"] as const;

function toBlob(canvas: HTMLCanvasElement, type: string, quality?: number): Promise<Blob | null> {
  return new Promise((resolve) => canvas.toBlob(resolve, type, quality));
}
