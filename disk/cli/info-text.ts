import type { ImageInfo } from "./image-info.ts";
import { humanSize } from "./sizes.ts";
import { snapshotList } from "./snapshot-list.ts";

/** What `info` prints for people, as qemu-img words and orders it. */
export function infoText(info: ImageInfo): string {
  const actualBytes = info["actual-size"];
  const lines = [
    `image: ${info.filename}`,
    `file format: ${info.format}`,
    `virtual size: ${humanSize(info["virtual-size"])} (${info["virtual-size"]} bytes)`,
    `disk size: ${actualBytes === undefined ? "unavailable" : humanSize(actualBytes)}`,
  ];
  if (info.encrypted) lines.push("encrypted: yes");
  if (info["cluster-size"] !== undefined) lines.push(`cluster_size: ${info["cluster-size"]}`);
  if (info["dirty-flag"]) lines.push("cleanly shut down: no");
  if (info["backing-filename"] !== undefined) lines.push(`backing file: ${backing(info)}`);
  if (info["backing-filename-format"] !== undefined)
    lines.push(`backing file format: ${info["backing-filename-format"]}`);
  let text = `${lines.join("\n")}\n`;
  if (info.snapshots)
    text += `Snapshot list:\n${snapshotList(
      info.snapshots.map((snapshot) => ({
        id: snapshot.id,
        name: snapshot.name,
        dateSeconds: snapshot["date-sec"],
        dateNanoseconds: snapshot["date-nsec"],
        vmClockNanoseconds:
          BigInt(snapshot["vm-clock-sec"]) * 1_000_000_000n + BigInt(snapshot["vm-clock-nsec"]),
        vmStateBytes: snapshot["vm-state-size"],
        icount: snapshot.icount,
      })),
    )}`;
  if (info["format-specific"])
    text += `Format specific information:\n${dump(info["format-specific"].data, "    ")}`;
  return text;
}

function backing(info: ImageInfo): string {
  const name = info["backing-filename"] ?? "";
  const path = info["full-backing-filename"];
  if (path === undefined) return `${name} (cannot determine actual path)`;
  return path === name ? name : `${name} (actual path: ${path})`;
}

function dump(value: object, indent: string): string {
  const isList = Array.isArray(value);
  return Object.entries(value)
    .map(([key, item]) => {
      const name = isList ? `[${key}]` : key.replaceAll("-", " ");
      return typeof item === "object" && item !== null
        ? `${indent}${name}:\n${dump(item, `${indent}    `)}`
        : `${indent}${name}: ${item}\n`;
    })
    .join("");
}
