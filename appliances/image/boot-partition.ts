import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HostTools } from "../debian/host-tools.ts";
import { SECTOR_BYTES } from "./partition-table.ts";

export interface BootPartition {
  diskPath: string;
  firstSector: number;
  sectors: number;
  /** Eight hexadecimal digits. */
  serial: string;
  /** Files for its root folder, by 8.3 name. */
  files: ReadonlyMap<string, Uint8Array>;
  /** Seconds since 1970 that all its files bear. */
  timeSeconds: number;
  workFolder: string;
}

/** Formats a FAT partition of a disk image and makes it bootable with syslinux; needs no root. */
export async function writeBootPartition(tools: HostTools, partition: BootPartition): Promise<void> {
  const { diskPath, firstSector, sectors, serial, files, timeSeconds, workFolder } = partition;
  const drive = `${diskPath}@@${firstSector * SECTOR_BYTES}`;
  const env = {
    // mtools otherwise refuses images whose geometry it has doubts about.
    MTOOLS_SKIP_CHECK: "1",
    MTOOLSRC: "/dev/null",
    SOURCE_DATE_EPOCH: String(timeSeconds),
    TZ: "UTC",
  };
  await tools.run(
    "mformat",
    [
      "-i",
      drive,
      "-T",
      `${sectors}`,
      "-h",
      "255",
      "-s",
      "63",
      "-H",
      `${firstSector}`,
      "-N",
      serial,
      "-v",
      "BOOT",
      "::",
    ],
    { env },
  );
  const paths: string[] = [];
  for (const [name, content] of files) {
    const path = join(workFolder, name);
    await writeFile(path, content);
    await utimes(path, timeSeconds, timeSeconds);
    paths.push(path);
  }
  await tools.run("mcopy", ["-i", drive, "-m", ...paths, "::"], { env });
  await tools.run("syslinux", ["--offset", `${firstSector * SECTOR_BYTES}`, "--install", diskPath], { env });
}
