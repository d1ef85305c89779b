import { ArrowLeft, Download, Maximize, Pause, Play, Power, RotateCcw } from "lucide-react";
import { Toolbar } from "react-aria-components/Toolbar";
import { Button } from "../components/button.tsx";
import { goTo } from "../components/page-location.ts";
import { ThemeButton } from "../components/theme-button.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { exportOverlay } from "./machine-problem.tsx";
import styles from "./machine-toolbar.module.css";

export interface MachineToolbarProps {
  session: MachineSession;
  state: MachineSession["state"];
  run: (action: () => Promise<unknown>) => void;
  onFullScreen: () => Promise<void>;
}

export function MachineToolbar({ session, state, run, onFullScreen }: MachineToolbarProps) {
  const on = state === "running" || state === "paused";
  return (
    <header className={styles.header}>
      <Button look="quiet" iconOnly aria-label="All machines" onPress={() => goTo("/")}>
        <ArrowLeft size={18} aria-hidden="true" />
      </Button>
      <span className={styles.name}>{session.name}</span>
      <Toolbar aria-label="Machine" className={styles.tools ?? ""}>
        <Button
          look="quiet"
          isDisabled={!on}
          onPress={() => run(() => (state === "paused" ? session.resume() : session.pause()))}
        >
          {state === "paused" ? (
            <Play size={17} aria-hidden="true" />
          ) : (
            <Pause size={17} aria-hidden="true" />
          )}
          <span className={styles.label}>{state === "paused" ? "Resume" : "Pause"}</span>
        </Button>
        <Button look="quiet" isDisabled={state === "starting"} onPress={() => run(() => session.reset())}>
          <RotateCcw size={17} aria-hidden="true" />
          <span className={styles.label}>Reset</span>
        </Button>
        <Button look="quiet" isDisabled={!on} onPress={() => run(() => session.powerOff())}>
          <Power size={17} aria-hidden="true" />
          <span className={styles.label}>Power off</span>
        </Button>
        <Button look="quiet" onPress={() => run(onFullScreen)}>
          <Maximize size={17} aria-hidden="true" />
          <span className={styles.label}>Full screen</span>
        </Button>
        <Button look="quiet" onPress={() => run(() => exportOverlay(session))}>
          <Download size={17} aria-hidden="true" />
          <span className={styles.label}>Export overlay</span>
        </Button>
      </Toolbar>
      <ThemeButton />
    </header>
  );
}
