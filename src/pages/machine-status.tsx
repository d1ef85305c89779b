import { Keyboard, TriangleAlert } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { formatBytes } from "../components/format.ts";
import { Tip } from "../components/tip.tsx";
import { ActivityLights } from "../machine-tools/activity-lights.tsx";
import { networkWords } from "../machine-tools/network-words.ts";
import { useChanges } from "../machine-tools/use-changes.ts";
import type { MachineSession, SessionActivity } from "../open/machine-session.ts";
import styles from "./machine-status.module.css";
import type { KeyTarget } from "./machine-view.tsx";

export interface MachineStatusProps {
  session: MachineSession;
  state: MachineSession["state"];
  keys: KeyTarget;
  /** Opens what the network is set in. */
  onNetwork: () => void;
}

/** How often figures are read. They are for a glance, not for measuring. */
const REFRESH_MS = 1000;

const STATE_WORDS = {
  starting: "Starting",
  running: "Running",
  paused: "Paused",
  stopped: "Off",
  error: "Stopped by an error",
} as const;

/** One line: state, who has the keyboard, what is stored and fetched. */
export function MachineStatus({ session, state, keys, onNetwork }: MachineStatusProps) {
  const [open, setOpen] = useState(false);
  const [, refresh] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => refresh((count) => count + 1), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const pointer = useChanges(session.pointer);
  const stats = session.stats();
  const network = useChanges(session.network);
  const { short, more, problem } = networkWords(network);
  const { httpBytes, totalBytes } = session.fetched();
  return (
    <footer className={styles.footer}>
      <p className={styles.line}>
        <span className={styles.words}>
          <span className={styles.state} data-state={state} role="status">
            {STATE_WORDS[state]}
          </span>
          <span className={styles.keys} data-active={keys !== undefined}>
            <Keyboard size={15} aria-hidden="true" />
            {keys === undefined ? "Keys: this page" : `Keys: ${keys}`}
            {keys !== undefined && <span className={styles.hint}>Ctrl-Alt-G leaves</span>}
          </span>
          {pointer.listening && !pointer.absolute && (
            <span className={styles.mouse}>
              {pointer.locked ? "Mouse: machine. Esc leaves" : "Mouse: click the screen"}
            </span>
          )}
          <span>
            {session.activity ? savingWords(session.activity) : storedWords(session, stats.dirtyBytes)}
          </span>
          {totalBytes > 0 && (
            <span className={styles.fetched}>
              {formatBytes(Math.min(httpBytes, totalBytes))} of {formatBytes(totalBytes)} fetched
            </span>
          )}
        </span>
        {/* At the end, where nothing that is said moves a button that is about to be pressed. */}
        <span className={styles.tools}>
          <ActivityLights session={session} hasNetwork={network.choice.kind !== "off"} />
          <Tip text={problem ?? ""} isDisabled={problem === undefined}>
            <Button look="quiet" onPress={onNetwork}>
              {problem !== undefined && <TriangleAlert size={15} aria-hidden="true" />}
              {short}
              {more && <span className={styles.hint}>{` ${more}`}</span>}
            </Button>
          </Tip>
          <Button look="quiet" aria-expanded={open} aria-controls="statistics" onPress={() => setOpen(!open)}>
            Statistics
          </Button>
        </span>
      </p>
      <dl id="statistics" className={styles.figures} hidden={!open}>
        <Figure name="Memory" value={`${session.memoryMiB} MiB`} />
        <Figure name="Read" value={formatBytes(stats.bytesRead)} />
        <Figure name="Written" value={formatBytes(stats.bytesWritten)} />
        <Figure name="Disk requests" value={String(stats.requests)} />
        <Figure
          name="Answered from memory"
          value={stats.requests ? `${Math.round((100 * stats.cacheHits) / stats.requests)} %` : "none yet"}
        />
        <Figure name="Flushes" value={String(stats.flushes)} />
        <Figure name="Commits" value={String(stats.commits)} />
        <Figure name="Network in" value={formatBytes(stats.networkBytesIn)} />
        <Figure name="Network out" value={formatBytes(stats.networkBytesOut)} />
        <Figure name="HTTP requests" value={String(stats.httpRequests)} />
        <Figure name="HTTP" value={formatBytes(stats.httpBytes)} />
      </dl>
    </footer>
  );
}

function storedWords(session: MachineSession, dirtyBytes: number): string {
  if (!session.id) return "Nothing is kept";
  return dirtyBytes === 0 ? "Disk stored" : `${formatBytes(dirtyBytes)} not stored yet`;
}

function savingWords({ kind, fraction }: SessionActivity): string {
  const words = {
    saving: "Saving",
    autosaving: "Autosaving",
    suspending: "Suspending",
    loading: "Restoring",
    exporting: "Exporting",
  };
  return `${words[kind]} ${Math.floor(fraction * 100)} %`;
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
