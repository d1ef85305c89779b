import { useEffect } from "react";
import { goTo } from "../components/page-location.ts";
import { openAddress, requestOf } from "../open/open-address.ts";
import { opener } from "../open/opener.ts";
import { useOpenState } from "../open/use-opener.ts";
import { FileQuestion } from "./file-question.tsx";
import { MachineView } from "./machine-view.tsx";
import { OpenFailed } from "./open-failed.tsx";
import { OpenProgress } from "./open-progress.tsx";
import { OpenQuestion } from "./open-question.tsx";
import { ResumeQuestion } from "./resume-question.tsx";
import { StartQuestion } from "./start-question.tsx";

/**
 * Whatever the address asks for, on its way to a running machine, or what stands in the way.
 *
 * @param location what stands after `#`.
 */
export function MachinePage({ location }: { location: string }) {
  const state = useOpenState();
  const asked = requestOf(location);
  useEffect(() => {
    if (!openAddress(location) && opener.state().phase === "none") goTo("/", { replace: true });
  }, [location]);
  useEffect(() => leave, []);

  const id = state.phase === "open" ? state.session.id : undefined;
  useEffect(() => {
    // A machine has an address of its own: a reload finds it again, and does not make another. But another may be
    // on its way since this was drawn.
    const now = opener.state();
    if (id && now.phase === "open" && now.session.id === id) goTo(`/machine/${id}`, { replace: true });
  }, [id]);

  if (asked instanceof Error) return <OpenFailed request={undefined} error={asked} />;
  switch (state.phase) {
    case "none":
      return null;
    case "opening":
      return <OpenProgress request={state.request} progress={state.progress} onCancel={state.cancel} />;
    case "asking":
      return <OpenQuestion running={state.running} onGoOn={() => state.goOn()} onCancel={state.cancel} />;
    case "asking-resume":
      return (
        <ResumeQuestion
          name={state.name}
          savedAtMs={state.savedAtMs}
          onGoOn={state.goOn}
          onCancel={state.cancel}
        />
      );
    case "asking-file":
      return (
        <FileQuestion
          request={state.request}
          question={state.question}
          onFiles={state.goOn}
          onCancel={state.cancel}
        />
      );
    case "asking-start": {
      const { cancel } = state;
      const decline = () => {
        cancel();
        goTo("/");
      };
      return <StartQuestion asked={state} onDecline={decline} />;
    }
    case "failed":
      return <OpenFailed request={state.request} error={state.error} />;
    case "open":
      return <MachineView session={state.session} />;
  }
}

function leave(): void {
  opener.dismiss();
  opener.leave();
}
