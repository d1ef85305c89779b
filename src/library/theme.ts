import { readPreference, type Theme, writePreference } from "./preferences.ts";

const listeners = new Set<() => void>();
let chosen: Theme = "system";

/** Applies the stored choice; call before the first render, so that the page never shows the other theme. */
export async function startTheme(): Promise<void> {
  chosen = await readPreference("theme");
  apply();
}

export function chosenTheme(): Theme {
  return chosen;
}

export function chooseTheme(theme: Theme): void {
  chosen = theme;
  apply();
  void writePreference("theme", theme);
}

/** Calls back when the choice changed. */
export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}

function apply(): void {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  for (const listener of listeners) listener();
}
