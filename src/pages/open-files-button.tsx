import { type ReactNode, useRef } from "react";
import { Button, type ButtonProps } from "../components/button.tsx";
import { keepHandle, type LastingFile } from "../library/import-sources.ts";

/** A dialog that gives files which can be read again after a reload; not in every browser. */
interface OpenPicker {
  showOpenFilePicker?(options: { multiple: boolean }): Promise<LastingFile[]>;
}

export interface OpenFilesButtonProps {
  look?: ButtonProps["look"];
  onFiles: (files: readonly File[]) => void;
  children: ReactNode;
}

/** Has the person choose files, of any kind: phones grey out what they have no name for. */
export function OpenFilesButton({ look = "plain", onFiles, children }: OpenFilesButtonProps) {
  const input = useRef<HTMLInputElement>(null);
  const choose = async () => {
    const { showOpenFilePicker } = window as OpenPicker;
    if (!showOpenFilePicker) return input.current?.click();
    try {
      const handles = await showOpenFilePicker.call(window, { multiple: true });
      onFiles(await Promise.all(handles.map(fileOf)));
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      // A frame of another site has no such dialog.
      input.current?.click();
    }
  };
  return (
    <>
      <Button look={look} onPress={choose}>
        {children}
      </Button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-hidden="true"
        tabIndex={-1}
        onChange={({ target }) => {
          onFiles([...(target.files ?? [])]);
          // The same file can be chosen again.
          target.value = "";
        }}
      />
    </>
  );
}

async function fileOf(handle: LastingFile): Promise<File> {
  const file = await handle.getFile();
  keepHandle(file, handle);
  return file;
}
