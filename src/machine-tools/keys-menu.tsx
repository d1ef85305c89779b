import { ChevronDown } from "lucide-react";
import type { MachineKeyboard } from "../../emulator/index.ts";
import { Button } from "../components/button.tsx";
import { Menu, MenuItem, Submenu } from "../components/menu.tsx";
import { FIRST_COMBINATIONS, KEY_GROUPS, type KeyCombination } from "./key-combinations.ts";
import { combinationCodes } from "./scan-codes.ts";

export interface KeysMenuProps {
  keyboard: MachineKeyboard;
  isDisabled: boolean;
  keyboardShown: boolean;
  onKeyboard: () => void;
  run: (action: () => Promise<unknown>) => void;
}

/** Keys that never reach the guest, since the browser or the system takes them. */
export function KeysMenu({ keyboard, isDisabled, keyboardShown, onKeyboard, run }: KeysMenuProps) {
  const item = ({ label, keys, detail }: KeyCombination) => (
    <MenuItem
      key={label}
      id={label}
      label={label}
      detail={detail}
      onAction={() => run(() => keyboard.sendScancodes(combinationCodes(keys)))}
    />
  );
  return (
    <Menu
      label="Keys to send"
      button={
        <Button look="quiet" isDisabled={isDisabled} aria-label="Send keys">
          Keys
          <ChevronDown size={15} aria-hidden="true" />
        </Button>
      }
    >
      {FIRST_COMBINATIONS.map(item)}
      {KEY_GROUPS.map(({ label, combinations }) => (
        <Submenu key={label} id={label} label={label}>
          {combinations.map(item)}
        </Submenu>
      ))}
      <MenuItem
        id="keyboard"
        label={keyboardShown ? "Hide the keyboard" : "Show a keyboard"}
        onAction={onKeyboard}
      />
    </Menu>
  );
}
