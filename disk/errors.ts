/**
 * Every failure of the block layer is one of these codes. The page and the command line switch on `code`;
 * `data` holds what the message was made of; `cause` holds the error below, where there is one.
 */
export type ByreErrorCode =
  // Files
  | "NOT_FOUND"
  | "ACCESS_DENIED"
  | "NETWORK"
  | "HTTP_STATUS"
  | "RANGE_NOT_SUPPORTED"
  | "FILE_CHANGED"
  | "OUT_OF_RANGE"
  | "READ_ONLY"
  | "FIXED_SIZE"
  | "CLOSED"
  | "QUOTA_EXCEEDED"
  | "STORAGE"
  | "IMPORT_UNFINISHED"
  | "IN_USE"
  | "CANCELLED"
  // Images
  | "NOT_QCOW2"
  | "TRUNCATED"
  | "CORRUPT"
  | "MARKED_CORRUPT"
  | "CHECK_FAILED"
  | "UNSUPPORTED_VERSION"
  | "UNSUPPORTED_FEATURE"
  | "SNAPSHOT_NOT_FOUND"
  | "ENCRYPTED"
  | "LUKS"
  | "EXTERNAL_DATA_FILE"
  | "TOO_LARGE"
  | "BACKING_DENIED"
  | "BACKING_MISSING"
  | "BACKING_LOOP"
  | "BACKING_DEPTH"
  | "INVALID_ARGUMENT"
  | "METADATA_INVALID"
  | "METADATA_TOO_LARGE"
  // Machines
  | "STATE_INVALID"
  | "STATE_MISMATCH"
  | "GUEST_CRASH"
  | "FIRMWARE"
  | "INTERNAL";

/** Values a message was made of, by name; offsets and sizes in bytes. */
export type ByreErrorData = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * The one error class of the project.
 *
 * A message says what failed, where (file and offset) and what to do; `code` says it to programs.
 */
export class ByreError extends Error {
  readonly code: ByreErrorCode;
  readonly data: ByreErrorData;

  constructor(code: ByreErrorCode, message: string, data: ByreErrorData = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ByreError";
    this.code = code;
    this.data = data;
  }
}

/** The error itself when it is ours, else an `INTERNAL` one around it. */
export function toByreError(error: unknown): ByreError {
  if (error instanceof ByreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ByreError("INTERNAL", message, {}, error);
}
