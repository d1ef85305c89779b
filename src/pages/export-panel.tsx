import { useEffect, useRef } from "react";
import { SidePanel } from "../components/side-panel.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { ExportForm, isBusy } from "./export-form.tsx";

export interface ExportPanelProps {
  session: MachineSession;
  state: MachineSession["state"];
  onClose: () => void;
}

/** The machine's disk as a file, beside the machine. How far it is stands over the screen. */
export function ExportPanel({ session, state, onClose }: ExportPanelProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <SidePanel
      id="export"
      title="Export"
      closeLabel="Close the export"
      onClose={onClose}
      headingRef={heading}
    >
      <ExportForm
        machine={session}
        isOn={state === "running"}
        isDisabled={state === "starting" || isBusy(session)}
        hasSnapshots={session.snapshots().length > 0}
        shownElsewhere
      />
    </SidePanel>
  );
}
