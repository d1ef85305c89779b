import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { PageFrame } from "../pages/page-frame.tsx";
import { usePageTitle } from "../pages/use-page-title.ts";
import type { LicenceToAccept } from "./accepted-licences.ts";
import { ApplianceTitle } from "./appliance-facts-view.tsx";
import type { IconData } from "./icon-data.ts";
import { LicenceText } from "./licence-text.tsx";

export interface LicenceQuestionProps {
  /** Of the appliance. */
  name: string;
  icon: IconData | undefined;
  licence: LicenceToAccept;
  onAccept: () => void;
  onDecline: () => void;
}

/** Before an appliance first runs: what its maker wants agreed to. Nothing of it has run yet. */
export function LicenceQuestion({ name, icon, licence, onAccept, onDecline }: LicenceQuestionProps) {
  usePageTitle(`${name} - Byre`);
  return (
    <PageFrame title={<ApplianceTitle icon={icon} name={name} />}>
      <p>
        Before {name} runs, its maker asks you to agree to its licence, <b dir="auto">{licence.title}</b>. You
        are asked once for this text.
      </p>
      <LicenceText title={licence.title} text={licence.text} />
      <Buttons>
        <Button look="primary" onPress={onAccept}>
          Accept and start
        </Button>
        <Button onPress={onDecline}>Decline</Button>
      </Buttons>
    </PageFrame>
  );
}
