import { Play } from "lucide-react";
import { networkChoiceText } from "../../emulator/index.ts";
import { Address, ApplianceFactsView, ApplianceTitle, Fact } from "../appliance/appliance-facts-view.tsx";
import { LicenceText } from "../appliance/licence-text.tsx";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { LINK_DRIVES, type LinkDrive } from "../open/machine-link.ts";
import type { StartQuestion, Stranger } from "../open/start-question.ts";
import { PageFrame } from "./page-frame.tsx";
import { usePageTitle } from "./use-page-title.ts";

const DRIVE_WORDS: Readonly<Record<LinkDrive, string>> = {
  hdb: "Second disk",
  cdrom: "CD",
  floppy: "Floppy disk",
};

export interface StrangerQuestionProps {
  question: StartQuestion;
  stranger: Stranger;
  onStart: () => void;
  onCancel: () => void;
  /** What the button says that starts nothing. */
  cancelLabel?: string;
}

/** A link from outside was followed: what it would run, and from where. Nothing of it has run yet. */
export function StrangerQuestion(props: StrangerQuestionProps) {
  const { question, stranger, onStart, onCancel, cancelLabel = "All machines" } = props;
  const { name, description, licence } = question;
  const { url, ephemeral, drivenBy, drives, network } = stranger;
  usePageTitle(`${name} - Byre`);
  return (
    <PageFrame title={<ApplianceTitle icon={description.icon} name={name} />}>
      <p>
        This link runs a machine from {new URL(url).host}. It runs inside this page and cannot reach your
        files.{" "}
        {ephemeral
          ? "Nothing it writes is kept."
          : "What it writes is kept in this browser until you delete it."}
      </p>
      <ApplianceFactsView {...stranger} description={description} origin={{ kind: "url", url }}>
        {drivenBy.length > 0 && (
          <Fact name="Driven by">
            <bdo dir="ltr">{drivenBy.join(", ")}</bdo>, which can type into it, and read what it shows and its
            whole disk
          </Fact>
        )}
        {LINK_DRIVES.map((drive) => {
          const address = drives[drive];
          return (
            address !== undefined && (
              <Fact key={drive} name={DRIVE_WORDS[drive]}>
                <Address url={address} />
              </Fact>
            )
          );
        })}
        {network && (
          <Fact name="Network">
            off until you allow it. The link asks for{" "}
            {network.kind === "relay" ? (
              <>
                a connection through <bdo dir="ltr">{networkChoiceText(network)}</bdo>
              </>
            ) : (
              "what this browser can fetch"
            )}
            .
          </Fact>
        )}
      </ApplianceFactsView>
      {licence && (
        <>
          <p>
            Its maker asks you to agree to its licence, <b dir="auto">{licence.title}</b>. You are asked once
            for this text.
          </p>
          <LicenceText title={licence.title} text={licence.text} />
        </>
      )}
      <Buttons>
        <Button look="primary" onPress={onStart}>
          <Play size={16} aria-hidden="true" />
          {licence ? "Accept and start" : "Start"}
        </Button>
        <Button onPress={onCancel}>{licence ? "Decline" : cancelLabel}</Button>
      </Buttons>
    </PageFrame>
  );
}
