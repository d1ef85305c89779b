import type { NetworkChoice } from "../../emulator/index.ts";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import styles from "./network-settings.module.css";
import { networkWords } from "./settings-words.ts";

export interface NetworkOfferProps {
  session: MachineSession;
  run: (action: () => Promise<unknown>) => void;
}

/** That image or link asks for a network, until the person has answered; it is off meanwhile. */
export function NetworkOffer({ session, run }: NetworkOfferProps) {
  const { chosen, offeredNetwork } = session.settings;
  if (!offeredNetwork || chosen.network) return null;
  const answer = (network: NetworkChoice) => run(() => session.setSettings({ ...chosen, network }));
  return (
    <Notice
      tone="neutral"
      title="A network is asked for"
      actions={
        <>
          <Button onPress={() => answer(offeredNetwork)}>Allow it</Button>
          <Button onPress={() => answer({ kind: "off" })}>Leave it off</Button>
        </>
      }
    >
      <p className={styles.address}>
        {session.name} wants to use {networkWords(offeredNetwork)}.
      </p>
      {offeredNetwork.kind === "relay" && (
        <p>Whoever runs that server can read what the machine sends and receives.</p>
      )}
    </Notice>
  );
}
