// @ts-check
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The steps of set-up that `npm start`, `npm run build`, `npm run dev` and `npm test` share. They run before
 * anything is installed, so they need nothing but Node. Each leaves a stamp of its inputs in .cache and does
 * nothing when the stamp still holds.
 */

export const projectFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** Exit code of appliances/build.ts where this host cannot build (it has said why). */
const CANNOT_BUILD_HERE = 3;

/** @param {string} line */
export function say(line) {
  console.log(`byre: ${line}`);
}

/** Installs the packages that package-lock.json names, when they are not there as it names them. */
export async function ensureDependencies() {
  const lock = readFileSync(join(projectFolder, "package-lock.json"));
  const stamp = createHash("sha256").update(lock).digest("hex");
  // Inside node_modules, so that it goes when they go.
  const stampPath = "node_modules/.byre-stamp";
  if (readStamp(stampPath) === stamp) return;
  say("installing dependencies (npm ci)");
  // With NODE_ENV=production npm would leave out what builds the page.
  await run("npm", ["ci", "--include=dev", "--no-audit", "--no-fund"]);
  writeStamp(stampPath, stamp);
}

/**
 * Builds the demo appliance when it is missing or its recipe has changed.
 * @returns {Promise<boolean>} false where this host cannot build it.
 */
export async function ensureAppliance() {
  const stamp = stampOf(["appliances", "emulator", "disk", "package-lock.json"], /\.test\.ts$/);
  const stampPath = ".cache/appliance.stamp";
  if (existsSync(join(projectFolder, "public/appliances/linux.qcow2")) && readStamp(stampPath) === stamp)
    return true;
  say("building the demo appliance from Debian packages (once; a few minutes)");
  const code = await exitCode(process.execPath, ["--import", "tsx", "appliances/build.ts"]);
  if (code === CANNOT_BUILD_HERE) return false;
  if (code !== 0) throw new StepFailed(`The demo appliance could not be built (exit code ${code}).`);
  writeStamp(stampPath, stamp);
  return true;
}

/** Builds the page into dist/ when anything it is made of has changed. */
export async function ensurePage() {
  const inputs = ["src", "emulator", "disk", "public", "index.html", "vite.config.ts", "package-lock.json"];
  const stamp = stampOf(inputs, /\.test\.tsx?$/);
  const stampPath = ".cache/page.stamp";
  if (existsSync(join(projectFolder, "dist/index.html")) && readStamp(stampPath) === stamp) return;
  say("building the page");
  rmSync(join(projectFolder, stampPath), { force: true });
  await run(process.execPath, ["node_modules/vite/bin/vite.js", "build", "--logLevel", "warn"]);
  writeStamp(stampPath, stamp);
}

/** Builds lib/, the command line and the library, when anything it is made of has changed. */
export async function ensureLibrary() {
  const inputs = ["disk", "emulator", "scripts/build-cli.mjs", "package-lock.json"];
  const stamp = stampOf(inputs, /\.test\.ts$|\/testing$/);
  const stampPath = ".cache/library.stamp";
  if (existsSync(join(projectFolder, "lib/byre.mjs")) && readStamp(stampPath) === stamp) return;
  say("building the command line");
  rmSync(join(projectFolder, stampPath), { force: true });
  await run(process.execPath, ["scripts/build-cli.mjs"]);
  writeStamp(stampPath, stamp);
}

/** Something a step ran has failed; it has said why itself. */
export class StepFailed extends Error {}

/**
 * Runs a command with this terminal's input and output.
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [environment]
 */
export async function run(command, args, environment) {
  const code = await exitCode(command, args, environment);
  if (code !== 0) throw new StepFailed(`${command} ${args.join(" ")} ended with exit code ${code}.`);
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [environment]
 * @returns {Promise<number>}
 */
export function exitCode(command, args, environment = process.env) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { cwd: projectFolder, stdio: "inherit", env: environment });
    child.once("error", fail);
    child.once("exit", (code, signal) => done(code ?? (signal ? 128 : 1)));
  });
}

/** @param {string} command */
export function hasCommand(command) {
  return spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
}

/**
 * Names, sizes and times of everything below some paths: quick to take, and it changes whenever a file does.
 * @param {string[]} paths
 * @param {RegExp} ignored
 */
function stampOf(paths, ignored) {
  const hash = createHash("sha256");
  /** @param {string} path */
  const visit = (path) => {
    const full = join(projectFolder, path);
    if (!existsSync(full) || ignored.test(path)) return;
    const info = statSync(full);
    if (info.isDirectory()) for (const name of readdirSync(full).sort()) visit(join(path, name));
    else hash.update(`${path} ${info.size} ${info.mtimeMs}\n`);
  };
  for (const path of paths) visit(path);
  return hash.digest("hex");
}

/** @param {string} path */
function readStamp(path) {
  const full = join(projectFolder, path);
  return existsSync(full) ? readFileSync(full, "utf8") : undefined;
}

/**
 * @param {string} path
 * @param {string} stamp
 */
function writeStamp(path, stamp) {
  const full = join(projectFolder, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, stamp);
}
