import { ByreError } from "./errors.ts";

/**
 * Holds a request against the size of what it is made to.
 *
 * @throws ByreError OUT_OF_RANGE naming both, when the range is not wholly inside `sizeBytes` or its
 *   numbers are not whole and safe.
 */
export function checkRange(name: string, sizeBytes: number, offsetBytes: number, lengthBytes: number): void {
  const ok = Number.isSafeInteger(offsetBytes) && offsetBytes >= 0 && offsetBytes + lengthBytes <= sizeBytes;
  if (ok) return;
  throw new ByreError(
    "OUT_OF_RANGE",
    `${name}: ${lengthBytes} bytes at offset ${offsetBytes} are not inside its ${sizeBytes} bytes.`,
    { file: name, offsetBytes, lengthBytes, sizeBytes },
  );
}
