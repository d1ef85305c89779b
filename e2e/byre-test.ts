import { test as base, expect, type Page } from "@playwright/test";
import type { MachineSummary, PageApi } from "../src/page-api.ts";
import { type ImageServer, startImageServer } from "./image-server.ts";

declare global {
  interface Window {
    byre: PageApi;
  }
}

export interface Fixtures {
  /** A server of its own for every test, stopped after it. */
  images: ImageServer;
}

export const test = base.extend<Fixtures>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the fixtures from this pattern
  images: async ({}, use) => {
    const server = await startImageServer({});
    await use(server);
    await server.stop();
  },
  page: async ({ page }, use) => {
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await use(page);
    expect(errors, "errors that nothing on the page caught").toEqual([]);
  },
});

export { expect };

/** Opens a link or an address as a script would, and waits until the machine runs. */
export async function openLink(page: Page, link: string): Promise<void> {
  await page.goto("/");
  await page.evaluate(async (target) => {
    await window.byre.open(target, { unattended: true });
  }, link);
}

/** Waits until the guest has written `text` to its serial port, `times` times. */
export async function waitForSerial(
  page: Page,
  text: string,
  { times = 1, timeout = 15_000 } = {},
): Promise<void> {
  await page.waitForFunction(
    ([wanted, count]) => (window.byre.machine?.serial.text().split(wanted).length ?? 0) > count,
    [text, times] as const,
    { timeout },
  );
}

/** Waits until the machine is in a state. */
export async function waitForState(page: Page, state: string): Promise<void> {
  await page.waitForFunction((wanted) => window.byre.machine?.state === wanted, state);
}

export function machines(page: Page): Promise<MachineSummary[]> {
  return page.evaluate(() => window.byre.machines());
}

/** Files as the file picker hands them over. */
export function pick(page: Page, files: Record<string, Buffer>): Promise<void> {
  const payloads = Object.entries(files).map(([name, buffer]) => ({
    name,
    buffer,
    mimeType: "application/octet-stream",
  }));
  return page.locator('input[type="file"]').setInputFiles(payloads);
}

/** Sends the tiny guest a command and gives the line it answers. */
export async function ask(page: Page, command: string): Promise<string> {
  const before = await tell(page, command);
  return answerAfter(page, before);
}

/** Sends a command and does not wait; gives what `answerAfter` needs. */
export function tell(page: Page, command: string): Promise<number> {
  return page.evaluate((text) => {
    const { machine } = window.byre;
    if (!machine) throw new Error("no machine is open");
    const { length } = machine.serial.text();
    machine.serial.send(text);
    return length;
  }, command);
}

/** What the guest has answered since `tell`, once that is `lines` lines. */
export async function answerAfter(page: Page, length: number, lines = 1): Promise<string> {
  const handle = await page.waitForFunction(
    ([from, count]) => {
      const text = window.byre.machine?.serial.text().slice(from) ?? "";
      return text.split("\n").length > count ? text.trim() : false;
    },
    [length, lines] as const,
  );
  return (await handle.jsonValue()) as string;
}

/** Eight upper-case digits, as the tiny guest reads numbers. */
export function hex(value: number, digits = 8): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}
