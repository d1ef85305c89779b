import { useEffect } from "react";
import { describeAppliance } from "../appliance/appliance-description.ts";
import { FirstRunMessage } from "../appliance/first-run-message.tsx";
import type { MachineSession } from "../open/machine-session.ts";

/** What the machine's appliance says when it first runs; nothing where it says nothing. Once shown, never again by itself. */
export function Greeting({ session, onClose }: { session: MachineSession; onClose: () => void }) {
  const said = greetingOf(session);
  useEffect(() => {
    if (said?.message) session.greeted();
  }, [session, said?.message]);
  if (!said?.message) return null;
  return <FirstRunMessage name={said.name ?? session.name} message={said.message} onClose={onClose} />;
}

function greetingOf(session: MachineSession) {
  try {
    return describeAppliance(session.about().metadata);
  } catch {
    // Damaged: "About" says so.
    return undefined;
  }
}
