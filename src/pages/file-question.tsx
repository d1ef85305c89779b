import { FileUp } from "lucide-react";
import { useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import { readAgain } from "../library/import-sources.ts";
import type { FileQuestion as Question } from "../open/open-imported.ts";
import type { OpenRequest } from "../open/open-machine.ts";
import { OpenFilesButton } from "./open-files-button.tsx";
import { PageFrame } from "./page-frame.tsx";
import { useRequestTitle } from "./request-title.ts";
import { usePageTitle } from "./use-page-title.ts";

export interface FileQuestionProps {
  request: OpenRequest;
  question: Question;
  onFiles: (files: readonly File[]) => void;
  onCancel: () => void;
}

/** A file was not wholly copied before its page was closed: the machine needs it again. */
export function FileQuestion({ request, question, onFiles, onCancel }: FileQuestionProps) {
  const { fileName, sizeBytes, copiedBytes, handle, problem } = question;
  const [gone, setGone] = useState(false);
  const machine = useRequestTitle(request);
  usePageTitle(`${machine} - Byre`);
  const allow = async () => {
    const file = handle && (await readAgain(handle));
    if (file) onFiles([file]);
    else setGone(true);
  };
  const canAllow = handle !== undefined && !gone;
  return (
    <PageFrame title={`${machine} needs ${fileName} again`}>
      <p>
        {copiedBytes > 0
          ? `${formatBytes(copiedBytes)} of its ${formatBytes(sizeBytes)} were copied into this browser before the page was closed.`
          : `Its ${formatBytes(sizeBytes)} are not in this browser.`}{" "}
        {canAllow
          ? "The browser asks you whether this page may read the file again."
          : "Choose the file, or drop it anywhere on this page."}{" "}
        The machine is as you left it.
      </p>
      {gone && (
        <Notice tone="caution">
          <p>{fileName} could not be read from where it was. Choose it yourself.</p>
        </Notice>
      )}
      {problem && (
        <Notice tone="danger" code={problem.code}>
          <p>{problem.message}</p>
        </Notice>
      )}
      <Buttons>
        {canAllow && (
          <Button look="primary" onPress={allow}>
            Read {fileName} again
          </Button>
        )}
        <OpenFilesButton look={canAllow ? "plain" : "primary"} onFiles={onFiles}>
          <FileUp size={17} aria-hidden="true" />
          Choose {fileName}
        </OpenFilesButton>
        <Button
          look="quiet"
          onPress={() => {
            onCancel();
            goTo("/");
          }}
        >
          All machines
        </Button>
      </Buttons>
    </PageFrame>
  );
}
