import type { Locator, Page } from "@playwright/test";
import { createMemoryFile, openQcow2 } from "../disk/index.ts";
import { violations } from "./accessibility-check.ts";
import { applianceImage } from "./appliance-images.ts";
import { ask, expect, openLink, pick, test, waitForSerial } from "./byre-test.ts";
import { guestImage } from "./images.ts";
import { bytesOf, savedGuestImage } from "./saved-images.ts";

const BANNER = "tiny guest ready";

function button(page: Page | Locator, name: string) {
  return page.getByRole("button", { name, exact: true });
}

/** The panel beside the machine, open. */
async function openShare(page: Page): Promise<Locator> {
  await button(page, "More").click();
  await page.getByRole("menuitem", { name: "Share" }).click();
  const panel = page.getByRole("complementary", { name: "Share" });
  await expect(panel.getByRole("heading", { name: "Share", exact: true })).toBeFocused();
  return panel;
}

function linkIn(within: Page | Locator): Promise<string> {
  return within.getByLabel("Link", { exact: true }).inputValue();
}

/** A person's own file, made and handed over as a download. */
async function makeFile(page: Page, panel: Locator): Promise<Buffer> {
  const downloading = page.waitForEvent("download");
  await button(panel, "Make the file").click();
  const download = await downloading;
  const pieces: Buffer[] = [];
  for await (const piece of await download.createReadStream()) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

async function check(panel: Locator, address: string): Promise<void> {
  await panel.getByLabel("Address of the file").fill(address);
  await button(panel, "Check and make the link").click();
}

test("a machine in this browser alone becomes a link that starts it elsewhere, after its server is checked", async ({
  page,
  browser,
  baseURL,
  images,
}) => {
  await page.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined }));
  await page.goto("/");
  await pick(page, { "mine.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await ask(page, "W000009002A");
  await page.evaluate(() => window.byre.machine?.save("at work"));
  const panel = await openShare(page);
  await expect(panel).toContainText("mine is in this browser alone");
  const file = await makeFile(page, panel);
  await expect(panel).toContainText("mine.qcow2 is written");
  await expect(button(panel, "Make the file")).toBeFocused();

  await check(panel, images.url("mine.qcow2"));
  await expect(panel).toContainText("has no file there (HTTP 404)");
  await expect(panel).toContainText("There is no link yet");
  images.files.set("mine.qcow2", { bytes: file, etag: '"1"' });
  images.cors = false;
  await check(panel, images.url("mine.qcow2"));
  await expect(panel).toContainText("lets no other page read the file");
  await expect(panel).toContainText("Access-Control-Allow-Origin: *");
  images.cors = true;
  images.files.set("mine.qcow2", { bytes: file.subarray(0, file.length - 70_000), etag: '"1"' });
  await check(panel, images.url("mine.qcow2"));
  await expect(panel).toContainText("has probably not ended");
  await expect(panel.getByLabel("Link", { exact: true })).toBeHidden();
  images.files.set("mine.qcow2", { bytes: file, etag: '"1"' });
  images.ranges = false;
  await check(panel, images.url("mine.qcow2"));
  await expect(panel).toContainText("hands out only the whole file");
  images.ranges = true;
  await check(panel, images.url("mine.qcow2"));
  await expect(panel).toContainText("It is the file that was exported.");

  await panel.getByText("Choose how it starts").click();
  await panel.getByLabel("Start from").selectOption("at work");
  const link = await linkIn(panel);
  expect(link).toBe(`${baseURL}/#/run?image=${images.url("mine.qcow2")}&snapshot=at+work`);

  // Somebody else, who has nothing of it.
  const other = await browser.newPage();
  await other.goto(link);
  await button(other, "Start").click();
  await other.waitForFunction(() => window.byre.machine?.state === "running");
  expect(await ask(other, "R00000900")).toBe(await ask(page, "R00000900"));
  await other.close();

  // The address may be there another day.
  await page.reload();
  await waitForSerial(page, BANNER);
  const again = await openShare(page);
  await expect(again).toContainText("mine.qcow2 is written");
  images.files.set("mine.qcow2", {
    bytes: await guestImage({ fill: 5, fillBytes: 1024 * 1024 }),
    etag: '"2"',
  });
  await check(again, images.url("mine.qcow2"));
  await expect(again).toContainText("another than the one that was exported");
  await expect(again.getByLabel("Link", { exact: true })).toBeHidden();
});

test("a machine made of a link is shared as it came, with its drives; as it is now, with a file", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  images.files.set("tools.iso", { bytes: Buffer.alloc(64 * 2048), etag: '"2"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&cdrom=${images.url("tools.iso")}`);
  await waitForSerial(page, BANNER);
  const panel = await openShare(page);
  expect(await linkIn(panel)).toMatch(/guest\.qcow2&cdrom=http.*tools\.iso$/);
  await panel.getByText("Choose how it starts").click();
  await panel.getByLabel("Memory in MiB").fill("5");
  await expect(panel.getByRole("alert")).toContainText("memory=5");
  await panel.getByLabel("Memory in MiB").fill("64");
  await panel.getByLabel("Network").selectOption("relay");
  await panel.getByLabel("Address of the relay").fill("wss://relay.example/");
  await panel.getByLabel("Keep nothing").check();
  expect(new URL(await linkIn(panel)).hash).toBe(
    `#/run?image=${images.url("guest.qcow2")}&memory=64&ephemeral=1&network=wss://relay.example/&cdrom=${images.url("tools.iso")}`,
  );

  await panel.getByText("Show it in a page of your own").click();
  const html = await panel.getByLabel("HTML").inputValue();
  expect(html).toContain("&amp;embed=1");
  expect(html).not.toContain("ephemeral");
  await panel.getByText("QR code, for a phone").click();
  await expect(panel.getByRole("img", { name: "QR code of the link to guest" })).toBeVisible();
  await panel.getByLabel("The machine as it is now").check();
  await expect(panel.getByRole("heading", { name: "Make the file" })).toBeVisible();
  await expect(panel.getByLabel("Link", { exact: true })).toBeHidden();
});

test("a machine that was started from a saved state of its image is shared from there", async ({
  page,
  images,
}) => {
  images.files.set("saved.qcow2", { bytes: await savedGuestImage(), etag: '"1"' });
  await openLink(page, `#/run?image=${images.url("saved.qcow2")}&snapshot=ready`);
  const panel = await openShare(page);
  await panel.getByText("Choose how it starts").click();
  await expect(panel.getByLabel("Start from")).toHaveValue("ready");
  expect(await linkIn(panel)).toMatch(/saved\.qcow2&snapshot=ready$/);
  await panel.getByLabel("Start from").selectOption("What the image says");
  expect(await linkIn(panel)).toMatch(/saved\.qcow2$/);
});

test("a machine that was started from the older of two snapshots of one name is shared from there", async ({
  page,
  images,
}) => {
  const saved = createMemoryFile({ name: "saved.qcow2", content: await savedGuestImage() });
  const device = await openQcow2(saved, { writable: true });
  await device.createSnapshot({ name: "ready" });
  await device.flush();
  images.files.set("saved.qcow2", { bytes: bytesOf(saved), etag: '"1"' });
  await openLink(page, `#/run?image=${images.url("saved.qcow2")}&snapshot=1`);
  const panel = await openShare(page);
  await panel.getByText("Choose how it starts").click();
  await expect(panel.getByLabel("Start from")).toHaveValue("1");
  await expect(panel.getByLabel("Start from")).toContainText("Saved state “ready” (id 1)");
  expect(await linkIn(panel)).toMatch(/saved\.qcow2&snapshot=1$/);
});

test("the link is copied, and an appliance is shared from its own page with its saved states", async ({
  page,
  context,
  images,
}) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const image = await applianceImage({ "appliance.name": "Field Notes" });
  images.files.set("notes.qcow2", { bytes: image, etag: '"1"' });
  await page.goto(`/#/appliance?image=${images.url("notes.qcow2")}`);
  await button(page, "Share").click();
  await button(page, "Copy link").click();
  await expect(page.getByText("Copied", { exact: true })).toBeVisible();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(await linkIn(page));
  expect(copied).toContain(`#/run?image=${images.url("notes.qcow2")}`);
});

for (const colorScheme of ["light", "dark"] as const)
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme, viewport: { width: 320, height: 640 } });

    test("sharing has no axe violations and fits 320 pixels", async ({ page, images }) => {
      images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
      await openLink(page, `#/run?image=${images.url("guest.qcow2")}`);
      await waitForSerial(page, BANNER);
      const panel = await openShare(page);
      for (const words of ["Choose how it starts", "QR code, for a phone", "Show it in a page of your own"])
        await panel.getByText(words).click();
      expect(await violations(page)).toEqual([]);
      await panel.getByLabel("The machine as it is now").check();
      images.ranges = false;
      await check(panel, images.url("guest.qcow2"));
      await expect(panel).toContainText("hands out only the whole file");
      await check(panel, images.url("none.qcow2"));
      await expect(panel).toContainText("There is no link yet");
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
      await page.goto(`/#/appliance?image=${images.url("guest.qcow2")}`);
      await button(page, "Share").click();
      await expect(page.getByLabel("Link", { exact: true })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    });
  });
