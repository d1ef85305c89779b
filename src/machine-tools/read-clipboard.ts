import { ByreError } from "../../disk/index.ts";

/**
 * The text on the clipboard.
 *
 * @throws ByreError UNSUPPORTED_FEATURE where the browser or the person does not let the page read it.
 */
export async function readClipboard(): Promise<string> {
  try {
    return await navigator.clipboard.readText();
  } catch (cause) {
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      "The browser does not let this page read the clipboard. Click where the text should go and press Ctrl-Shift-V, or Cmd-V on a Mac.",
      {},
      cause,
    );
  }
}
