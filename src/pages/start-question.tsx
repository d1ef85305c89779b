import { LicenceQuestion } from "../appliance/licence-question.tsx";
import type { OpenState } from "../open/opener.ts";
import { StrangerQuestion } from "./stranger-question.tsx";

export interface StartQuestionProps {
  asked: Extract<OpenState, { phase: "asking-start" }>;
  onDecline: () => void;
  /** What the button says that starts nothing. */
  declineLabel?: string;
}

/** What has to be known or agreed to before a machine is made: where it comes from, or its licence. */
export function StartQuestion({ asked, onDecline, declineLabel }: StartQuestionProps) {
  const { question, goOn } = asked;
  const { name, description, licence, stranger } = question;
  if (stranger)
    return (
      <StrangerQuestion
        question={question}
        stranger={stranger}
        onStart={() => goOn()}
        onCancel={onDecline}
        {...(declineLabel !== undefined && { cancelLabel: declineLabel })}
      />
    );
  return (
    licence && (
      <LicenceQuestion
        name={name}
        icon={description.icon}
        licence={licence}
        onAccept={() => goOn()}
        onDecline={onDecline}
      />
    )
  );
}
