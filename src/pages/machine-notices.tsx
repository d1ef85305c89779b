import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import { NetworkOffer, type NetworkOfferProps } from "../settings/network-offer.tsx";

/** What the link asked for and did not get, and what went wrong without stopping the machine. */
export function MachineNotices({ session, run }: NetworkOfferProps) {
  return (
    <>
      <NetworkOffer session={session} run={run} />
      {session.notes.map((note) => (
        <Notice key={note} tone="neutral">
          {note}
        </Notice>
      ))}
      {session.notices.map(({ id, message, code }) => (
        <Notice
          key={id}
          tone="caution"
          {...(code && { code })}
          actions={<Button onPress={() => session.dismissNotice(id)}>Understood</Button>}
        >
          <p>{message}</p>
        </Notice>
      ))}
    </>
  );
}
