import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { goTo } from "../components/page-location.ts";
import { TimeAgo } from "../components/time-ago.tsx";
import { PageFrame } from "./page-frame.tsx";
import { usePageTitle } from "./use-page-title.ts";

export interface ResumeQuestionProps {
  name: string;
  /** When it was last saved, in milliseconds since 1970. */
  savedAtMs: number;
  onGoOn: (fromSaved: boolean) => void;
  onCancel: () => void;
}

/** The tab of a machine was closed, or crashed, while it was on: two ways back, and each loses something. */
export function ResumeQuestion({ name, savedAtMs, onGoOn, onCancel }: ResumeQuestionProps) {
  usePageTitle(`${name} - Byre`);
  return (
    <PageFrame title={`${name} was on when its tab closed`}>
      <p>
        It was last saved <TimeAgo time={savedAtMs} />. From there it goes on with every program that ran;
        what it has written to its disk since is gone then.
      </p>
      <p>Or it boots the disk as it is now, as after a power cut: the programs that ran are gone.</p>
      <Buttons>
        <Button look="primary" onPress={() => onGoOn(true)}>
          Go on from there
        </Button>
        <Button onPress={() => onGoOn(false)}>Boot its disk</Button>
        <Button
          look="quiet"
          onPress={() => {
            onCancel();
            goTo("/");
          }}
        >
          All machines
        </Button>
      </Buttons>
    </PageFrame>
  );
}
