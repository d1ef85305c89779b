// @ts-check
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * Builds lib/: the command line (lib/byre.mjs, one small file that loads each command when it is asked for)
 * and the library (lib/disk, for `import ... from "byre/disk"`, with its types).
 */

const projectFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** What every command needs of the command line: nothing in it may import the driver. */
const FRAME =
  /\/node_modules\/commander\/|\/disk\/cli\/(cache-mode|commands|common-options|exit|image-spec|index|interrupt|open-file|option-string|out|probe-format|program|progress|qemu-json|read-header|run|secrets|sizes|snapshot-list|version)\.ts$/;
/** What every command needs of the driver, and `info` needs alone. */
const BASE =
  /\/disk\/(errors|ranges|block-file|qcow2\/(format|header|extensions|features|u64|snapshot-table|bitmaps|info)|files\/(node-file|node-errors|host-io|single-flight|staged-sectors))\.ts$/;
/** Device and formats, with the compression that most images have. */
const DRIVER = /\/disk\/|\/node_modules\/pako\//;

/** More builds than this do not meet at one moment. */
const MAX_TRIES = 5;

/** Builds all of lib/ beside it and then puts it in its place, so that a `byre` that runs meanwhile is whole. */
export async function buildLibrary() {
  const { build } = await import("vite");
  const target = join(projectFolder, "lib");
  const next = join(projectFolder, ".cache", `lib-${process.pid}`);
  const old = join(projectFolder, ".cache", `lib-${process.pid}-old`);
  try {
    await build(commandLine(next));
    chmodSync(join(next, "byre.mjs"), 0o755);
    await build(library(join(next, "disk")));
    emitTypes(join(next, "disk"));
    replaceFolder(target, next, old);
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
}

/**
 * Puts a folder in another's place. Another build may do the same at this moment: the last one stays.
 * @param {string} target
 * @param {string} next
 * @param {string} old
 */
function replaceFolder(target, next, old) {
  for (let tries = 0; ; tries++) {
    try {
      if (existsSync(target)) renameSync(target, `${old}-${tries}`);
      renameSync(next, target);
      return;
    } catch (error) {
      if (tries === MAX_TRIES) throw error;
    } finally {
      rmSync(`${old}-${tries}`, { recursive: true, force: true });
    }
  }
}

/**
 * @param {string} folder
 * @returns {import("vite").InlineConfig}
 */
function commandLine(folder) {
  return {
    ...common,
    // Everything it needs is in it: to look a package up in node_modules costs more than to read it from here.
    // But v86, which is large, and whose wasm has to come from its package in any case.
    ssr: { noExternal: true, external: ["v86"], target: "node" },
    build: {
      ssr: true,
      outDir: folder,
      emptyOutDir: true,
      target: "node20",
      minify: true,
      rolldownOptions: {
        // Whether a module is a chunk of its own is the groups' business below.
        checks: { ineffectiveDynamicImport: false },
        input: {
          byre: join(projectFolder, "emulator/cli/main.ts"),
          // A worker thread's script, which worker-pool.ts looks for beside itself.
          "worker-entry": join(projectFolder, "disk/cli/worker-entry.ts"),
        },
        output: {
          format: "es",
          entryFileNames: "[name].mjs",
          chunkFileNames: "[name]-[hash].mjs",
          // A file costs a start more than what is in it: few files, each of what is needed together.
          codeSplitting: {
            // Else a group takes in all that its modules import, and each start reads the whole driver.
            includeDependenciesRecursively: false,
            groups: [
              { name: "driver", test: DRIVER, priority: 1, minShareCount: 2 },
              { name: "base", test: BASE, priority: 3, minShareCount: 2 },
              { name: "frame", test: FRAME, priority: 2, minShareCount: 2 },
            ],
          },
        },
        treeshake: {
          moduleSideEffects: [
            { test: /\/(disk|emulator)\/(?!cli\/(main|worker-entry))/, sideEffects: false },
          ],
        },
      },
    },
  };
}

/**
 * @param {string} folder
 * @returns {import("vite").InlineConfig}
 */
function library(folder) {
  return {
    ...common,
    build: {
      outDir: folder,
      emptyOutDir: true,
      target: "es2023",
      minify: false,
      lib: {
        entry: { index: join(projectFolder, "disk/index.ts"), node: join(projectFolder, "disk/node.ts") },
        formats: ["es"],
      },
      rolldownOptions: {
        external: /^node:/,
        output: { entryFileNames: "[name].js", chunkFileNames: "[name]-[hash].js" },
      },
    },
  };
}

/** @type {import("vite").InlineConfig} */
const common = { configFile: false, root: projectFolder, logLevel: "warn", publicDir: false };

/** @param {string} folder */
function emitTypes(folder) {
  const require = createRequire(import.meta.url);
  const compiler = join(dirname(require.resolve("typescript/package.json")), "bin/tsc");
  mkdirSync(folder, { recursive: true });
  const words = [compiler, "-p", join(projectFolder, "disk/tsconfig.types.json"), "--outDir", folder];
  const { status } = spawnSync(process.execPath, words, { stdio: "inherit" });
  if (status !== 0) throw new Error(`The types of lib/disk could not be made (exit code ${status}).`);
  // The compiler rewrites the imports of scripts only, and a person's compiler looks for what is named.
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".d.ts")) continue;
    const path = join(folder, name);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replaceAll(/((?:from|import\() ?"\.[^"]+)\.ts"/g, '$1.js"'));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  // npm runs this as `prepare` even where it has left out what builds (`npm ci --omit=dev`).
  if (existsSync(join(projectFolder, "node_modules/vite"))) await buildLibrary();
  else console.log("byre: lib/ is not built: Vite is not installed (npm ci --include=dev installs it).");
}
