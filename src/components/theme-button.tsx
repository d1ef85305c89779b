import { Moon, Sun, SunMoon } from "lucide-react";
import { useSyncExternalStore } from "react";
import type { Theme } from "../library/preferences.ts";
import { chooseTheme, chosenTheme, onThemeChange } from "../library/theme.ts";
import { Button } from "./button.tsx";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const NAMES: Record<Theme, string> = { system: "as the system", light: "light", dark: "dark" };
const ICONS = { system: SunMoon, light: Sun, dark: Moon };

/** Goes round: as the system, light, dark. */
export function ThemeButton() {
  const theme = useSyncExternalStore(onThemeChange, chosenTheme);
  const Icon = ICONS[theme];
  return (
    <Button
      look="quiet"
      iconOnly
      aria-label={`Colours: ${NAMES[theme]}. Change to ${NAMES[NEXT[theme]]}`}
      onPress={() => chooseTheme(NEXT[theme])}
    >
      <Icon size={18} aria-hidden="true" />
    </Button>
  );
}
