import { useEffect } from "react";
import { LicenceQuestion } from "../appliance/licence-question.tsx";
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
import { StrangerQuestion } from "./stranger-question.tsx";

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
    // A machine has an address of its own: a reload finds it again, and does not make another.
    if (id) goTo(`/machine/${id}`, { replace: true });
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
      const { question, goOn, cancel } = state;
      const decline = () => {
        cancel();
        goTo("/");
      };
      const { name, description, licence, stranger } = question;
      if (stranger)
        return (
          <StrangerQuestion
            question={question}
            stranger={stranger}
            onStart={() => goOn()}
            onCancel={decline}
          />
        );
      return (
        licence && (
          <LicenceQuestion
            name={name}
            icon={description.icon}
            licence={licence}
            onAccept={() => goOn()}
            onDecline={decline}
          />
        )
      );
    }
    case "failed":
      return <OpenFailed request={state.request} error={state.error} />;
    case "open":
      return <MachineView session={state.session} />;
  }
}

function leave(): void {
  opener.dismiss();
  // A machine that is on goes on behind the gallery; one that is off has no reason to keep its memory.
  // While its files are being copied it is what copies them.
  const here = opener.session();
  if (here?.state === "stopped" && here.copying?.progress.state !== "copying") opener.close().catch(() => {});
}
