import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import { MarkdownText } from "./markdown-text.tsx";

export interface FirstRunMessageProps {
  /** For `aria-controls` of what opens it. */
  id?: string;
  /** Of the appliance. */
  name: string;
  /** As `ApplianceDescription.message`. */
  message: string;
  onClose: () => void;
}

/**
 * What an appliance says when it first runs, beside the machine: it can be read while the machine is tried. It does
 * not take the focus, which the guest's screen has.
 */
export function FirstRunMessage({ id, name, message, onClose }: FirstRunMessageProps) {
  return (
    <SidePanel {...(id && { id })} title={name} closeLabel={`Close what ${name} says`} onClose={onClose}>
      <MarkdownText text={message} headingLevel={3} />
      <Buttons>
        <Button look="primary" onPress={onClose}>
          Got it
        </Button>
      </Buttons>
    </SidePanel>
  );
}
