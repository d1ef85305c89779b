import { lutimes, readdir, truncate, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { HostTools } from "../debian/host-tools.ts";

export interface RootPartition {
  /** File that is made to hold the file system. */
  imagePath: string;
  sizeBytes: number;
  uuid: string;
  /** What the file system holds. */
  folder: string;
  /** Seconds since 1970 that all its files bear. */
  timeSeconds: number;
}

/** Debian 12's choice, spelled out so that another mke2fs or its configuration file makes the same. */
const FEATURES =
  "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file," +
  "huge_file,dir_nlink,extra_isize,metadata_csum";

/** ext4's least: a guest writes it round and round, and each part of it once written stays in the overlay. */
const JOURNAL_MIB = 4;

/**
 * Makes an ext4 file system in a file out of a folder; needs no root.
 * Everything in it belongs to root, whoever owns the folder.
 */
export async function writeRootPartition(tools: HostTools, partition: RootPartition): Promise<void> {
  const { imagePath, sizeBytes, uuid, folder, timeSeconds } = partition;
  const names = (await readdir(folder, { recursive: true })).sort();
  for (const name of [...names.reverse(), "."]) await lutimes(join(folder, name), timeSeconds, timeSeconds);

  await writeFile(imagePath, "");
  await truncate(imagePath, sizeBytes);
  const env = {
    MKE2FS_CONFIG: "/dev/null",
    MKE2FS_SKIP_PROGRESS: "1",
    // Read by e2fsprogs in place of the clock; newer ones read SOURCE_DATE_EPOCH.
    E2FSPROGS_FAKE_TIME: `${timeSeconds}`,
    SOURCE_DATE_EPOCH: `${timeSeconds}`,
    TZ: "UTC",
  };
  const extended = [
    // The tables are written now: the guest's kernel would do it in the background, into the overlay.
    "lazy_itable_init=0",
    "lazy_journal_init=0",
    "nodiscard",
    "root_owner=0:0",
    `hash_seed=${uuid}`,
  ];
  await tools.run(
    "mke2fs",
    ["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-N", "32768", "-m", "0", "-L", "root", "-U", uuid]
      .concat("-O", FEATURES, "-J", `size=${JOURNAL_MIB}`, "-E", extended.join(","))
      .concat("-d", folder, imagePath),
    { env },
  );

  // mke2fs takes each file's owner and its times of change and of its own reading from the host.
  const changes = ["", ...names].flatMap((name) => {
    const path = `/${relative(".", name)}`;
    return [
      `set_inode_field "${path}" uid 0`,
      `set_inode_field "${path}" gid 0`,
      `set_inode_field "${path}" atime @${timeSeconds}`,
      `set_inode_field "${path}" atime_extra 0`,
      `set_inode_field "${path}" ctime @${timeSeconds}`,
      `set_inode_field "${path}" ctime_extra 0`,
    ];
  });
  const printed = await tools.run("debugfs", ["-w", "-f", "-", imagePath], {
    env,
    input: `${changes.join("\n")}\n`,
  });
  if (/not found|Unknown|Couldn't/.test(printed))
    throw new Error(`debugfs could not set the owners:\n${printed}`);
}
