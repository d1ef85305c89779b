import type { MachineKeyboard } from "../../emulator/index.ts";
import { MODIFIERS } from "./on-screen-keyboard-keys.ts";
import { type KeyName, pressCodes, releaseCodes } from "./scan-codes.ts";

/** `once`: until the next other key. `locked`: until it is pressed again. */
export type Held = "once" | "locked";

/** The keys of a keyboard that has no weight to hold a key down: modifiers stay down by themselves. */
export interface StickyKeys {
  /** Which modifiers are down. The map is replaced with every change. */
  readonly held: ReadonlyMap<KeyName, Held>;
  press(key: KeyName): void;
  /** A modifier's release does nothing: see `press`. */
  release(key: KeyName): void;
  /** Lets go of everything. */
  close(): void;
}

/** @param onChange called after `held` was replaced. */
export function createStickyKeys(
  keyboard: Pick<MachineKeyboard, "sendScancodes">,
  onChange: () => void,
): StickyKeys {
  let held: ReadonlyMap<KeyName, Held> = new Map();
  const down = new Set<KeyName>();
  // The keyboard sends one after the other; a machine that is gone meanwhile takes none.
  const send = (codes: readonly number[]) => void keyboard.sendScancodes(codes).catch(() => {});
  const hold = (key: KeyName, how: Held | undefined) => {
    const next = new Map(held);
    if (how) next.set(key, how);
    else next.delete(key);
    held = next;
  };
  const letGo = (which: (how: Held) => boolean) => {
    for (const [key, how] of [...held].reverse()) {
      if (!which(how)) continue;
      send(releaseCodes(key));
      hold(key, undefined);
    }
    onChange();
  };
  const release = (key: KeyName) => {
    if (!down.delete(key)) return;
    send(releaseCodes(key));
    if (down.size === 0) letGo((how) => how === "once");
  };
  return {
    get held() {
      return held;
    },
    press(key) {
      if (!MODIFIERS.includes(key)) {
        down.add(key);
        // Pressed while it is down: a key that repeats.
        send(pressCodes(key));
        return;
      }
      const how = held.get(key);
      if (how === undefined) {
        send(pressCodes(key));
        hold(key, "once");
      } else if (how === "once") hold(key, "locked");
      else {
        send(releaseCodes(key));
        hold(key, undefined);
      }
      onChange();
    },
    release,
    close() {
      for (const key of [...down]) release(key);
      letGo(() => true);
    },
  };
}
