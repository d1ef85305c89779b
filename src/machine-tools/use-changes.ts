import { useEffect, useReducer } from "react";

/** A part of a machine that tells when what can be read of it has changed. */
interface Changing {
  onChange(listener: () => void): () => void;
}

/** Renders again with every change of a machine's part: its drives, network, pointer, sound. */
export function useChanges<Part extends Changing>(part: Part): Part {
  const [, refresh] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    // What changed between the first look and now.
    refresh();
    return part.onChange(refresh);
  }, [part]);
  return part;
}
