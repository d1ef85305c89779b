import { type Browser, chromium, type Page } from "@playwright/test";
import { chromiumArguments, chromiumPath } from "../disk/testing/chromium.ts";
import { serveStatic } from "./serve-static.mjs";

/** What the demo appliance says when it waits for a command. */
const PROMPT = "linux:~# ";

/** The built page, and the same again as another site. */
export interface Site {
  readonly browser: Browser;
  readonly origin: string;
  /** The demo appliance's address on the other site. */
  readonly strangerUrl: string;
  close(): Promise<void>;
}

/** Serves the built page: of dist, or of the folder that SITE names. */
export async function openSite(): Promise<Site> {
  const root = process.env.SITE ?? "dist";
  const server = await serveStatic({ root, port: 0 });
  const other = await serveStatic({ root, port: 0 });
  const executablePath = chromiumPath();
  const browser = await chromium.launch({
    args: chromiumArguments,
    ...(executablePath && { executablePath }),
  });
  return {
    browser,
    origin: server.origin,
    strangerUrl: `${other.origin}/appliances/linux.qcow2`,
    async close() {
      await browser.close();
      await server.close();
      await other.close();
    },
  };
}

/** Opens the gallery; it knows what its appliances are. */
export async function openGallery(page: Page, origin: string): Promise<void> {
  await page.goto(`${origin}/`);
  await page.getByRole("button", { name: "Start Linux" }).waitFor();
  await page.locator("li[aria-busy=true]").waitFor({ state: "detached" });
  await drawn(page);
}

/** Starts the demo appliance in the gallery. */
export async function startLinux(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Start Linux" }).click();
  await page.waitForFunction(() => window.byre.machine?.state === "running", undefined, { timeout: 180_000 });
  await page.getByRole("button", { name: "Got it" }).waitFor();
}

/** Runs a command on the serial port, and waits for the prompt after it. */
export async function runCommand(page: Page, command: string): Promise<void> {
  const from = await page.evaluate((line) => {
    const { length } = window.byre.machine?.serial.text() ?? "";
    window.byre.machine?.serial.send(`${line}\n`);
    return length;
  }, command);
  await page.waitForFunction(
    ([length, prompt]) => window.byre.machine?.serial.text().slice(length).includes(prompt),
    [from, PROMPT] as const,
  );
}

/** Types on the guest's keyboard, and waits until its screen shows `until`. */
export async function type(page: Page, text: string, until: string): Promise<void> {
  await page.evaluate((keys) => window.byre.machine?.keyboard.sendText(keys), text);
  await page.waitForFunction((wanted) => window.byre.machine?.screen.text().includes(wanted), until);
  await drawn(page);
}

/** Opens a panel beside the machine, from the bar or from its menu. */
export async function openPanel(page: Page, label: string): Promise<void> {
  const onBar = page.getByRole("button", { name: label, exact: true });
  if (await onBar.isVisible()) await onBar.click();
  else {
    await page.getByRole("button", { name: "More", exact: true }).click();
    await page.getByRole("menuitem", { name: label, exact: true }).click();
  }
  await page.getByRole("complementary").waitFor();
  await drawn(page);
}

/** The screen is drawn once a frame; the terminal too. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  );
}
