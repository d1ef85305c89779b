import type { ConvertSource } from "./convert-source.ts";

const SECTOR_BYTES = 512;

/** Reads what can be read: of what cannot, sector by sector, the rest is zeros and `onWarning` hears of each. */
export function salvagingRead(
  source: ConvertSource,
  onWarning: (message: string) => void,
): (offsetBytes: number, target: Uint8Array) => Promise<void> {
  return async (offsetBytes, target) => {
    try {
      await source.read(offsetBytes, target);
      return;
    } catch {
      // Which part of it: seen below.
    }
    for (let at = 0; at < target.length; at += SECTOR_BYTES) {
      const sector = target.subarray(at, at + SECTOR_BYTES);
      try {
        await source.read(offsetBytes + at, sector);
      } catch (error) {
        sector.fill(0);
        const reason = error instanceof Error ? error.message : String(error);
        onWarning(`error while reading offset ${offsetBytes + at}: ${reason}`);
      }
    }
  };
}
