import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";
import { serveStatic } from "../../scripts/serve-static.mjs";
import { helpText } from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import type { Out } from "./out.ts";

/** The port of a first try; any other program may have it, then the next free one is taken. */
const DEFAULT_PORT = 8000;
/** More links than this help nobody. */
const MAX_LINKS = 100;
/** How deep below the folder images are looked for. */
const MAX_DEPTH = 4;

export interface ServeOptions {
  readonly port?: number | undefined;
  readonly host?: string | undefined;
  /** Address of a Byre page that links are to open in. */
  readonly page?: string | undefined;
}

export interface Serving {
  readonly origin: string;
  close(): Promise<void>;
}

export function createCommand(out: Out): Command {
  return new Command("serve")
    .description(
      "Serves a folder's files to Byre pages, with ranges and CORS, and prints a link for each image in it. " +
        "Whoever can reach the port can read the folder.",
    )
    .argument("<folder>", "the folder")
    .option("--port <number>", `the port; ${DEFAULT_PORT}, or any free one, when left out`, portOf)
    .option("--host <address>", "the address to listen on: 0.0.0.0 for other machines too", "127.0.0.1")
    .option("--page <url>", "the Byre page that links open in; else the one built with this program")
    .addHelpText(
      "after",
      helpText(
        ["byre serve ~/images", "byre serve --host 0.0.0.0 --page https://example.org/byre/ ~/images"],
        {
          0: "it was ended, with Ctrl-C",
          1: "there is no such folder, or the port is taken",
        },
      ),
    )
    .action(async (folder: string, options: ServeOptions) => {
      const serving = await serve(folder, options, out);
      await new Promise<void>((done) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => done());
      });
      await serving.close();
    });
}

/** Serves until closed. */
export async function serve(folder: string, options: ServeOptions, out: Out): Promise<Serving> {
  const root = resolve(folder);
  if (!statSync(root, { throwIfNoEntry: false })?.isDirectory())
    throw new ExitError(ExitCode.FAILED, `${folder} is not a folder. Which one is to be served?`);
  const host = options.host ?? "127.0.0.1";
  const files = await listen(root, host, options.port);
  const pageFolder =
    options.page === undefined && !existsSync(join(root, "index.html")) ? builtPage() : undefined;
  const page = pageFolder === undefined ? undefined : await listen(pageFolder, host, undefined);
  const pageUrl =
    options.page ?? (page ?? (existsSync(join(root, "index.html")) ? files : undefined))?.origin;
  out.out(`Serving ${root} at ${files.origin}/  (Ctrl-C ends it)\n`);
  const images = findImages(root);
  for (const path of images.slice(0, MAX_LINKS)) out.out(`${linkTo(path, files.origin, pageUrl)}\n`);
  if (images.length > MAX_LINKS) out.out(`... and ${images.length - MAX_LINKS} more images\n`);
  if (images.length === 0) out.out("There is no .qcow2 file in it yet.\n");
  return {
    origin: files.origin,
    async close() {
      await page?.close();
      await files.close();
    },
  };
}

/** A link that boots an image in a page; without a page the image's own address. */
function linkTo(path: string, origin: string, pageUrl: string | undefined): string {
  const address = `${origin}/${path.split("/").map(encodeURIComponent).join("/")}`;
  if (pageUrl === undefined) return address;
  const base = pageUrl.replace(/#.*$/, "").replace(/\/?$/, "/");
  return `${base}#/run?image=${encodeURIComponent(address)}`;
}

async function listen(root: string, host: string, port: number | undefined): Promise<Serving> {
  try {
    return await serveStatic({ root, host, port: port ?? DEFAULT_PORT });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (port === undefined && (code === "EADDRINUSE" || code === "EACCES"))
      return await serveStatic({ root, host, port: 0 });
    const reason = error instanceof Error ? error.message : String(error);
    throw new ExitError(
      ExitCode.FAILED,
      `Could not listen on ${host}, port ${port ?? DEFAULT_PORT}: ${reason}`,
    );
  }
}

/** The page that was built beside this program: dist/ of the project, from lib/ or from disk/cli/. */
function builtPage(): string | undefined {
  const here = dirname(fileURLToPath(import.meta.url));
  return [join(here, "../dist"), join(here, "../../dist")].find((folder) =>
    existsSync(join(folder, "index.html")),
  );
}

/** Paths of the images below a folder, with slashes, sorted. Links are not followed out of it. */
function findImages(root: string): string[] {
  const found: string[] = [];
  const visit = (folder: string, depth: number): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && depth < MAX_DEPTH) visit(path, depth + 1);
      else if (entry.isFile() && entry.name.endsWith(".qcow2")) found.push(path);
    }
  };
  visit("", 0);
  return found.sort();
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError("It must be a number from 0 to 65535; 0 takes any free one.");
}
