import { ByreError } from "../disk/index.ts";
import type { MachineScreen } from "./machine.ts";
import type { V86Emulator } from "./v86-internals.ts";

export function createScreen(emulator: V86Emulator, screenElement: HTMLElement | undefined): MachineScreen {
  const { screen_adapter: adapter } = emulator;
  const { vga } = emulator.v86.cpu.devices;
  return {
    text() {
      if (vga.graphical_mode) return "";
      const rows = adapter.get_text_screen().map((row) => row.replaceAll("\0", " ").trimEnd());
      return rows.join("\n").trimEnd();
    },
    async screenshot() {
      const canvas = screenElement?.querySelector("canvas");
      if (!canvas)
        throw new ByreError(
          "UNSUPPORTED_FEATURE",
          "A machine without a screen element has no picture; use screen.text().",
        );
      // v86 draws with animation frames; a hidden page has none, and a paused machine may lack its last one.
      if (vga.graphical_mode) vga.screen_fill_buffer();
      else adapter.update_graphical_text?.();
      const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
      if (!blob) throw new ByreError("INTERNAL", "The browser could not encode the picture of the screen.");
      return blob;
    },
    setScale(scale) {
      adapter.set_scale(scale, scale);
    },
  };
}
