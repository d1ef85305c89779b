import { existsSync } from "node:fs";
import type { Page } from "@playwright/test";
import { ask, expect, machines, pick, test, waitForSerial } from "./byre-test.ts";
import { guestImage } from "./images.ts";
import { BANNER, fromMenu } from "./panel-steps.ts";

/** What docs/ tells three people to do, done. */

const LINUX = "public/appliances/linux.qcow2";
const PROMPT = "linux:~# ";
const START_MS = 90_000;

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

/** Runs a command in Linux, and waits for what it says. */
async function linux(page: Page, command: string, answer: string): Promise<void> {
  const from = await page.evaluate((line) => {
    const { length } = window.byre.machine?.serial.text() ?? "";
    window.byre.machine?.serial.send(`${line}\n`);
    return length;
  }, command);
  await page.waitForFunction(
    ([length, wanted]) => window.byre.machine?.serial.text().slice(length).includes(wanted),
    [from, answer] as const,
    { timeout: START_MS },
  );
}

/** Drops a text file on the page, from the person's own computer. */
async function dropText(page: Page, name: string, text: string): Promise<void> {
  await page.evaluate(
    ([fileName, content]) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([content], fileName, { type: "text/plain" }));
      window.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    },
    [name, text] as const,
  );
}

test.describe("with the demo appliance", () => {
  test.skip(!existsSync(LINUX) && process.env.CI !== "true", "the demo appliance is not built");
  test.setTimeout(3 * START_MS);

  test("a dropped image comes to its prompt, takes a file in and hands one out, and is there again", async ({
    page,
  }) => {
    await page.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined }));
    await page.goto("/");
    await page.locator('input[type="file"]').setInputFiles(LINUX);
    await waitForSerial(page, PROMPT, { timeout: START_MS });
    await button(page, "Got it").click();

    // As its first message says.
    await dropText(page, "letter.txt", "from the person's own disk\n");
    await button(page, "Give to the machine on a CD").click();
    await page.waitForFunction(() => window.byre.machine?.media.cdrom !== undefined);
    await linux(page, "mount /dev/sr0 /mnt && cat /mnt/*", "from the person's own disk");
    await linux(
      page,
      "cp /mnt/* notes.txt && echo and back >>notes.txt && sync && echo stored-$?",
      "stored-0",
    );
    await linux(page, "cat notes.txt >/dev/ttyS1 && echo sent-$?", "sent-0");
    await button(page, "Files").click();
    const panel = page.getByRole("complementary", { name: "Files" });
    const downloading = page.waitForEvent("download");
    await panel.getByRole("button", { name: "Save", exact: true }).click();
    const pieces: Buffer[] = [];
    for await (const piece of await (await downloading).createReadStream()) pieces.push(piece as Buffer);
    expect(Buffer.concat(pieces).toString()).toBe("from the person's own disk\nand back\n");

    await page.reload();
    await waitForSerial(page, PROMPT, { timeout: START_MS });
    await linux(page, "cat notes.txt", "and back");
  });
});

test("a machine becomes an appliance: its link shows it in a fresh profile, declined it leaves nothing, accepted it runs", async ({
  page,
  browser,
  images,
  baseURL,
}) => {
  await page.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined }));
  await page.goto("/");
  await pick(page, { "plain.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await ask(page, "W000009002A");
  await fromMenu(page, "About");
  const about = page.getByRole("complementary");
  await about.getByRole("button", { name: "Edit" }).click();
  await about.getByLabel("Name", { exact: true }).fill("Field Notes");
  await about.getByLabel("What its licence is called").fill("Notes Licence");
  await about.getByLabel("Licence", { exact: true }).fill("You may run this.\n\nYou may not sell it.");
  await about.getByLabel("What to say when it first runs").fill("# First steps\n\nPress **Enter**.");
  await about.getByRole("button", { name: "Save" }).click();
  await expect(about.getByRole("heading", { name: "Field Notes" })).toBeVisible();

  await fromMenu(page, "Share");
  const share = page.getByRole("complementary", { name: "Share" });
  const downloading = page.waitForEvent("download");
  await share.getByRole("button", { name: "Make the file" }).click();
  const pieces: Buffer[] = [];
  for await (const piece of await (await downloading).createReadStream()) pieces.push(piece as Buffer);
  images.files.set("notes.qcow2", { bytes: Buffer.concat(pieces), etag: '"1"' });
  await share.getByLabel("Address of the file").fill(images.url("notes.qcow2"));
  await share.getByRole("button", { name: "Check and make the link" }).click();
  const link = await share.getByLabel("Link", { exact: true }).inputValue();
  expect(link).toContain(`${baseURL}/#/run?image=`);

  const fresh = await browser.newContext();
  const other = await fresh.newPage();
  await other.goto(link);
  await expect(other.getByRole("heading", { level: 1 })).toHaveText(/Field Notes$/);
  await expect(other.getByRole("region", { name: "Notes Licence" })).toContainText("You may not sell it.");
  await button(other, "Decline").click();
  await expect(other.getByRole("heading", { level: 1, name: "Machines" })).toBeVisible();
  expect(await machines(other)).toEqual([]);

  await other.goto(link);
  await button(other, "Accept and start").click();
  await waitForSerial(other, BANNER);
  const message = other.getByRole("complementary", { name: "Field Notes" });
  await expect(message.getByRole("heading", { name: "First steps" })).toBeVisible();
  expect(await ask(other, "R00000900")).toBe(await ask(page, "R00000900"));
  expect(await machines(other)).toMatchObject([{ name: "Field Notes" }]);
  await fresh.close();
});
