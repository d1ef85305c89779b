import { useEffect, useReducer } from "react";
import type { MachinePointer } from "../../emulator/index.ts";

/** Renders again when the guest's mouse becomes another: listened to or not, locked or not. */
export function usePointer(pointer: MachinePointer): MachinePointer {
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    refresh();
    return pointer.onChange(refresh);
  }, [pointer]);
  return pointer;
}
