import { type FormEvent, useEffect, useId, useReducer, useState } from "react";
import { type NetworkChoice, networkChoiceText, parseNetworkChoice } from "../../emulator/index.ts";
import { Button } from "../components/button.tsx";
import { Choice, Choices } from "../components/choice.tsx";
import { Notice } from "../components/notice.tsx";
import { TextField } from "../components/text-field.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import styles from "./network-settings.module.css";
import { networkWords } from "./settings-words.ts";

export interface NetworkSettingsProps {
  session: MachineSession;
  onChange: (network: NetworkChoice) => Promise<void>;
}

interface Picked {
  readonly kind: NetworkChoice["kind"];
}

/** Longest address of a relay. */
const MAX_ADDRESS_LENGTH = 512;

/** Where a machine's network card leads; off until a person chooses. */
export function NetworkSettings({ session, onChange }: NetworkSettingsProps) {
  const id = useId();
  const { next, offeredNetwork } = session.settings;
  const { network } = next;
  /** What was picked, until the machine has it; of a relay, until there is an address. */
  const [picked, setPicked] = useState<Picked>();
  const shown = picked?.kind ?? network.kind;
  const offered = offeredNetwork && networkChoiceText(offeredNetwork) !== networkChoiceText(network);
  const choose = (choice: NetworkChoice) => {
    const mine = { kind: choice.kind };
    setPicked(mine);
    void onChange(choice).finally(() => setPicked((latest) => (latest === mine ? undefined : latest)));
  };

  return (
    <Choices>
      <legend className={styles.legend}>Network</legend>
      {offered && (
        <Notice tone="neutral" actions={<Button onPress={() => choose(offeredNetwork)}>Allow it</Button>}>
          <p className={styles.address}>The appliance asks for {networkWords(offeredNetwork)}.</p>
        </Notice>
      )}
      <Choice
        type="radio"
        name={id}
        words="Off"
        isChecked={shown === "off"}
        onChange={() => choose({ kind: "off" })}
      />
      <Choice
        type="radio"
        name={id}
        words="The web, through this page"
        hint="Plain http:// addresses only, and only sites that let other pages read them."
        isChecked={shown === "fetch"}
        onChange={() => choose({ kind: "fetch" })}
      />
      <Choice
        type="radio"
        name={id}
        words="A relay"
        hint="A server that passes on everything the machine sends and receives, and could read it."
        isChecked={shown === "relay"}
        onChange={() => setPicked({ kind: "relay" })}
      />
      {shown === "relay" && (
        <RelayForm
          // A relay that was chosen elsewhere takes the place of what is typed.
          key={networkChoiceText(network)}
          address={network.kind === "relay" ? network.url : ""}
          onConnect={choose}
        />
      )}
      <ConnectionState session={session} />
    </Choices>
  );
}

/** How it goes with a relay. */
function ConnectionState({ session: { network } }: { session: MachineSession }) {
  const [, look] = useReducer((count: number) => count + 1, 0);
  useEffect(() => network.onChange(look), [network]);
  if (network.choice.kind !== "relay") return null;
  if (network.state === "failed") return <Notice tone="caution">{network.problem}</Notice>;
  return (
    <p role="status" className={styles.state}>
      {network.state === "on" ? "Connected." : "Connecting."}
    </p>
  );
}

interface RelayFormProps {
  address: string;
  onConnect: (network: NetworkChoice) => void;
}

function RelayForm({ address, onConnect }: RelayFormProps) {
  const [text, setText] = useState(address);
  const [wrong, setWrong] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const network = parseNetworkChoice(text.trim());
    setWrong(network?.kind !== "relay");
    if (network?.kind === "relay") onConnect(network);
  };
  return (
    <form className={styles.relay} onSubmit={submit}>
      <TextField
        label="Address of the relay"
        value={text}
        maxLength={MAX_ADDRESS_LENGTH}
        hint="Begins with wss:// or wisps://; on your own computer with ws:// or wisp://."
        onChange={setText}
      />
      {wrong && <Notice tone="caution">This is not the address of a relay.</Notice>}
      <Button type="submit" isDisabled={text.trim() === ""}>
        Connect
      </Button>
    </form>
  );
}
