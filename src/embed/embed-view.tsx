import { useEffect, useState } from "react";
import { late } from "../components/late.tsx";
import { Notice } from "../components/notice.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { useSessionState } from "../open/use-opener.ts";
import { GuestScreen } from "../pages/guest-screen.tsx";
import { MachineProblem } from "../pages/machine-problem.tsx";
import { usePageTitle } from "../pages/use-page-title.ts";
import { ViewSwitch } from "../pages/view-switch.tsx";
import styles from "./embed-view.module.css";

const SerialTerminal = late(async () => (await import("../pages/serial-terminal.tsx")).SerialTerminal, {
  waiting: <p className={styles.loading}>Loading the terminal.</p>,
});

/** The machine in a frame: what its appliance wants to be shown of it, screen, terminal or both. */
export function EmbedView({ session }: { session: MachineSession }) {
  const state = useSessionState(session) ?? "starting";
  const { display } = session.settings.next;
  const [view, setView] = useState<"screen" | "terminal">(display === "terminal" ? "terminal" : "screen");
  const [failure, setFailure] = useState<string>();
  usePageTitle(`${session.name} - Byre`);
  // The page around it says how to begin.
  useEffect(() => session.greeted(), [session]);
  const run = (action: () => Promise<unknown>) => {
    setFailure(undefined);
    action().catch((error: Error & { code?: string }) => {
      if (session.state !== "error" && error.code !== "CANCELLED") setFailure(error.message);
    });
  };
  return (
    <main className={styles.main} data-fills-window>
      <h1 className="visually-hidden">{session.name}</h1>
      {failure && <Notice tone="danger">{failure}</Notice>}
      <MachineProblem session={session} state={state} run={run} />
      {display === "both" && <ViewSwitch view={view} onChange={setView} />}
      <div className={styles.panels} data-display={display} data-view={view}>
        {display !== "terminal" && (
          <section className={styles.screen} aria-label="Screen">
            {/* The page around it keeps the keyboard until somebody presses here. */}
            <GuestScreen session={session} size="whole" focusAtOnce={false} onKeys={() => {}} />
          </section>
        )}
        {display !== "screen" && (
          <section className={styles.terminal} aria-label="Serial terminal">
            <SerialTerminal session={session} onKeys={() => {}} run={run} />
          </section>
        )}
      </div>
    </main>
  );
}
