import { useEffect, useRef, useState } from "react";
import { createPortal } from "react-dom";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import cards from "../components/floating-cards.module.css";
import type { MachineSession } from "../open/machine-session.ts";
import { useFullScreen } from "../pages/use-full-screen.ts";
import styles from "./files-question.module.css";
import { type FilesChoice, filesChoices, insertIntoRunning } from "./insert-files.ts";
import { useOfferedFiles } from "./offered-files.ts";

export interface FilesQuestionProps {
  session: MachineSession;
  /** Runs the files as a machine of their own. */
  onRun: (files: readonly File[]) => void;
  run: (action: () => Promise<unknown>) => void;
}

/** Asks what to do with files that were dropped while the machine is on screen; nothing while there are none. */
export function FilesQuestion({ session, onRun, run }: FilesQuestionProps) {
  const [files, answered] = useOfferedFiles();
  const [choices, setChoices] = useState<readonly FilesChoice[]>();
  const fullScreen = useFullScreen();
  useEffect(() => {
    setChoices(undefined);
    if (!files) return;
    let gone = false;
    void filesChoices(files).then((found) => {
      if (!gone) setChoices(found);
    });
    return () => {
      gone = true;
    };
  }, [files]);
  if (!files || !choices) return null;
  const choose = (choice: FilesChoice) => {
    answered();
    if (choice === "machine") onRun(files);
    else run(() => insertIntoRunning(session, files, choice));
  };
  const question = (
    <div className={cards.place}>
      <Question
        title={titleOf(files)}
        explanation={explain(choices[0], files.length, session)}
        choices={choices}
        onChoose={choose}
        onCancel={answered}
      />
    </div>
  );
  return fullScreen ? createPortal(question, fullScreen) : question;
}

interface QuestionProps {
  title: string;
  explanation: string;
  choices: readonly FilesChoice[];
  onChoose: (choice: FilesChoice) => void;
  onCancel: () => void;
}

function Question({ title, explanation, choices, onChoose, onCancel }: QuestionProps) {
  const card = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    card.current?.querySelector("button")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <div
      ref={card}
      className={cards.card}
      role="alertdialog"
      aria-label={title}
      onKeyDown={(event) => event.key === "Escape" && onCancel()}
    >
      <div className={styles.question}>
        <p className={styles.title}>{title}</p>
        <p>{explanation}</p>
        <Buttons>
          {choices.map((choice, index) => (
            <Button key={choice} look={index === 0 ? "primary" : "plain"} onPress={() => onChoose(choice)}>
              {LABELS[choice]}
            </Button>
          ))}
          <Button look="quiet" onPress={onCancel}>
            Cancel
          </Button>
        </Buttons>
      </div>
    </div>
  );
}

const LABELS: Record<FilesChoice, string> = {
  cdrom: "Insert as a CD",
  floppy: "Insert as a floppy disk",
  files: "Give to the machine on a CD",
  machine: "Run as a machine",
};

/** What the first choice does. */
function explain(choice: FilesChoice | undefined, count: number, { name, media }: MachineSession): string {
  if (choice === "machine") return `${name} is on. Another machine takes its place in this tab.`;
  const drive = choice === "floppy" ? "floppy" : "cdrom";
  const there = media[drive] ? ` It takes the place of ${media[drive].name}.` : "";
  if (choice === "floppy") return `${name} finds it in its floppy drive.${there}`;
  if (choice === "cdrom") return `${name} finds it in its CD drive.${there}`;
  return `${name} finds ${count === 1 ? "it" : "them"} on a CD in its drive.${there}`;
}

function titleOf(files: readonly File[]): string {
  const [first] = files;
  return files.length === 1 && first ? first.name : `${files.length} files`;
}
