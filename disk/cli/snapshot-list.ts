import type { Qcow2Snapshot } from "../qcow2/snapshot-table.ts";
import { humanSize } from "./sizes.ts";

/** What the list shows of a snapshot. */
export type ListedSnapshot = Pick<
  Qcow2Snapshot,
  "id" | "name" | "dateSeconds" | "dateNanoseconds" | "vmClockNanoseconds" | "vmStateBytes" | "icount"
>;

/** The table that `qemu-img snapshot -l` prints, without its first line. Dates are in local time. */
export function snapshotList(snapshots: readonly ListedSnapshot[]): string {
  const heading = [
    "ID".padEnd(10),
    "TAG".padEnd(17),
    "VM SIZE".padStart(8),
    "DATE".padStart(20),
    "VM CLOCK".padStart(13),
    "ICOUNT".padStart(11),
  ].join("");
  return `${[heading, ...snapshots.map(row)].join("\n")}\n`;
}

function row(snapshot: ListedSnapshot): string {
  const first = `${padded(snapshot.id, 9)} ${padded(snapshot.name, 16)} ${humanSize(snapshot.vmStateBytes).padStart(8)}`;
  const icount = snapshot.icount === undefined ? "" : String(BigInt.asIntN(64, snapshot.icount));
  return (
    first +
    localTime(snapshot.dateSeconds).padStart(20) +
    clock(snapshot.vmClockNanoseconds).padStart(13) +
    icount.padStart(11)
  );
}

/** C counts bytes where it pads, so a name beyond ASCII moves its row. */
function padded(text: string, lengthBytes: number): string {
  return text + " ".repeat(Math.max(0, lengthBytes - new TextEncoder().encode(text).length));
}

function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  );
}

function clock(nanoseconds: bigint): string {
  const seconds = nanoseconds / 1_000_000_000n;
  const two = (value: bigint) => String(value).padStart(2, "0");
  const milliseconds = String((nanoseconds / 1_000_000n) % 1000n).padStart(3, "0");
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}.${milliseconds}`;
}
