import { ByreError, type ByreErrorData } from "../errors.ts";

/**
 * A failure of IndexedDB as one of ours.
 *
 * @param doing what was being done, as it follows "could not" in a sentence
 */
export function storageError(error: unknown, doing: string, data: ByreErrorData = {}): ByreError {
  if (error instanceof ByreError) return error;
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  if (name === "QuotaExceededError") {
    return new ByreError(
      "QUOTA_EXCEEDED",
      `Could not ${doing}: the browser's storage for this site is full. Nothing is lost while this page ` +
        "stays open. Free some space (delete a machine, or files on this computer), then try again.",
      data,
      error,
    );
  }
  const reason = error instanceof Error || error instanceof DOMException ? error.message : String(error);
  return new ByreError(
    "STORAGE",
    `Could not ${doing}: the browser's storage reported ${name || "an error"}${reason ? ` (${reason})` : ""}. ` +
      "Try again; if it goes on failing, reload the page.",
    data,
    error,
  );
}
