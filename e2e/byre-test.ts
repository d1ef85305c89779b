import { type BrowserContext, test as base, expect, type Page } from "@playwright/test";
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
  { times = 1, timeout = 30_000 } = {},
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

/**
 * Leaves the page's site room for a machine and little more. Chromium remembers for a while how much room
 * there was, so this comes before the page.
 */
export async function narrowQuota(page: Page, context: BrowserContext): Promise<() => Promise<void>> {
  await page.goto("/icon.svg");
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(page.url());
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1.5 * 1024 * 1024 });
  return async () => {
    await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  };
}

/** How many files the block store holds, whoever owns them. */
export function storedFiles(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve, reject) => {
        const opening = indexedDB.open("byre-blocks");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const database = opening.result;
          if (!database.objectStoreNames.contains("files")) return resolve(0);
          const counting = database.transaction("files").objectStore("files").count();
          counting.onsuccess = () => {
            database.close();
            resolve(counting.result);
          };
        };
      }),
  );
}

/** The bytes of the open machine's disk, as a person would download it. */
export async function exportedDisk(
  page: Page,
  options: { snapshots?: boolean; flatten?: boolean } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const base64 = await page.evaluate(async (how) => {
    const blob = await window.byre.machine?.exportDisk(how);
    if (!blob) throw new Error("no machine is open");
    const url = await new Promise<string>((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(String(reader.result));
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(blob);
    });
    return url.slice(url.indexOf(",") + 1);
  }, options);
  return new Uint8Array(Buffer.from(base64, "base64"));
}
