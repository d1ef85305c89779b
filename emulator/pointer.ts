import { ByreError } from "../disk/index.ts";
import { createChangeNotifier } from "./change-notifier.ts";
import type { MachinePointer } from "./machine-devices.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** The mouse of a machine. It outlives the emulator it is attached to. */
export interface Pointer extends MachinePointer {
  attach(emulator: V86Emulator, container: HTMLElement | undefined): void;
  close(): void;
}

export function createPointer(screenElement: HTMLElement | undefined): Pointer {
  const document = screenElement?.ownerDocument;
  let emulator: V86Emulator | undefined;
  let enabled = false;
  let absolute = false;
  let listening = false;
  const changes = createChangeNotifier();
  const isLocked = () => document !== undefined && document.pointerLockElement === screenElement;
  let locked = isLocked();

  const lockChanged = () => {
    if (locked === isLocked()) return;
    locked = isLocked();
    changes.notify();
  };
  document?.addEventListener("pointerlockchange", lockChanged);
  const setAbsolute = (now: boolean) => {
    if (absolute === now) return;
    absolute = now;
    changes.notify();
  };
  const setListening = (now: boolean) => {
    if (listening === now) return;
    listening = now;
    changes.notify();
  };
  return {
    attach(next, container) {
      emulator = next;
      next.mouse_set_enabled(enabled);
      if (container) measureCanvas(next, container);
      next.add_listener("vmware-absolute-mouse", (now: boolean) => {
        if (emulator === next) setAbsolute(now);
      });
      setAbsolute(next.absolute_pointer_enabled);
      next.add_listener("mouse-enable", (now: boolean) => {
        if (emulator === next) setListening(now);
      });
      setListening(next.mouse_adapter?.enabled ?? false);
    },
    setEnabled(now) {
      enabled = now;
      emulator?.mouse_set_enabled(now);
      if (!now && isLocked()) document?.exitPointerLock();
    },
    async lock() {
      if (!screenElement || !document || !("requestPointerLock" in screenElement))
        throw new ByreError("UNSUPPORTED_FEATURE", "The pointer cannot be locked here.");
      if (isLocked()) return;
      await requestLock(screenElement, document);
    },
    get locked() {
      return isLocked();
    },
    get absolute() {
      return absolute;
    },
    get listening() {
      return listening;
    },
    onChange: (listener) => changes.add(listener),
    close() {
      document?.removeEventListener("pointerlockchange", lockChanged);
      if (isLocked()) document?.exitPointerLock();
    },
  };
}

async function requestLock(element: HTMLElement, document: Document): Promise<void> {
  const refused = (cause?: unknown) =>
    new ByreError(
      "UNSUPPORTED_FEATURE",
      "The browser did not lock the pointer: click the screen again.",
      {},
      cause,
    );
  await new Promise<void>((resolve, reject) => {
    const events = new AbortController();
    const { signal } = events;
    const end = (settle: () => void) => {
      events.abort();
      settle();
    };
    document.addEventListener("pointerlockchange", () => end(resolve), { signal });
    document.addEventListener("pointerlockerror", () => end(() => reject(refused())), { signal });
    // Older browsers return nothing, and tell by the events alone.
    const asked: Promise<void> | undefined = element.requestPointerLock();
    asked?.catch((cause: unknown) => end(() => reject(refused(cause))));
  });
}

/**
 * v86 takes a position within its container, which may be larger than the canvas in it, and has none for a finger
 * that moves.
 */
function measureCanvas({ mouse_adapter: mouse }: V86Emulator, container: HTMLElement): void {
  if (!mouse) return;
  const { bus } = mouse;
  const sendPlace = (clientX: number, clientY: number) => {
    const { left, top, width, height } = container.querySelector("canvas")?.getBoundingClientRect() ?? {};
    if (!width || !height || left === undefined || top === undefined) return;
    bus.send("mouse-absolute", [clientX - left, clientY - top, width, height]);
  };
  mouse.bus = {
    send(event, value) {
      if (event !== "mouse-absolute") {
        bus.send(event, value);
        return;
      }
      const [x = 0, y = 0] = value as number[];
      const outer = container.getBoundingClientRect();
      if (Number.isFinite(x) && Number.isFinite(y)) sendPlace(x + outer.left, y + outer.top);
    },
  };
  container.addEventListener("touchmove", ({ changedTouches }) => {
    const touch = changedTouches[changedTouches.length - 1];
    if (touch) sendPlace(touch.clientX, touch.clientY);
  });
}
