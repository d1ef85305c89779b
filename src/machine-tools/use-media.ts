import { useEffect, useReducer } from "react";
import type { MachineMedia } from "../../emulator/index.ts";

/** Renders again when what is in a drive has changed. */
export function useMedia(media: MachineMedia): MachineMedia {
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    refresh();
    return media.onChange(refresh);
  }, [media]);
  return media;
}
