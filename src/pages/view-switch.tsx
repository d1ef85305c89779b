import { Monitor, SquareTerminal } from "lucide-react";
import { ToggleButton } from "react-aria-components/ToggleButton";
import { ToggleButtonGroup } from "react-aria-components/ToggleButtonGroup";
import styles from "./view-switch.module.css";

export interface ViewSwitchProps {
  /** Shown with room for both too: only one of them is wanted. */
  always?: boolean;
  view: "screen" | "terminal";
  onChange: (view: "screen" | "terminal") => void;
}

/** Where there is no room for both: which of the two is shown. With room both are, and this is not. */
export function ViewSwitch({ always = false, view, onChange }: ViewSwitchProps) {
  return (
    <ToggleButtonGroup
      className={`${styles.switch} ${always ? styles.always : ""}`}
      aria-label="Show"
      selectionMode="single"
      disallowEmptySelection
      selectedKeys={[view]}
      onSelectionChange={(keys) => onChange(keys.has("terminal") ? "terminal" : "screen")}
    >
      <ToggleButton id="screen" className={styles.choice ?? ""}>
        <Monitor size={16} aria-hidden="true" />
        Screen
      </ToggleButton>
      <ToggleButton id="terminal" className={styles.choice ?? ""}>
        <SquareTerminal size={16} aria-hidden="true" />
        Terminal
      </ToggleButton>
    </ToggleButtonGroup>
  );
}
