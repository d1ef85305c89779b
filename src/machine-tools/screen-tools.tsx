import { Camera, Keyboard, MousePointer2, Scaling, TextCursorInput } from "lucide-react";
import { Toolbar } from "react-aria-components/Toolbar";
import { IconButton } from "../components/icon-button.tsx";
import { Menu, MenuChoice, MenuItem } from "../components/menu.tsx";
import type { ScreenSize } from "../library/preferences.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { download, safeFileName } from "../open/save-file.ts";
import { KeysMenu } from "./keys-menu.tsx";
import { KEYBOARD_ID } from "./on-screen-keyboard-keys.ts";
import { SoundButton } from "./sound-button.tsx";
import styles from "./tool-strip.module.css";
import { useChanges } from "./use-changes.ts";
import { useSaid } from "./use-said.ts";

export interface ScreenToolsProps {
  session: MachineSession;
  state: MachineSession["state"];
  size: ScreenSize;
  onSize: (size: ScreenSize) => void;
  keyboardShown: boolean;
  onKeyboard: () => void;
  onTypeText: () => void;
  run: (action: () => Promise<unknown>) => void;
}

/** What can be done with the guest's screen, above it. */
export function ScreenTools(props: ScreenToolsProps) {
  const { session, state, size, onSize, keyboardShown, onKeyboard, onTypeText, run } = props;
  const [said, say] = useSaid();
  const pointer = useChanges(session.pointer);
  // What is typed into a machine that stands still would come all at once later.
  const listens = state === "running";
  const save = async () => {
    const picture = await session.screen.screenshot();
    download(picture, safeFileName(`${session.name} ${timeStamp(new Date())}.png`));
    say("Picture saved");
  };
  const copy = async () => {
    // A promise of the picture, so that the browser still sees the click.
    const item = new ClipboardItem({ "image/png": session.screen.screenshot() });
    await navigator.clipboard.write([item]);
    say("Picture copied");
  };
  return (
    <div className={styles.strip}>
      <span className={styles.title}>Screen</span>
      <span className={styles.said} role="status">
        {said}
      </span>
      <Toolbar aria-label="Screen tools" className={styles.tools ?? ""}>
        <KeysMenu
          keyboard={session.keyboard}
          isDisabled={!listens}
          keyboardShown={keyboardShown}
          onKeyboard={onKeyboard}
          run={run}
        />
        <span className={styles.touchOnly}>
          <IconButton
            label="Keyboard"
            icon={Keyboard}
            aria-expanded={keyboardShown}
            aria-controls={KEYBOARD_ID}
            onPress={onKeyboard}
          />
        </span>
        <IconButton
          label="Type text"
          icon={TextCursorInput}
          isDisabled={state === "starting"}
          onPress={onTypeText}
        />
        {pointer.listening && !pointer.absolute && (
          <IconButton
            label="Give the mouse to the machine"
            icon={MousePointer2}
            onPress={() => run(() => pointer.lock())}
          />
        )}
        <SoundButton sound={session.sound} />
        <Menu label="Picture of the screen" button={<IconButton label="Picture" icon={Camera} />}>
          <MenuItem id="save" label="Save the picture" onAction={() => run(save)} />
          {"ClipboardItem" in window && (
            <MenuItem id="copy" label="Copy the picture" onAction={() => run(copy)} />
          )}
        </Menu>
        <Menu label="Size of the screen" button={<IconButton label="Size" icon={Scaling} />}>
          <MenuChoice title="Size" choices={SIZES} chosen={size} onChoose={onSize} />
        </Menu>
      </Toolbar>
    </div>
  );
}

const SIZES = [
  { id: "whole", label: "Sharp", detail: "whole pixels" },
  { id: "fill", label: "Fill", detail: "as large as fits" },
] as const;

/** Sorts as it reads, and has no letter that a file's name cannot have. */
function timeStamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("-")}`;
}
