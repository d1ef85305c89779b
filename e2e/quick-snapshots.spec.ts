import { expect, test } from "./byre-test.ts";
import { checksum, openGuest, readSector, writeSector } from "./panel-steps.ts";

test("quick save and restore work while the guest has the keyboard, which it gets back", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  await expect(page.getByText("Keys: screen")).toBeVisible();
  await page.keyboard.press("Control+Alt+KeyR");
  await expect(page.getByText("There is no quick save yet.")).toBeVisible();

  await writeSector(page, 0x33);
  await page.keyboard.press("Control+Alt+KeyS");
  await expect(page.getByText("Saved. Ctrl-Alt-R comes back to here.")).toBeVisible();
  await writeSector(page, 0x44);

  await page.keyboard.press("Control+Alt+KeyR");
  const question = page.getByRole("alertdialog", { name: "Quick restore" });
  await expect(question.getByRole("button", { name: "Restore" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(question).toBeHidden();
  await expect(page.getByText("Keys: screen")).toBeVisible();
  expect(await readSector(page)).toBe(checksum(0x44));

  await page.keyboard.press("Control+Alt+KeyR");
  await expect(question).toBeVisible();
  await page.keyboard.press("Control+Alt+KeyR");
  await expect(question).toBeHidden();
  await expect(page.getByText("Keys: screen")).toBeVisible();
  expect(await readSector(page)).toBe(checksum(0x33));

  await page.keyboard.press("Control+Alt+KeyS");
  await expect(page.getByText("Saved. Ctrl-Alt-R comes back to here.")).toBeVisible();
  expect(await page.evaluate(() => window.byre.machine?.snapshots())).toMatchObject([{ name: "quick" }]);
});

test("on the full screen a quick save tells of itself, and a quick restore asks", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  await page.getByRole("button", { name: "Full screen" }).click();
  const screen = page.locator("section:fullscreen");
  await expect(screen).toBeVisible();
  await writeSector(page, 0x12);
  await page.keyboard.press("Control+Alt+KeyS");
  await expect(screen.getByText("Saved. Ctrl-Alt-R comes back to here.")).toBeVisible();
  await writeSector(page, 0x13);
  await page.keyboard.press("Control+Alt+KeyR");
  await screen.getByRole("button", { name: "Restore" }).click();
  await expect(screen.getByRole("alertdialog")).toHaveCount(0);
  // Comes back when it is done.
  await expect(page.getByText("Keys: screen")).toBeVisible();
  expect(await readSector(page)).toBe(checksum(0x12));
});

test("AltGr, which Windows reports as Ctrl and Alt, types and does not save", async ({ page, images }) => {
  await openGuest(page, images);
  /** Ctrl-Alt-S, with AltGr or without; whether the page took it for itself. */
  const isTaken = (modifierAltGraph: boolean) =>
    page.evaluate((altGraph) => {
      const keys = { code: "KeyS", ctrlKey: true, altKey: true, modifierAltGraph: altGraph, bubbles: true };
      let taken = true;
      const goesOn = () => {
        taken = false;
      };
      document.addEventListener("keydown", goesOn, { capture: true });
      document.body.dispatchEvent(new KeyboardEvent("keydown", keys));
      document.removeEventListener("keydown", goesOn, { capture: true });
      return taken;
    }, modifierAltGraph);
  expect(await isTaken(true)).toBe(false);
  expect(await isTaken(false)).toBe(true);
  await expect(page.getByText("Saved. Ctrl-Alt-R comes back to here.")).toBeVisible();
});
