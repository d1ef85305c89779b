import { chromium } from "@playwright/test";
import { chromiumArguments, chromiumPath } from "../disk/testing/chromium.ts";
import { serveStatic } from "./serve-static.mjs";

/** `npm run screenshot`: takes the picture in the README, of the built page with the demo appliance running. */

const COMMANDS = ["uname -srm", "df -h /", "echo kept > /root/note; sync; cat /root/note"];

const server = await serveStatic({ root: "dist", port: 0 });
const executablePath = chromiumPath();
const browser = await chromium.launch({ args: chromiumArguments, ...(executablePath && { executablePath }) });
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 860 } });
  await page.goto(server.origin);
  await page.getByRole("button", { name: "Start Linux" }).click();
  const prompts = (count: number) =>
    page.waitForFunction(
      (wanted) => (window.byre.machine?.serial.text().split("linux:~# ").length ?? 0) > wanted,
      count,
      { timeout: 180_000 },
    );
  await prompts(1);
  for (const [index, command] of COMMANDS.entries()) {
    await page.evaluate((line) => window.byre.machine?.serial.send(`${line}\n`), command);
    await prompts(index + 2);
  }
  // The screen is drawn once a frame; the terminal too.
  await page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  );
  await page.screenshot({ path: "docs/screenshot.png" });
} finally {
  await browser.close();
  await server.close();
}
