import { useEffect, useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { ActivityProgress } from "./activity-progress.tsx";
import { PageFrame } from "./page-frame.tsx";
import { useSession } from "./use-session.ts";

export interface OpenQuestionProps {
  running: MachineSession;
  /** Switches the running one off and goes on. */
  onGoOn: () => void;
  onCancel: () => void;
}

/** One machine a tab: the one that is on has to make room. */
export function OpenQuestion({ running, onGoOn, onCancel }: OpenQuestionProps) {
  const [failure, setFailure] = useState<string>();
  const { activity } = useSession(running) ?? running;
  // Nothing but what is done with its disk can be in the way then.
  const [wasOff] = useState(running.state === "stopped");
  const suspending = activity?.kind === "suspending";
  // A machine that is thrown away has nowhere to be suspended to, and one stopped by an error no state to save.
  const canSuspend = running.id !== undefined && (running.state === "running" || running.state === "paused");
  const back = () => {
    onCancel();
    goTo(running.id ? `/machine/${running.id}` : "/");
  };
  const suspend = () => {
    setFailure(undefined);
    running.suspend().then(onGoOn, (error: Error & { code?: string }) => {
      if (error.code !== "CANCELLED") setFailure(error.message);
    });
  };
  useEffect(() => {
    if (wasOff) void running.settled().then(onGoOn);
  }, [wasOff, running, onGoOn]);
  if (wasOff)
    return (
      <PageFrame title={`${running.name} is not done yet`}>
        <p>Its disk is being exported or copied. When that is done, this goes on by itself.</p>
        {activity && <ActivityProgress activity={activity} machineName={running.name} />}
        <Buttons>
          <Button onPress={onGoOn}>Call that off and go on</Button>
          <Button onPress={back}>Back to {running.name}</Button>
        </Buttons>
      </PageFrame>
    );
  return (
    <PageFrame title={`${running.name} is on in this tab`}>
      <p>
        A tab runs one machine.{" "}
        {canSuspend ? `Suspended, ${running.name} goes on later exactly from where it is. ` : ""}
        Switching it off is like pulling its plug: what it has written is kept, what it had not written yet is
        not. To have both, open the other one in a new tab.
      </p>
      {failure && (
        <Notice tone="danger" title={`${running.name} could not be suspended`}>
          <p>{failure}</p>
        </Notice>
      )}
      {suspending ? (
        <ActivityProgress activity={activity} machineName={running.name} />
      ) : (
        <Buttons>
          {canSuspend && (
            <Button look="primary" onPress={suspend}>
              Suspend it and go on
            </Button>
          )}
          <Button look={canSuspend ? "plain" : "primary"} onPress={onGoOn}>
            Switch it off and go on
          </Button>
          <Button onPress={back}>Back to {running.name}</Button>
        </Buttons>
      )}
    </PageFrame>
  );
}
