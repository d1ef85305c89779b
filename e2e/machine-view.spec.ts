import type { Page } from "@playwright/test";
import { applianceImage } from "./appliance-images.ts";
import { expect, hex, openLink, pick, tell, test, waitForSerial } from "./byre-test.ts";
import { guestImage, SECTOR_BYTES } from "./images.ts";
import { BANNER, fromMenu, openGuest } from "./panel-steps.ts";

const MIB = 1024 * 1024;

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

test("what goes wrong in a panel that covers the machine is said over the panel", async ({
  page,
  images,
}) => {
  await page.setViewportSize({ width: 768, height: 700 });
  await openGuest(page, images);
  await fromMenu(page, "Drives");
  const panel = page.getByRole("complementary", { name: "Drives" });
  await panel
    .getByRole("region", { name: "Floppy disk" })
    .locator('input[type="file"]')
    .setInputFiles({ name: "large.img", mimeType: "", buffer: Buffer.alloc(5 * 1024 * 1024) });
  await expect(page.getByRole("alert")).toContainText("large.img");
  await button(page, "Understood").click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(panel).toBeVisible();
});

test("a machine that stops with an error is shown, out of the full screen and from behind a panel", async ({
  page,
  images,
}) => {
  await page.setViewportSize({ width: 768, height: 700 });
  // Large enough not to be fetched whole behind the boot.
  const bytes = await guestImage({ sizeBytes: 48 * MIB, fill: 0x3c, fillBytes: 40 * MIB });
  images.files.set("guest.qcow2", { bytes });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  const screen = page.getByRole("region", { name: "Screen", exact: true });
  await button(page, "Snapshots").click();
  await expect(screen).toBeHidden();
  await page.evaluate(() => document.querySelector("aside")?.requestFullscreen());
  await expect.poll(() => page.evaluate(() => document.fullscreenElement !== null)).toBe(true);
  await images.stop();
  await tell(page, `r${hex((35 * MIB) / SECTOR_BYTES)}`);
  await expect(page.getByRole("alert")).toContainText("is stopped, and nothing is lost");
  expect(await page.evaluate(() => document.fullscreenElement)).toBeNull();
  await expect(screen).toBeVisible();
});

test("Control Alt G leads out of the full screen; a right Alt that writes letters does not", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  await button(page, "Full screen").click();
  await expect(page.getByRole("application")).toBeFocused();
  await page.evaluate(() => {
    const keys = { code: "KeyG", ctrlKey: true, altKey: true, modifierAltGraph: true, bubbles: true };
    document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", keys));
  });
  await expect(page.getByRole("application")).toBeFocused();
  await page.keyboard.press("Control+Alt+KeyG");
  await expect(button(page, "All machines")).toBeFocused();
  expect(await page.evaluate(() => document.fullscreenElement)).toBeNull();
});

test("a machine of which the terminal alone is shown has the keys there, also in a narrow window", async ({
  page,
}) => {
  await page.setViewportSize({ width: 800, height: 700 });
  await page.goto("/");
  const image = await applianceImage({ "machine.display": "terminal", "appliance.message": "Type a word." });
  await pick(page, { "words.qcow2": image });
  await waitForSerial(page, BANNER);
  const terminal = page.getByRole("textbox", { name: /^Serial terminal/ });
  await button(page, "Got it").click();
  await expect(terminal).toBeFocused();
  await button(page, "Snapshots").click();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("region", { name: "Serial terminal" })).toBeVisible();
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect(terminal).toBeFocused();
  await button(page, "Full screen").click();
  await expect(page.getByRole("region", { name: "Serial terminal" })).toBeInViewport();
});

test("Escape throws nothing away that was typed about a machine", async ({ page, images }) => {
  await openGuest(page, images);
  await fromMenu(page, "About");
  const panel = page.getByRole("complementary");
  await panel.getByRole("button", { name: "Edit" }).click();
  const name = panel.getByLabel("Name", { exact: true });
  await name.fill("Typed");
  await page.keyboard.press("Escape");
  await expect(name).toHaveValue("Typed");
  await panel.getByRole("button", { name: "Cancel" }).click();
  await page.keyboard.press("Escape");
  await expect(panel).toBeHidden();
});
