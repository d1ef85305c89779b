import { chromium, type Page } from "@playwright/test";
import { chromiumArguments, chromiumPath } from "../disk/testing/chromium.ts";
import { serveStatic } from "./serve-static.mjs";

/**
 * `npm run screenshot`: takes the pictures in the README, of the built page with the demo appliance running:
 * the machine, and its snapshots beside it.
 */

const COMMANDS = ["uname -srm", "df -h /", "echo kept > /root/note; sync; cat /root/note"];
const PROMPT = "linux:~# ";

const server = await serveStatic({ root: "dist", port: 0 });
const executablePath = chromiumPath();
const browser = await chromium.launch({ args: chromiumArguments, ...(executablePath && { executablePath }) });
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 860 }, reducedMotion: "reduce" });
  await page.goto(`${server.origin}/#/run?image=appliances/linux.qcow2`);
  await page.waitForFunction(() => window.byre.machine?.state === "running", undefined, { timeout: 180_000 });
  // A machine that starts from a saved state stands at its prompt: only what is asked now gives another.
  for (const command of COMMANDS) await run(page, command);
  await drawn(page);
  await page.screenshot({ path: "docs/screenshot.png" });

  await page.getByRole("button", { name: "Snapshots", exact: true }).click();
  await save(page, "Fresh", "Nothing is installed yet.");
  await type(page, "ls -l /\n", " var");
  await save(page, "Before the experiment", "");
  await type(page, "vi /etc/passwd\n", "1/2 50%");
  await page.evaluate(() => window.byre.machine?.save("quick"));
  await page.getByRole("heading", { name: "quick" }).waitFor();
  await drawn(page);
  await page.screenshot({ path: "docs/snapshots.png" });
} finally {
  await browser.close();
  await server.close();
}

/** Runs a command on the serial port, and waits for the prompt after it. */
async function run(page: Page, command: string): Promise<void> {
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
async function type(page: Page, text: string, until: string): Promise<void> {
  await page.evaluate((keys) => window.byre.machine?.keyboard.sendText(keys), text);
  await page.waitForFunction((wanted) => window.byre.machine?.screen.text().includes(wanted), until);
  await drawn(page);
}

async function save(page: Page, name: string, description: string): Promise<void> {
  const panel = page.getByRole("complementary", { name: "Snapshots" });
  await panel.getByLabel("New snapshot").fill(name);
  await panel.getByRole("button", { name: "Add a description" }).click();
  await panel.getByLabel("Description").fill(description);
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.getByRole("heading", { name }).waitFor();
}

/** The screen is drawn once a frame; the terminal too. */
async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  );
}
