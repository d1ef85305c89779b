import { existsSync } from "node:fs";
import type { Page } from "@playwright/test";
import { expect, machines, test, waitForSerial } from "./byre-test.ts";

const PROMPT = "linux:~# ";
/** A boot takes about 20 s on a quiet machine with two cores. */
const BOOT_MS = 90_000;

const missing = !existsSync("public/appliances/linux.qcow2");
test.skip(missing && process.env.CI !== "true", "the demo appliance is not built: npm run appliance");
test.setTimeout(3 * BOOT_MS);

test("Linux boots from the gallery, takes typing on terminal and screen, and keeps a file across a reload", async ({
  page,
}) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Start Linux" }).click();
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  await expect(page).toHaveURL(/#\/machine\//);
  // What the appliance has to say takes the terminal's place.
  await page.getByRole("button", { name: "Got it" }).click();

  // In the terminal.
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("echo kept-$((6*7)) > /root/note && sync && echo written-$?\n");
  await waitForSerial(page, "written-0");
  const stats = await page.evaluate(() => window.byre.machine?.stats());
  expect(stats?.flushes).toBeGreaterThan(0);

  // What was typed there did not go to the guest's keyboard as well.
  expect(await page.evaluate(() => window.byre.machine?.screen.text())).not.toContain("echo");

  // On the screen.
  await page.getByRole("application", { name: /Guest screen/ }).click();
  await page.keyboard.type("cat note; printf '.....\\n88888\\n.....\\n88888\\n'\n", { delay: 20 });
  await page.waitForFunction(() => window.byre.machine?.screen.text().match(/^88888$/gm)?.length === 2);
  expect(await page.evaluate(() => window.byre.machine?.screen.text())).toContain("kept-42");
  const [faint = 0] = await inkOf(page, ".....");
  expect(faint).toBeGreaterThan(0);
  for (const ink of await inkOf(page, "88888")) expect(ink).toBeGreaterThan(2 * faint);

  await page.reload();
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  await page.evaluate(() => window.byre.machine?.serial.send("cat /root/note\n"));
  await waitForSerial(page, "kept-42");
  expect(await machines(page)).toMatchObject([{ name: "Linux", base: { name: "linux.qcow2" } }]);

  await page.evaluate(() => window.byre.machine?.serial.send("poweroff\n"));
  await expect(page.getByText("Linux is off. What it had written to its disk is kept.")).toBeVisible({
    timeout: 60_000,
  });
});

/** How many pixels are lit in each row of the screen that has this text. */
function inkOf(page: Page, text: string): Promise<number[]> {
  return page.evaluate(async (wanted) => {
    const { machine } = window.byre;
    if (!machine) throw new Error("no machine is open");
    const picture = await createImageBitmap(await machine.screen.screenshot());
    const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
    if (!context) throw new Error("no canvas to measure with");
    context.drawImage(picture, 0, 0);
    const height = picture.height / 25;
    return machine.screen
      .text()
      .split("\n")
      .flatMap((row, index) => (row === wanted ? [index] : []))
      .map((row) => {
        const { data } = context.getImageData(0, row * height, picture.width, height);
        return data.filter((value, index) => index % 4 === 0 && value > 64).length;
      });
  }, text);
}
