import { ByreError, type ByreErrorCode } from "../errors.ts";

/** What the host's error codes are to us, and what a person can do. */
const MEANING: Readonly<Record<string, readonly [ByreErrorCode, string]>> = {
  ENOENT: ["NOT_FOUND", "there is no such file. Check the path."],
  ENOTDIR: ["NOT_FOUND", "a part of its path is not a directory. Check the path."],
  EISDIR: ["INVALID_ARGUMENT", "it is a directory. Name a file in it."],
  EEXIST: ["IN_USE", "there is such a file already. Choose another name, or delete it first."],
  EACCES: ["ACCESS_DENIED", "its permissions forbid it. Change them, or run as its owner."],
  EPERM: ["ACCESS_DENIED", "its permissions forbid it. Change them, or run as its owner."],
  EROFS: ["ACCESS_DENIED", "it is on a read-only file system."],
  ETXTBSY: ["IN_USE", "it is in use by another program."],
  EBUSY: ["IN_USE", "it is in use by another program."],
  ENOSPC: ["QUOTA_EXCEEDED", "the disk is full. Free some space and try again."],
  EDQUOT: ["QUOTA_EXCEEDED", "your disk quota is used up. Free some space and try again."],
  EFBIG: ["QUOTA_EXCEEDED", "it would be larger than its file system allows."],
};

/**
 * A failure of the host as one of ours.
 *
 * @param doing what was being done, as it follows "could not" in a sentence
 */
export function hostError(error: unknown, name: string, doing: string): ByreError {
  if (error instanceof ByreError) return error;
  const hostCode = (error as { code?: unknown } | null)?.code;
  const reason = error instanceof Error ? error.message : String(error);
  const [code, advice] = MEANING[String(hostCode)] ?? (["STORAGE", `the host reported: ${reason}.`] as const);
  const data = { file: name, hostCode: typeof hostCode === "string" ? hostCode : undefined };
  return new ByreError(code, `Could not ${doing} ${name}: ${advice}`, data, error);
}
