import { useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { isFocusLost } from "./focus-lost.ts";
import { rescueOverlay } from "./machine-actions.ts";

export interface MachineProblemProps {
  session: MachineSession;
  state: MachineSession["state"];
  run: (action: () => Promise<unknown>) => void;
}

/** What keeps the machine from running, and the ways on: after an error, or after a power-off. */
export function MachineProblem({ session, state, run }: MachineProblemProps) {
  const [busy, setBusy] = useState(false);
  const wayOnButton = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    // The button that switched it off cannot be pressed any more.
    if (state === "stopped" && isFocusLost()) wayOnButton.current?.focus();
  }, [state]);
  if (state === "stopped" && session.suspended) {
    return (
      <Notice
        tone="neutral"
        actions={
          <Button look="primary" ref={wayOnButton} onPress={() => run(() => session.resume())}>
            Resume
          </Button>
        }
      >
        <p>{session.name} is suspended. It goes on from here whenever you come back.</p>
      </Notice>
    );
  }
  if (state === "stopped") {
    return (
      <Notice
        tone="neutral"
        actions={
          <Button look="primary" ref={wayOnButton} onPress={() => run(() => session.reset())}>
            Start again
          </Button>
        }
      >
        <p>
          {session.name} is off.{" "}
          {session.id ? "What it had written to its disk is kept." : "It is gone when you leave."}
        </p>
      </Notice>
    );
  }
  const { error } = session;
  if (state !== "error" || !error) return null;
  const crashed = error.code === "GUEST_CRASH";
  const retry = () => {
    setBusy(true);
    run(() => session.retry().finally(() => setBusy(false)));
  };
  return (
    <Notice
      tone="danger"
      title={crashed ? `${session.name} crashed` : `${session.name} is stopped, and nothing is lost`}
      code={error.code}
      actions={
        <>
          {crashed ? (
            <Button look="primary" onPress={() => run(() => session.reset())}>
              Reset
            </Button>
          ) : (
            <Button look="primary" isDisabled={busy} onPress={retry}>
              {busy ? "Trying" : "Retry"}
            </Button>
          )}
          <Button onPress={() => run(() => rescueOverlay(session))}>Export overlay</Button>
          <Button look="danger" onPress={() => run(() => session.powerOff())}>
            Power off
          </Button>
        </>
      }
    >
      <p>{error.message}</p>
      {!crashed && <p>{wayOn(session)}</p>}
    </Notice>
  );
}

function wayOn(session: MachineSession): string {
  return session.stats().dirtyBytes > 0
    ? "Retry goes on where it stopped. A power-off gives up what could not be stored; export it first."
    : "Retry goes on where it stopped.";
}
