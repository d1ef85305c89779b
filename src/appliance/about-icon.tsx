import { useMemo, useState } from "react";
import { FileTrigger } from "react-aria-components/FileTrigger";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import styles from "./about-form.module.css";
import { ApplianceIcon } from "./appliance-icon.tsx";
import { iconUrl, readIcon } from "./icon-data.ts";
import { shrinkPicture } from "./shrink-picture.ts";

export interface AboutIconProps {
  /** The icon's `data:` URL, or nothing. */
  value: string;
  /** Of the appliance. */
  name: string;
  isDisabled: boolean;
  onChange: (value: string) => void;
}

/** The picture of a machine, to choose or remove. */
export function AboutIcon({ value, name, isDisabled, onChange }: AboutIconProps) {
  const [problem, setProblem] = useState<string>();
  const icon = useMemo(() => readIcon(value), [value]);
  const choose = (file: File) => {
    setProblem(undefined);
    shrinkPicture(file).then(
      (chosen) => {
        if (chosen) onChange(iconUrl(chosen));
        else setProblem(`${file.name} is no picture that can be read here. PNG, JPEG, WebP and GIF can.`);
      },
      (error: Error) => setProblem(error.message),
    );
  };
  return (
    <div className={styles.field}>
      <div className={styles.picture}>
        <ApplianceIcon icon={icon} name={name} />
        <Buttons>
          <FileTrigger
            acceptedFileTypes={["image/png", "image/jpeg", "image/webp", "image/gif"]}
            onSelect={(files) => files?.[0] && choose(files[0])}
          >
            <Button isDisabled={isDisabled}>Choose a picture</Button>
          </FileTrigger>
          {value !== "" && (
            <Button look="quiet" isDisabled={isDisabled} onPress={() => onChange("")}>
              Remove it
            </Button>
          )}
        </Buttons>
      </div>
      {problem && <Notice tone="caution">{problem}</Notice>}
    </div>
  );
}
