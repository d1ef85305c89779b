import { Button } from "../components/button.tsx";
import { goTo } from "../components/page-location.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { PageFrame } from "./page-frame.tsx";

export interface OpenQuestionProps {
  running: MachineSession;
  onGoOn: () => void;
  onCancel: () => void;
}

/** One machine a tab: the one that is on has to make room. */
export function OpenQuestion({ running, onGoOn, onCancel }: OpenQuestionProps) {
  const back = () => {
    onCancel();
    goTo(running.id ? `/machine/${running.id}` : "/");
  };
  return (
    <PageFrame title={`${running.name} is on in this tab`}>
      <p>
        A tab runs one machine. Switching {running.name} off is like pulling its plug: what it has written is
        kept, what it had not written yet is not. To have both, open the other one in a new tab.
      </p>
      <div>
        <Button look="primary" onPress={onGoOn}>
          Switch it off and go on
        </Button>{" "}
        <Button onPress={back}>Back to {running.name}</Button>
      </div>
    </PageFrame>
  );
}
