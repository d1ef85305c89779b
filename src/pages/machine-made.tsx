import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";

export interface MachineMadeProps {
  machineId: string;
  onStay: () => void;
}

/** Says that a machine was made of a snapshot, and leads there. */
export function MachineMade({ machineId, onStay }: MachineMadeProps) {
  return (
    <Notice
      tone="neutral"
      actions={
        <>
          <Button onPress={() => goTo(`/machine/${machineId}`)}>Go to it</Button>
          <Button look="quiet" onPress={onStay}>
            Stay here
          </Button>
        </>
      }
    >
      <p>A new machine stands at this moment. It is in the list of all machines.</p>
    </Notice>
  );
}
