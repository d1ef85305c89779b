import { useEffect, useRef, useState } from "react";
import { late } from "../components/late.tsx";
import { Notice } from "../components/notice.tsx";
import { FilesQuestion } from "../machine-tools/files-question.tsx";
import { ScreenTools } from "../machine-tools/screen-tools.tsx";
import { usePreference } from "../machine-tools/use-preference.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { useSessionState } from "../open/use-opener.ts";
import { isFocusLost } from "./focus-lost.ts";
import { GuestScreen } from "./guest-screen.tsx";
import { ImportProgress } from "./import-progress.tsx";
import { MachineNotices } from "./machine-notices.tsx";
import { MACHINE_PANELS } from "./machine-panels.tsx";
import { MachineProblem } from "./machine-problem.tsx";
import { MachineStatus } from "./machine-status.tsx";
import { MachineToolbar } from "./machine-toolbar.tsx";
import styles from "./machine-view.module.css";
import { runFiles } from "./open-files.ts";
import { QuickSnapshots } from "./quick-snapshots.tsx";
import { useKeyRelease } from "./use-key-release.ts";
import { usePageTitle } from "./use-page-title.ts";
import { useSession } from "./use-session.ts";
import { ViewSwitch } from "./view-switch.tsx";

// The terminal is as large as the rest of the page, and wanted with a machine only.
const SerialTerminal = late(async () => (await import("./serial-terminal.tsx")).SerialTerminal, {
  waiting: <p className={styles.loading}>Loading the terminal.</p>,
});
const Greeting = late(async () => (await import("./greeting.tsx")).Greeting);
const OnScreenKeyboard = late(
  async () => (await import("../machine-tools/on-screen-keyboard.tsx")).OnScreenKeyboard,
);

const GREETING = "greeting";

/** What has the keyboard; undefined when it is the page itself. */
export type KeyTarget = "screen" | "terminal" | undefined;

/** A machine that is there: its screen, its serial terminal, and what can be done with it. */
export function MachineView({ session }: { session: MachineSession }) {
  const state = useSessionState(session) ?? "starting";
  useSession(session);
  const { display } = session.settings.next;
  const [view, setView] = useState<"screen" | "terminal">(display === "terminal" ? "terminal" : "screen");
  const [keys, setKeys] = useState<KeyTarget>();
  const [failure, setFailure] = useState<string>();
  // The id of a panel, or what the appliance says when it first runs.
  const [panel, setPanel] = useState<string | undefined>(session.greets ? GREETING : undefined);
  const snapshotsOpen = panel === "snapshots";
  const [size, setSize] = usePreference("screenSize", "whole");
  const [keyboardShown, setKeyboardShown] = useState(false);
  const page = useRef<HTMLDivElement>(null);
  const main = useRef<HTMLElement>(null);
  const screen = useRef<HTMLElement>(null);
  const terminal = useRef<HTMLElement>(null);
  const panelButtons = useRef(new Map<string, HTMLButtonElement>());
  const lastKeys = useRef<"screen" | "terminal">(display === "terminal" ? "terminal" : "screen");
  useEffect(() => {
    if (display === "both") return;
    setView(display);
    lastKeys.current = display;
  }, [display]);
  usePageTitle(`${session.name} - Byre`);
  useKeyRelease(page);

  const keysGoTo = (target: KeyTarget) => {
    setKeys(target);
    if (target) lastKeys.current = target;
  };
  const run = (action: () => Promise<unknown>) => {
    setFailure(undefined);
    // What stopped the machine is shown by its state, and what was called off is known; the rest is said here.
    action().catch((error: Error & { code?: string }) => {
      if (session.state !== "error" && error.code !== "CANCELLED") setFailure(error.message);
    });
  };
  const lastPart = () => (lastKeys.current === "terminal" ? terminal : screen).current;
  const focusGuest = () => lastPart()?.querySelector<HTMLElement>("[role=application], textarea")?.focus();
  const wasState = useRef(state);
  useEffect(() => {
    const was = wasState.current;
    wasState.current = state;
    // The button that started it again is gone.
    if (was === "stopped" && state !== "stopped" && isFocusLost()) focusGuest();
  });
  const show = (next: string | undefined) => {
    // Beside a panel there may be room for one of the two: the one that was in use.
    if (next) setView(lastKeys.current);
    else if (panel && panel !== GREETING)
      (panelButtons.current.get(panel) ?? panelButtons.current.get("menu"))?.focus();
    setPanel(next);
  };
  const wasPanel = useRef(panel);
  useEffect(() => {
    // It may have lain over the guest until now.
    if (wasPanel.current === GREETING && !panel) focusGuest();
    wasPanel.current = panel;
  });
  useEffect(() => {
    if (state !== "error") return;
    // What has to be read and answered now must not be behind something.
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    if (main.current && getComputedStyle(main.current).visibility === "hidden") setPanel(undefined);
  }, [state]);
  const panelButton = (id: string) => (button: HTMLButtonElement | null) => {
    if (button) panelButtons.current.set(id, button);
    else panelButtons.current.delete(id);
  };
  const Panel = MACHINE_PANELS.find(({ id }) => id === panel)?.Panel;

  return (
    <div className={styles.page} ref={page} data-fills-window>
      <MachineToolbar
        session={session}
        state={state}
        openPanel={panel}
        onPanel={(id) => show(panel === id ? undefined : id)}
        panelButton={panelButton}
        run={run}
        onFullScreen={async () => {
          await lastPart()?.requestFullscreen();
          // Keys are the guest's there: no button is in sight.
          focusGuest();
        }}
      />
      <div className={styles.body}>
        <main className={styles.main} ref={main}>
          <h1 className="visually-hidden">{session.name}</h1>
          {failure && !panel && <Notice tone="danger">{failure}</Notice>}
          <MachineNotices session={session} run={run} />
          {session.copying && <ImportProgress machineName={session.name} copying={session.copying} />}
          <MachineProblem session={session} state={state} run={run} />
          <ViewSwitch
            always={display !== "both"}
            view={view}
            onChange={(next) => {
              setView(next);
              lastKeys.current = next;
            }}
          />
          <div className={styles.panels} data-view={view} data-one={display !== "both"}>
            <section className={styles.screen} aria-label="Screen" ref={screen}>
              <ScreenTools
                session={session}
                state={state}
                size={size}
                onSize={setSize}
                keyboardShown={keyboardShown}
                onKeyboard={() => setKeyboardShown(!keyboardShown)}
                onTypeText={() => show("type-text")}
                run={run}
              />
              <GuestScreen
                session={session}
                size={size}
                onKeys={(on) => keysGoTo(on ? "screen" : undefined)}
              />
              {keyboardShown && <OnScreenKeyboard keyboard={session.keyboard} />}
            </section>
            <section className={styles.terminal} aria-label="Serial terminal" ref={terminal}>
              <SerialTerminal
                session={session}
                focusAtOnce={display === "terminal"}
                onKeys={(on) => keysGoTo(on ? "terminal" : undefined)}
                run={run}
              />
            </section>
          </div>
        </main>
        {Panel && <Panel session={session} state={state} onClose={() => show(undefined)} run={run} />}
        {panel === GREETING && <Greeting session={session} onClose={() => show(undefined)} />}
        {(state === "running" || state === "paused") && (
          <FilesQuestion session={session} onRun={runFiles} run={run} />
        )}
        <QuickSnapshots
          session={session}
          state={state}
          run={run}
          snapshotsOpen={snapshotsOpen}
          panelOpen={panel !== undefined}
          failure={failure}
          onFailureRead={() => setFailure(undefined)}
        />
      </div>
      <MachineStatus session={session} state={state} keys={keys} onNetwork={() => show("settings")} />
    </div>
  );
}
