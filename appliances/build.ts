import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CannotBuildHere, PackagesUnreachable } from "./debian/apt.ts";
import { buildLinuxDisk } from "./linux/build.ts";
import { packQcow2 } from "./pack-qcow2.ts";

/** Builds the demo appliance into public/appliances/. `npm start` runs it when the recipe has changed. */

/** Exit code for a host that has not what it takes; the rest of the project works there all the same. */
const CANNOT_BUILD_HERE = 3;

const projectFolder = join(import.meta.dirname, "..");
const cacheFolder = join(projectFolder, ".cache/linux");
const targetPath = join(projectFolder, "public/appliances/linux.qcow2");

const log = (line: string) => console.log(`linux appliance: ${line}`);

try {
  const diskPath = await cachedDisk();
  log("packing the disk");
  const lengthBytes = await packQcow2(diskPath, targetPath);
  log(`public/appliances/linux.qcow2 is ready (${(lengthBytes / 1024 / 1024).toFixed(1)} MiB)`);
} catch (error) {
  if (error instanceof PackagesUnreachable) {
    log(`not built. ${error.message}`);
    process.exit(1);
  }
  if (!(error instanceof CannotBuildHere)) throw error;
  log(`not built. ${error.message}`);
  log("It is built from Debian's packages. Where Docker runs, build it in a Debian container with");
  log(
    `  docker run --rm --platform linux/amd64 -v "$PWD":/byre -v /byre/node_modules -w /byre node:22-bookworm npm run appliance`,
  );
  log("and start again.");
  process.exitCode = CANNOT_BUILD_HERE;
}

/** The raw disk: kept as long as the recipe's files stay as they are, so that only packing is done anew. */
async function cachedDisk(): Promise<string> {
  const recipe = await hashOfFiles(import.meta.dirname);
  const diskPath = join(cacheFolder, "disk.raw");
  const stampPath = join(cacheFolder, "disk.stamp");
  if (existsSync(diskPath) && existsSync(stampPath) && (await readFile(stampPath, "utf8")) === recipe) {
    return diskPath;
  }
  await rm(stampPath, { force: true });
  await mkdir(cacheFolder, { recursive: true });
  await buildLinuxDisk({ cacheFolder, diskPath, log });
  await writeFile(stampPath, recipe);
  return diskPath;
}

async function hashOfFiles(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const entry of (await readdir(folder, { recursive: true, withFileTypes: true })).sort((a, b) =>
    join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
  )) {
    if (!entry.isFile() || entry.name.endsWith(".test.ts")) continue;
    const path = join(entry.parentPath, entry.name);
    hash.update(`${path.slice(folder.length)}\0`).update(await readFile(path));
  }
  return hash.digest("hex");
}
