import { useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import { ProgressBar } from "../components/progress-bar.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import { TextField } from "../components/text-field.tsx";
import type { MachinePanelProps } from "../pages/machine-panels.tsx";
import { readClipboard } from "./read-clipboard.ts";
import { MAX_TYPED_CHARACTERS, type TypeableText, typeableText, typeText } from "./typeable-text.ts";

/** Text that is typed on the guest's keyboard, for guests that share no clipboard with the page. */
export function TypeTextPanel({ session, state, onClose, run }: MachinePanelProps) {
  const [text, setText] = useState("");
  const [fraction, setFraction] = useState<number>();
  const [result, setResult] = useState<string>();
  const typing = useRef<AbortController>(undefined);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  // Keys that nobody can see being typed are worse than none.
  useEffect(() => () => typing.current?.abort(), []);
  const typeable = typeableText(text);

  const type = async () => {
    const calledOff = new AbortController();
    typing.current = calledOff;
    setFraction(0);
    setResult(undefined);
    try {
      const typed = await typeText(session.keyboard, typeable.text, {
        onProgress: setFraction,
        signal: calledOff.signal,
      });
      const all = typeable.text.length;
      setResult(typed === all ? "All of it is typed." : `${typed} of ${all} characters are typed.`);
    } finally {
      setFraction(undefined);
    }
  };
  const paste = async () => {
    const found = await readClipboard();
    setText(found.slice(0, MAX_TYPED_CHARACTERS));
    setResult(found.length > MAX_TYPED_CHARACTERS ? "It was too long: this is its beginning." : undefined);
  };

  return (
    <SidePanel
      id="type-text"
      title="Type text"
      closeLabel="Close the text"
      onClose={onClose}
      headingRef={heading}
    >
      <p>
        What stands here is typed into the machine, as if on an American keyboard. Click first where it should
        go on the machine's screen.
      </p>
      <TextField
        label="Text"
        multiline
        value={text}
        onChange={setText}
        maxLength={MAX_TYPED_CHARACTERS}
        isDisabled={fraction !== undefined}
        hint={`At most ${MAX_TYPED_CHARACTERS.toLocaleString("en")} characters. What is longer goes in as a file.`}
      />
      {typeable.leftOutCount > 0 && <LeftOut {...typeable} />}
      {state !== "running" && <Notice tone="neutral">The machine has to be running.</Notice>}
      {fraction === undefined ? (
        <Buttons>
          <Button
            look="primary"
            isDisabled={typeable.text === "" || state !== "running"}
            onPress={() => run(type)}
          >
            Type it
          </Button>
          {"clipboard" in navigator && <Button onPress={() => run(paste)}>Paste here</Button>}
        </Buttons>
      ) : (
        <>
          <ProgressBar label="Typing" fraction={fraction} />
          <Buttons>
            <Button onPress={() => typing.current?.abort()}>Stop</Button>
          </Buttons>
        </>
      )}
      <p role="status">{result}</p>
    </SidePanel>
  );
}

function LeftOut({ leftOut, leftOutCount }: TypeableText) {
  const named = leftOut.map(nameOf).join(" ");
  return (
    <Notice tone="caution" title={`${leftOutCount} left out: the keyboard has no such keys`}>
      <p>{named}</p>
    </Notice>
  );
}

/** A sign, or its number where it has no shape. */
function nameOf(character: string): string {
  if (!/[\p{C}\p{Z}]/u.test(character)) return character;
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
