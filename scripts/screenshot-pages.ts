import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { drawn, openGallery, openPanel, openSite, startLinux } from "./screenshot-steps.ts";

/**
 * `npm run screenshot:pages -- FOLDER`: takes each page of the built site in both themes, at three widths, to be
 * looked at. A line is printed for a page that is wider than its window.
 */

const WIDTHS = [320, 768, 1440];
const HEIGHT = 800;
const PANELS = ["Snapshots", "Drives", "Files", "Export", "Share", "Settings", "About", "Type text"];

const folder = process.argv[2];
if (!folder) throw new Error("Say where the pictures go: npm run screenshot:pages -- FOLDER");
mkdirSync(folder, { recursive: true });

const site = await openSite();
try {
  for (const colorScheme of ["light", "dark"] as const) {
    const context = await site.browser.newContext({ colorScheme, reducedMotion: "reduce" });
    const page = await context.newPage();
    const take = (name: string) => takeWidths(page, `${name}-${colorScheme}`);
    await openGallery(page, site.origin);
    await take("gallery");
    await page.goto(`${site.origin}/#/appliance?image=appliances/linux.qcow2`);
    await page.getByRole("heading", { level: 1, name: "Linux" }).waitFor();
    await take("appliance");
    await page.goto(`${site.origin}/#/run?image=${site.strangerUrl}&network=wss://relay.example.org/`);
    await page.getByRole("button", { name: "Start", exact: true }).waitFor();
    await take("link");
    await page.goto(`${site.origin}/#/run?image=appliances/none.qcow2`);
    await page
      .getByRole("alert")
      .or(page.getByRole("heading", { level: 1 }))
      .first()
      .waitFor();
    await take("failed");

    await openGallery(page, site.origin);
    await startLinux(page);
    await take("first-start");
    await page.getByRole("button", { name: "Got it" }).click();
    await take("machine");
    for (const panel of PANELS) {
      await openPanel(page, panel);
      await take(`panel-${panel.toLowerCase().replace(" ", "-")}`);
      await page.getByRole("complementary").press("Escape");
      await page.getByRole("complementary").waitFor({ state: "detached" });
    }
    await page.goto(`${site.origin}/#/storage`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await take("storage");
    await page.goto(`${site.origin}/#/`);
    await page.getByRole("heading", { level: 1, name: "Machines" }).waitFor();
    await take("library");
    await context.close();
  }
} finally {
  await site.close();
}

async function takeWidths(page: Page, name: string): Promise<void> {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: HEIGHT });
    await drawn(page);
    await page.screenshot({ path: join(folder ?? ".", `${name}-${width}.png`) });
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wider > 0) console.log(`${name} is ${wider} pixels wider than ${width}`);
  }
}
