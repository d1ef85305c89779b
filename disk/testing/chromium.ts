import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "@playwright/test";

const COMMANDS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** For a test machine: no sandbox (containers run as root), no GPU, and nothing that calls home. */
export const chromiumArguments = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--disable-quic",
];

/**
 * Where a Chromium is that Playwright does not know of.
 *
 * @returns undefined when Playwright's own is installed, and when there is none (Playwright then says what
 *   to do); else the first one on PATH.
 */
export function chromiumPath(): string | undefined {
  if (existsSync(chromium.executablePath())) return undefined;
  const candidates = (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((directory) => COMMANDS.map((command) => join(directory, command)));
  return candidates.find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
