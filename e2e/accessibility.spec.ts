import type { Page } from "@playwright/test";
import { violations } from "./accessibility-check.ts";
import { expect, openLink, pick, test, waitForSerial, waitForState } from "./byre-test.ts";
import { guestImage } from "./images.ts";
import { fromMenu, openGuest, openPanel } from "./panel-steps.ts";

const BANNER = "tiny guest ready";

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("gallery, failure, machine and its states have no axe violations", async ({ page, images }) => {
      await page.goto("/");
      await expect(page.getByText("None yet")).toBeVisible();
      expect(await violations(page)).toEqual([]);

      await pick(page, { "bad.qcow2": Buffer.from("no image") });
      await expect(page.getByRole("alert")).toBeVisible();
      expect(await violations(page)).toEqual([]);

      images.files.set("guest.qcow2", { bytes: await guestImage() });
      await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
      await waitForSerial(page, BANNER);
      await expect(page.locator(".xterm-rows")).toContainText(BANNER);
      expect(await violations(page)).toEqual([]);

      await page.getByRole("button", { name: "More", exact: true }).click();
      await expect(page.getByRole("menu")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");
      await fromMenu(page, "Export");
      await expect(page.getByRole("complementary", { name: "Export" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.setViewportSize({ width: 320, height: 640 });
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");

      await page.getByRole("button", { name: "Statistics" }).click();
      expect(await violations(page)).toEqual([]);

      await page.evaluate(() => window.byre.machine?.powerOff());
      await expect(page.getByRole("button", { name: "Start again" })).toBeVisible();
      expect(await violations(page)).toEqual([]);

      await page.getByRole("button", { name: "All machines" }).first().click();
      await page.getByRole("button", { name: "guest: more" }).click();
      await page.getByRole("button", { name: "Export", exact: true }).click();
      await expect(page.getByLabel("The whole disk")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.getByRole("button", { name: "Not now" }).click();
      await page.getByRole("button", { name: "guest: more" }).click();
      await page.getByRole("button", { name: "Delete" }).click();
      await expect(page.getByText("Delete guest?")).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });

    test("snapshots and the questions about them have no axe violations", async ({ page, images }) => {
      images.files.set("guest.qcow2", { bytes: await guestImage() });
      images.files.set("other.qcow2", { bytes: await guestImage() });
      await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
      await waitForSerial(page, BANNER);
      const panel = await openPanel(page);
      await expect(panel.getByText("None yet")).toBeVisible();
      expect(await violations(page)).toEqual([]);

      await panel.getByRole("button", { name: "Add a description" }).click();
      await panel.getByLabel("Description").fill("What it is for.");
      await panel.getByRole("button", { name: "Save" }).click();
      await panel.getByRole("button", { name: "Snapshot 1: more" }).click();
      expect(await violations(page)).toEqual([]);
      await panel.getByRole("button", { name: "Rename or describe" }).click();
      expect(await violations(page)).toEqual([]);
      await panel.getByRole("button", { name: "Cancel" }).click();
      await panel.getByRole("button", { name: "Restore Snapshot 1" }).click();
      await page.setViewportSize({ width: 320, height: 640 });
      expect(await violations(page)).toEqual([]);

      await page.keyboard.press("Escape");
      await page.evaluate(() => window.byre.machine?.save("quick"));
      await page.keyboard.press("Control+Alt+KeyR");
      await expect(page.getByRole("alertdialog")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");

      const address = page.url();
      await page.goto(`/#/run?image=${images.url("other.qcow2")}&memory=32`);
      await expect(page.getByRole("button", { name: "Suspend it and go on" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.getByRole("button", { name: "Back to guest" }).click();

      // Not switched off, as far as the next visit can tell.
      await page.evaluate(() => window.byre.machine?.save("autosave"));
      await page.goto("about:blank");
      await page.goto(address);
      await expect(page.getByRole("button", { name: "Go on from there" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });
  });
}

test("everything can be done with the keyboard alone", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.goto("/");

  await tabTo(page, "Start guest");
  await page.keyboard.press("Enter");
  await waitForSerial(page, BANNER);
  // The guest's screen has the keyboard at first; Tab is the guest's, one combination leads out.
  await expect(page.getByText("Keys: screen")).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByText("Keys: screen")).toBeVisible();
  await page.keyboard.press("Control+Alt+KeyG");
  await expect(page.getByText("Keys: this page")).toBeVisible();

  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Pause" })).toBeFocused();
  await page.keyboard.press("Enter");
  await waitForState(page, "paused");
  await page.keyboard.press("Enter");
  await waitForState(page, "running");

  await tabTo(page, /Guest screen/);
  await page.keyboard.press("Control+Alt+KeyG");
  await page.locator(".xterm-helper-textarea").focus();
  await expect(page.getByText("Keys: terminal")).toBeVisible();
  await page.keyboard.type("Etyped");
  await page.keyboard.press("Control+j");
  await expect(page.locator(".xterm-rows")).toContainText("typed");
  await page.keyboard.press("Control+Alt+KeyG");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/#\/$/);
});

test("snapshots can be saved, restored, described and deleted with the keyboard alone", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await page.keyboard.press("Control+Alt+KeyG");
  await tabTo(page, "Pause");
  while (!(await isFocused(page, "Snapshots"))) await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Snapshots" })).toBeFocused();

  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("New snapshot")).toBeFocused();
  await page.keyboard.press("Control+a");
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "typed" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Save", exact: true })).toBeFocused();

  await tabTo(page, "Restore typed");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Restore", exact: true })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "typed: more" })).toBeFocused();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Restore", exact: true })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "typed: more" })).toBeFocused();

  await page.keyboard.press("Enter");
  await tabTo(page, "Rename or describe");
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Name", { exact: true })).toBeFocused();
  await page.keyboard.type("renamed");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "renamed: more" })).toBeFocused();

  await page.keyboard.press("Enter");
  await tabTo(page, "Delete");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Delete", exact: true })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByText("None yet")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "Snapshots", exact: true })).toBeFocused();
});

test("a page that asks something begins at its title, for whoever has it read out", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  const title = page.getByRole("heading", { level: 1 });
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await expect(page.getByRole("button", { name: "Start", exact: true })).toBeVisible();
  await expect(title).toBeFocused();
  await page.getByRole("button", { name: "Start", exact: true }).press("Enter");
  await waitForSerial(page, BANNER);
  await expect(page.getByText("Keys: screen")).toBeVisible();
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&memory=48`);
  await expect(title).toHaveText("guest is on in this tab");
  await expect(title).toBeFocused();
  expect(await title.evaluate((element) => getComputedStyle(element).outlineStyle)).toBe("none");
});

test("on a phone held sideways the keyboard is low enough to leave room for the screen", async ({
  page,
  images,
}) => {
  await page.setViewportSize({ width: 640, height: 320 });
  await openGuest(page, images);
  await page.getByRole("button", { name: "Send keys" }).click();
  await page.getByRole("menuitem", { name: "Show a keyboard" }).click();
  const keyboard = page.getByRole("region", { name: "Keyboard" });
  await expect(keyboard).toBeVisible();
  const height = (element: Element) => element.getBoundingClientRect().height;
  expect(await keyboard.evaluate(height)).toBeLessThanOrEqual(168);
  // Low, and not too low for a finger.
  const key = keyboard.getByRole("button", { name: "a", exact: true });
  expect(await key.evaluate(height)).toBeGreaterThanOrEqual(24);
});

test("the theme is chosen with one button and kept", async ({ page }) => {
  await page.goto("/");
  const button = page.getByRole("button", { name: /^Colours/ });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await button.click();
  const light = await ground();
  await button.click();
  await expect(button).toHaveAccessibleName(/^Colours: dark/);
  const dark = await ground();
  expect(dark).not.toBe(light);
  await page.reload();
  await expect(button).toHaveAccessibleName(/^Colours: dark/);
  expect(await ground()).toBe(dark);
});

for (const width of [320, 768, 1440, 3840]) {
  test(`nothing is wider than a window of ${width}`, async ({ page, images }) => {
    images.files.set("a-machine-with-quite-a-long-name-of-its-own.qcow2", { bytes: await guestImage() });
    await page.setViewportSize({ width, height: 800 });
    await openLink(
      page,
      `#/run?image=${images.url("a-machine-with-quite-a-long-name-of-its-own.qcow2")}&memory=32`,
    );
    await waitForSerial(page, BANNER);
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(await overflow()).toBeLessThanOrEqual(0);
    const long = "a-snapshot-whose-name-is-as-long-as-names-can-be-and-has-no-place-to-break-anywhere";
    await page.evaluate((name) => window.byre.machine?.save(name, { description: name.repeat(4) }), long);
    const panel = await openPanel(page);
    await panel.getByRole("button", { name: /^a-snapshot.*: more$/ }).click();
    expect(await overflow()).toBeLessThanOrEqual(0);
    expect(
      await panel.evaluate((aside) =>
        [...aside.querySelectorAll("*")].filter((each) => each.scrollWidth > aside.clientWidth).map(String),
      ),
    ).toEqual([]);
    await page.getByRole("button", { name: "All machines" }).click();
    await page.getByRole("button", { name: /: more$/ }).click();
    expect(await overflow()).toBeLessThanOrEqual(0);
  });
}

function isFocused(page: Page, name: string): Promise<boolean> {
  return page
    .getByRole("button", { name, exact: true })
    .evaluate((element) => element === document.activeElement);
}

async function tabTo(page: Page, name: string | RegExp): Promise<void> {
  const wanted = page.getByRole("button", { name }).or(page.getByRole("application", { name }));
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press("Tab");
    if (await wanted.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error(`Tab does not lead to ${name}`);
}
