import { useSyncExternalStore } from "react";
import type { ToolPlace } from "./machine-panels.tsx";

/** From where on a bar has room for the tools of a place beside the machine's name. */
const MEDIUM = "(min-width: 40rem)";
const WIDE = "(min-width: 60rem)";

/** Whether the window has room for the tools of a place on the bar. */
export function useToolRoom(): (place: ToolPlace) => boolean {
  const medium = useMatch(MEDIUM);
  const wide = useMatch(WIDE);
  return (place) => place === "always" || (place === "medium" && medium) || (place === "wide" && wide);
}

/** Whether the window is as a media query asks. */
export function useMatch(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = matchMedia(query);
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    () => matchMedia(query).matches,
  );
}
