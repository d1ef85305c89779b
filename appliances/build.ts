import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CannotBuildHere, PackagesUnreachable } from "./debian/apt.ts";
import { DESCRIPTION } from "./description.ts";
import { buildLinuxDisk } from "./linux/build.ts";
import { measureStart } from "./measure-start.ts";
import { packImage, placeFile } from "./pack-image.ts";
import { SNAPSHOT_NAME, saveReadyState } from "./ready-state.ts";

/** Builds the demo appliance into public/appliances/. `npm start` runs it when the recipe has changed. */

/** Exit code for a host that has not what it takes; the rest of the project works there all the same. */
const CANNOT_BUILD_HERE = 3;

const MEGABYTE = 1_000_000;
/** Most bytes of the whole image. */
const MAX_IMAGE_BYTES = 24 * MEGABYTE;
/** Most bytes that a start from the saved state may fetch, up to an answer of its prompt. */
const MAX_START_BYTES = 13 * MEGABYTE;

/** What the disk is made by; the state is made by the emulator besides. */
const DISK_SOURCES = ["debian", "image", "linux", "run-command.ts"];

const NOT_OF_THE_DISK = /(\.test|^testing)\.ts$|\.md$/;

const projectFolder = join(import.meta.dirname, "..");
const cacheFolder = join(projectFolder, ".cache/linux");
const targetPath = join(projectFolder, "public/appliances/linux.qcow2");

const log = (line: string) => console.log(`linux appliance: ${line}`);

try {
  const image = await buildImage(await cachedDisk());
  if (image.length > MAX_IMAGE_BYTES)
    throw new Error(
      `The image has ${inMegabytes(image.length)}, more than the ${inMegabytes(MAX_IMAGE_BYTES)} it may have.`,
    );
  log("starting a machine from it");
  const startBytes = await measureStart(image);
  log(`a start from its saved state fetches ${inMegabytes(startBytes)}`);
  if (startBytes > MAX_START_BYTES)
    throw new Error(`A start may fetch no more than ${inMegabytes(MAX_START_BYTES)}.`);
  await placeFile(targetPath, image);
  log(`public/appliances/linux.qcow2 is ready (${inMegabytes(image.length)})`);
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

async function buildImage(diskPath: string): Promise<Uint8Array<ArrayBuffer>> {
  const device = await saveReadyState(diskPath, log);
  try {
    log("packing disk and state");
    return await packImage(device, SNAPSHOT_NAME, DESCRIPTION);
  } finally {
    await device.close();
  }
}

function inMegabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(1)} MB`;
}

/** The raw disk: kept as long as what it is made by stays as it is, so that only its state is made anew. */
async function cachedDisk(): Promise<string> {
  const recipe = await hashOfFiles(DISK_SOURCES);
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

async function hashOfFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) {
    const full = join(import.meta.dirname, path);
    const names = (await stat(full)).isDirectory() ? await readdir(full, { recursive: true }) : [""];
    for (const name of names.sort()) {
      const file = join(full, name);
      if (NOT_OF_THE_DISK.test(name) || (await stat(file)).isDirectory()) continue;
      hash.update(`${join(path, name)}\0`).update(await readFile(file));
    }
  }
  return hash.digest("hex");
}
