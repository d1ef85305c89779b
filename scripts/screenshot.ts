import type { Page } from "@playwright/test";
import { drawn, openGallery, openPanel, openSite, runCommand, startLinux, type } from "./screenshot-steps.ts";

/** `npm run screenshot`: takes the pictures in README and docs, of the built page with the demo appliance. */

const COMMANDS = ["uname -srm", "df -h /", "echo kept > /root/note; sync; cat /root/note"];

const site = await openSite();
try {
  const page = await site.browser.newPage({
    viewport: { width: 1280, height: 760 },
    colorScheme: "light",
    reducedMotion: "reduce",
  });
  await openGallery(page, site.origin);
  await take(page, "gallery");
  await page.goto(`${site.origin}/#/run?image=${site.strangerUrl}`);
  await page.getByRole("button", { name: "Start", exact: true }).waitFor();
  await take(page, "link");
  await openGallery(page, site.origin);
  await startLinux(page);
  await runCommand(page, "uname -srm");
  await take(page, "first-start");
  await page.getByRole("button", { name: "Got it" }).click();

  // Screen and terminal side by side.
  await page.setViewportSize({ width: 1440, height: 800 });
  for (const command of COMMANDS) await runCommand(page, command);
  await take(page, "machine");
  await openPanel(page, "Files");
  await take(page, "files");
  await openPanel(page, "Share");
  await page.getByLabel("The machine as it came").waitFor();
  await take(page, "share");
  await openPanel(page, "Settings");
  await take(page, "settings");
  await openPanel(page, "About");
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await take(page, "about");

  await openPanel(page, "Snapshots");
  await save(page, "Fresh", "Nothing is installed yet.");
  await type(page, "ls -l /\n", " var");
  await save(page, "Before the experiment", "");
  await type(page, "vi /etc/passwd\n", "1/2 50%");
  await page.evaluate(() => window.byre.machine?.save("quick"));
  await page.getByRole("heading", { name: "quick" }).waitFor();
  await take(page, "snapshots");
} finally {
  await site.close();
}

async function take(page: Page, name: string): Promise<void> {
  await drawn(page);
  await page.screenshot({ path: `docs/images/${name}.png` });
}

async function save(page: Page, name: string, description: string): Promise<void> {
  const panel = page.getByRole("complementary", { name: "Snapshots" });
  await panel.getByLabel("New snapshot").fill(name);
  await panel.getByRole("button", { name: "Add a description" }).click();
  await panel.getByLabel("Description").fill(description);
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.getByRole("heading", { name }).waitFor();
}
