import { useState } from "react";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import { TimeAgo } from "../components/time-ago.tsx";
import type { MachineSession, SavedState } from "../open/machine-session.ts";
import { proposedName, shownName } from "./snapshot-names.ts";

export interface RestoreQuestionProps {
  session: MachineSession;
  state: MachineSession["state"];
  snapshot: SavedState;
  /** Boots the snapshot's disk and leaves its memory alone. */
  diskOnly?: boolean;
  /** Offers to save what would be gone. */
  offerSave?: boolean;
  /** The machine is what the snapshot says. `onEnd` follows. */
  onRestored?: () => void;
  /** Restored, or not. */
  onEnd: () => void;
}

/** Restoring throws away what the machine is now, so it asks. */
export function RestoreQuestion(props: RestoreQuestionProps) {
  const { session, state, snapshot, diskOnly = false, offerSave = false, onRestored, onEnd } = props;
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<{ message: string; code?: string }>();
  const name = shownName(snapshot);
  const on = state === "running" || state === "paused";

  const restore = async (saveFirst: boolean) => {
    setBusy(true);
    try {
      if (saveFirst) await session.save(proposedName(session.snapshots().map((each) => each.name)));
      await session.load(snapshot.id, { diskOnly });
      onRestored?.();
      onEnd();
    } catch (error) {
      setBusy(false);
      if ((error as { code?: string }).code === "CANCELLED") onEnd();
      else setFailure(error as Error);
    }
  };

  if (failure) {
    return (
      <Notice
        tone="danger"
        title={`${name} was not restored`}
        {...(failure.code && { code: failure.code })}
        actions={<Button onPress={onEnd}>Understood</Button>}
      >
        <p>{failure.message}</p>
      </Notice>
    );
  }
  return (
    <Notice
      tone="caution"
      title={diskOnly ? `Boot the disk of ${name}?` : `Restore ${name}?`}
      actions={
        <>
          <Button look="primary" autoFocus isDisabled={busy} onPress={() => void restore(false)}>
            {diskOnly ? "Boot its disk" : "Restore"}
          </Button>
          {offerSave && on && (
            <Button isDisabled={busy} onPress={() => void restore(true)}>
              Save first
            </Button>
          )}
          <Button look="quiet" isDisabled={busy} onPress={onEnd}>
            Cancel
          </Button>
        </>
      }
    >
      <p>
        {session.name} {diskOnly ? "boots its disk as it was" : "becomes what it was"}{" "}
        <TimeAgo time={snapshot.savedAt} />. What it is now is gone then, on its disk too.
      </p>
    </Notice>
  );
}
