import {
  ArrowLeft,
  Download,
  History,
  Info,
  Maximize,
  Pause,
  Play,
  Power,
  RotateCcw,
  Snowflake,
} from "lucide-react";
import type { ReactNode, Ref } from "react";
import { Toolbar } from "react-aria-components/Toolbar";
import { Button, type ButtonProps } from "../components/button.tsx";
import { goTo } from "../components/page-location.ts";
import { ThemeButton } from "../components/theme-button.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { suspendMachine } from "./machine-actions.ts";
import styles from "./machine-toolbar.module.css";

export interface MachineToolbarProps {
  session: MachineSession;
  state: MachineSession["state"];
  /** Whether the snapshots are shown. */
  snapshotsOpen: boolean;
  onSnapshots: () => void;
  snapshotsButton: Ref<HTMLButtonElement>;
  /** Whether the export is shown. */
  exportOpen: boolean;
  onExport: () => void;
  exportButton: Ref<HTMLButtonElement>;
  /** Whether it is shown what the machine says of itself. */
  aboutOpen: boolean;
  onAbout: () => void;
  aboutButton: Ref<HTMLButtonElement>;
  run: (action: () => Promise<unknown>) => void;
  onFullScreen: () => Promise<void>;
}

export function MachineToolbar(props: MachineToolbarProps) {
  const { session, state, snapshotsOpen, onSnapshots, snapshotsButton, run, onFullScreen } = props;
  const { exportOpen, onExport, exportButton, aboutOpen, onAbout, aboutButton } = props;
  const on = state === "running" || state === "paused";
  // A save is no reason to wait: the machine runs on meanwhile.
  const kind = session.activity?.kind;
  const busy = kind === "loading" || kind === "suspending" || kind === "exporting";
  const suspend = async () => {
    await suspendMachine(session);
    // Whoever has gone elsewhere meanwhile stays there.
    if (location.hash === `#/machine/${session.id}`) goTo("/");
  };
  return (
    <header className={styles.header}>
      <Button look="quiet" iconOnly aria-label="All machines" onPress={() => goTo("/")}>
        <ArrowLeft size={18} aria-hidden="true" />
      </Button>
      <span className={styles.name}>{session.name}</span>
      <Toolbar aria-label="Machine" className={styles.tools ?? ""}>
        {state === "paused" ? (
          <Tool label="Resume" isDisabled={busy} onPress={() => run(() => session.resume())}>
            <Play size={17} aria-hidden="true" />
          </Tool>
        ) : (
          <Tool label="Pause" isDisabled={!on || busy} onPress={() => run(() => session.pause())}>
            <Pause size={17} aria-hidden="true" />
          </Tool>
        )}
        <Tool
          label="Reset"
          isDisabled={state === "starting" || busy}
          onPress={() => run(() => session.reset())}
        >
          <RotateCcw size={17} aria-hidden="true" />
        </Tool>
        <Tool label="Power off" isDisabled={!on || busy} onPress={() => run(() => session.powerOff())}>
          <Power size={17} aria-hidden="true" />
        </Tool>
        {session.id && (
          <Tool label="Suspend" isDisabled={!on || busy} onPress={() => run(suspend)}>
            <Snowflake size={17} aria-hidden="true" />
          </Tool>
        )}
        <Tool
          label="Snapshots"
          isDisabled={state === "starting"}
          aria-expanded={snapshotsOpen}
          aria-controls="snapshots"
          ref={snapshotsButton}
          onPress={onSnapshots}
        >
          <History size={17} aria-hidden="true" />
        </Tool>
        <Tool
          label="About"
          isDisabled={state === "starting"}
          aria-expanded={aboutOpen}
          aria-controls="about"
          ref={aboutButton}
          onPress={onAbout}
        >
          <Info size={17} aria-hidden="true" />
        </Tool>
        <Tool label="Full screen" onPress={() => run(onFullScreen)}>
          <Maximize size={17} aria-hidden="true" />
        </Tool>
        <Tool
          label="Export"
          isDisabled={state === "starting"}
          aria-expanded={exportOpen}
          aria-controls="export"
          ref={exportButton}
          onPress={onExport}
        >
          <Download size={17} aria-hidden="true" />
        </Tool>
      </Toolbar>
      <span className={styles.theme}>
        <ThemeButton />
      </span>
    </header>
  );
}

/** An icon with its name, which narrow windows show to screen readers only. */
function Tool({ label, children, ...props }: ButtonProps & { label: string; children: ReactNode }) {
  return (
    <Button look="quiet" {...props}>
      {children}
      <span className={styles.label}>{label}</span>
    </Button>
  );
}
