import type { Page } from "@playwright/test";
import { createMemoryFile, metadataOf, openQcow2 } from "../disk/index.ts";
import { violations } from "./accessibility-check.ts";
import { applianceImage, SMALL_PNG } from "./appliance-images.ts";
import {
  ask,
  expect,
  exportedDisk,
  machines,
  openLink,
  pick,
  storedFiles,
  test,
  waitForSerial,
} from "./byre-test.ts";
import type { ImageServer } from "./image-server.ts";
import { guestImage } from "./images.ts";
import { fromMenu } from "./panel-steps.ts";

const BANNER = "tiny guest ready";
const LICENCE = "You may run this.\n\nYou may not sell it.";
const NOTES = {
  "appliance.name": "Field Notes",
  "appliance.summary": "A small writing machine.",
  "appliance.icon": SMALL_PNG,
  "appliance.license": LICENCE,
  "appliance.license-title": "Notes Licence",
  "machine.memory": "32",
};

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

/** No machine, and nothing of one. */
async function expectNothingKept(page: Page): Promise<void> {
  await expect(page.getByRole("heading", { level: 1, name: "Machines" })).toBeVisible();
  await expect.poll(() => storedFiles(page)).toBe(0);
  expect(await machines(page)).toEqual([]);
  expect(await page.evaluate(() => window.byre.machine)).toBeUndefined();
}

test("a dropped appliance asks for its licence: declined it leaves nothing, accepted it is not asked again", async ({
  page,
}) => {
  const image = await applianceImage(NOTES);
  await page.goto("/");
  await pick(page, { "notes.qcow2": image });
  await expect(page.getByRole("region", { name: "Notes Licence" })).toContainText("You may not sell it.");
  expect(await machines(page)).toEqual([]);
  await button(page, "Decline").click();
  await expectNothingKept(page);

  await pick(page, { "notes.qcow2": image });
  await button(page, "Accept and start").click();
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toMatchObject([{ name: "Field Notes" }]);

  await button(page, "All machines").click();
  await pick(page, { "other.qcow2": await applianceImage({ "appliance.license": LICENCE }) });
  await button(page, "Switch it off and go on").click();
  await page.waitForFunction(() => window.byre.machine?.name === "other");
  await waitForSerial(page, BANNER);
  await button(page, "All machines").click();
  await pick(page, {
    "third.qcow2": await applianceImage({ "appliance.license": `${LICENCE}\nNor lend it.` }),
  });
  await button(page, "Switch it off and go on").click();
  await expect(button(page, "Accept and start")).toBeVisible();
});

test("an appliance started from the gallery asks for its licence and nothing else", async ({
  page,
  images,
}) => {
  images.files.set("notes.qcow2", { bytes: await applianceImage(NOTES), etag: '"1"' });
  images.files.set("free.qcow2", { bytes: await applianceImage({ "appliance.name": "Free" }), etag: '"1"' });
  const catalog = ["notes.qcow2", "free.qcow2"].map((path) => images.url(path));
  await page.route("**/appliances/catalog.json", (route) => route.fulfill({ json: catalog }));
  await page.goto("/");
  await button(page, "Start Field Notes").click();
  await expect(page.getByRole("region", { name: "Notes Licence" })).toBeVisible();
  await button(page, "Decline").click();
  await expectNothingKept(page);
  await button(page, "Start Free").click();
  await waitForSerial(page, BANNER);
});

test("a link from outside shows what it would run, from where, before any of it does", async ({
  page,
  images,
}) => {
  images.files.set("notes.qcow2", { bytes: await applianceImage(NOTES), etag: '"1"' });
  const link = `/#/run?image=${images.url("notes.qcow2")}&memory=48`;
  await page.goto(link);
  const main = page.getByRole("main");
  await expect(main.getByRole("heading", { level: 1 })).toHaveText(/Field Notes$/);
  await expect(main).toContainText(new URL(images.origin).host);
  await expect(main).toContainText(images.url("notes.qcow2"));
  await expect(main).toContainText("A small writing machine.");
  // What it would really have, not what the image says.
  await expect(main).toContainText("48 MiB");
  await expect(main.getByRole("region", { name: "Notes Licence" })).toBeVisible();
  expect(await page.evaluate(() => window.byre.machine)).toBeUndefined();
  await button(page, "Decline").click();
  await expectNothingKept(page);

  await page.goto(link);
  await button(page, "Accept and start").click();
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.memoryMiB)).toBe(48);
  // It is the person's own machine from now on.
  await page.goto("about:blank");
  await page.goto(link);
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toHaveLength(1);
});

test("a link to an image that says nothing asks too; one that keeps nothing says so", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&ephemeral=1`);
  const main = page.getByRole("main");
  await expect(main.getByRole("heading", { level: 1 })).toHaveText(/guest\.qcow2$/);
  await expect(main).toContainText("Nothing it writes is kept.");
  await button(page, "All machines").click();
  await expectNothingKept(page);
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&ephemeral=1`);
  await button(page, "Start").press("Enter");
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toEqual([]);
});

test("a script that is unattended is asked nothing", async ({ page, images }) => {
  images.files.set("notes.qcow2", { bytes: await applianceImage(NOTES), etag: '"1"' });
  await openLink(page, `#/run?image=${images.url("notes.qcow2")}`);
  await waitForSerial(page, BANNER);
  expect(await ask(page, "Ehere\n")).toContain("here");
});

const GREETED = { "appliance.name": "Field Notes", "appliance.message": "# First steps\n\nPress **Enter**." };

/** A machine made of a link by a person who accepts what it shows. */
async function startByHand(page: Page, images: ImageServer, says: Record<string, string>): Promise<void> {
  images.files.set("notes.qcow2", { bytes: await applianceImage(says), etag: '"1"' });
  await page.goto(`/#/run?image=${images.url("notes.qcow2")}&memory=32`);
  await button(page, "Start").click();
  await waitForSerial(page, BANNER);
}

test("an appliance says how to begin when it first runs, later only when asked", async ({ page, images }) => {
  await startByHand(page, images, GREETED);
  const message = page.getByRole("complementary", { name: "Field Notes" });
  await expect(message.getByRole("heading", { name: "First steps" })).toBeVisible();
  await message.getByRole("button", { name: "Got it" }).click();
  await expect(message).toBeHidden();
  // Keys go to what it spoke of.
  await expect(page.getByRole("application")).toBeFocused();

  await page.reload();
  await waitForSerial(page, BANNER);
  await fromMenu(page, "About");
  const about = page.getByRole("complementary", { name: "About this machine" });
  await expect(about.getByRole("heading", { name: "First steps" })).toBeVisible();
  await expect(message).toBeHidden();
  await page.keyboard.press("Escape");
  await expect(about).toBeHidden();
  await expect(button(page, "More")).toBeFocused();
});

test("what a machine says of itself is edited while it runs, kept, and exported with it", async ({
  page,
  images,
}) => {
  await startByHand(page, images, { ...GREETED, "machine.snapshot": "gone", "our.key": "stays" });
  await fromMenu(page, "About");
  const panel = page.getByRole("complementary");
  await panel.getByRole("button", { name: "Edit" }).click();
  await expect(panel.getByRole("heading", { name: "Edit what this machine says" })).toBeFocused();
  await panel.getByLabel("Name", { exact: true }).fill("My <b>Notes</b>");
  await panel.getByRole("button", { name: "Save" }).click();
  await expect(panel.getByRole("heading", { name: "My <b>Notes</b>" })).toBeVisible();
  expect(await ask(page, "Ealive\n")).toContain("alive");

  await page.reload();
  await waitForSerial(page, BANNER);
  const file = createMemoryFile({ name: "exported", content: await exportedDisk(page) });
  const device = await openQcow2(file, { writable: false, backing: "none" });
  expect([...metadataOf(device.header, "exported")].sort()).toEqual([
    ["appliance.message", GREETED["appliance.message"]],
    ["appliance.name", "My <b>Notes</b>"],
    ["our.key", "stays"],
  ]);
  await device.close();
});

test("a machine has its appliance's picture in the gallery, and another one once it is edited", async ({
  page,
  images,
}) => {
  await startByHand(page, images, { ...GREETED, "appliance.icon": SMALL_PNG });
  const picture = page
    .getByRole("region", { name: "Yours" })
    .getByRole("listitem")
    .locator("canvas:not([hidden])");
  await button(page, "All machines").click();
  await expect(picture).toHaveCount(1);
  await page.getByRole("button", { name: /^Go to / }).click();
  await fromMenu(page, "About");
  const panel = page.getByRole("complementary");
  await panel.getByRole("button", { name: "Edit" }).click();
  await panel.getByRole("button", { name: "Remove it" }).click();
  await panel.getByRole("button", { name: "Save" }).click();
  await expect(panel.getByRole("button", { name: "Edit" })).toBeVisible();
  await button(page, "All machines").click();
  await expect(page.getByRole("region", { name: "Yours" }).getByRole("listitem")).toHaveCount(1);
  await expect(picture).toHaveCount(0);
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("the questions before a start have no axe violations and fit 320 pixels", async ({
      page,
      images,
    }) => {
      await page.setViewportSize({ width: 320, height: 640 });
      images.files.set("notes.qcow2", { bytes: await applianceImage(NOTES), etag: '"1"' });
      await page.goto(`/#/run?image=${images.url("notes.qcow2")}`);
      await expect(button(page, "Accept and start")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
      await button(page, "Decline").press("Enter");
      await pick(page, { "notes.qcow2": await applianceImage(NOTES) });
      await expect(button(page, "Accept and start")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    });

    test("a first message and About have no axe violations and fit 320 pixels", async ({ page, images }) => {
      await page.setViewportSize({ width: 320, height: 640 });
      await startByHand(page, images, GREETED);
      await expect(button(page, "Got it")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await button(page, "Got it").press("Enter");
      await fromMenu(page, "About");
      await expect(button(page, "Edit")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await button(page, "Edit").press("Enter");
      await expect(button(page, "Save")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    });
  });
}
