import type { BaseLocationHook } from "wouter";
import { navigate as navigateHash, useHashLocation } from "wouter/use-hash-location";

/**
 * Goes to a place of this page.
 *
 * @param hash what stands after `#`; may hold a query, which belongs to the hash and stays in it.
 */
export function goTo(hash: string, { replace = false }: { replace?: boolean } = {}): void {
  const path = hash.replace(/^#/, "");
  if (!path.includes("?")) {
    navigateHash(path, { replace });
    return;
  }
  // wouter would move the query in front of the hash, where it would reload the page.
  const before = location.href;
  history[replace ? "replaceState" : "pushState"](null, "", `#${path}`);
  dispatchEvent(new HashChangeEvent("hashchange", { oldURL: before, newURL: location.href }));
}

/** wouter's location without the query, so that `/run?image=...` matches `/run`. */
export const usePageLocation: BaseLocationHook = () => {
  const [path] = useHashLocation();
  return [path.split("?")[0] ?? "/", goTo];
};
