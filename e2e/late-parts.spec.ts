import type { Page } from "@playwright/test";
import { violations } from "./accessibility-check.ts";
import { expect, test, waitForSerial, waitForState } from "./byre-test.ts";
import { guestImage } from "./images.ts";
import { BANNER, openGuest } from "./panel-steps.ts";

/** Answers for a part of the page as a server does that has none of this name any more. */
async function lose(page: Page, part: string): Promise<void> {
  await page.route(`**/assets/${part}-*.js`, (route) => route.fulfill({ status: 404 }));
}

const notice = (page: Page) => page.getByRole("alert").filter({ hasText: "could not be fetched" });

async function tryAgain(page: Page): Promise<void> {
  await page.unrouteAll();
  await notice(page).getByRole("button", { name: "Try again" }).click();
  await expect(notice(page)).toHaveCount(0);
}

test("a panel that cannot be fetched says so in its place, and the machine goes on", async ({
  page,
  images,
}) => {
  await lose(page, "drives-panel");
  await openGuest(page, images);
  await page.getByRole("button", { name: "Drives", exact: true }).click();
  const panel = page.getByRole("complementary", { name: "Drives" });
  await expect(panel).toContainText("could not be fetched");
  expect(await violations(page)).toEqual([]);
  await waitForState(page, "running");
  await panel.getByRole("button", { name: "Close Drives" }).click();
  await expect(panel).toHaveCount(0);
  await page.getByRole("button", { name: "Drives", exact: true }).click();
  await tryAgain(page);
  await expect(panel).toContainText("No CD is in the drive.");
});

test("a page that cannot be fetched says so, with the way back, and starts what was asked for in the end", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await lose(page, "machine-page");
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await expect(notice(page)).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await page.getByRole("link", { name: "Byre: all machines" }).click();
  await expect(page.getByRole("heading", { name: "Machines" })).toBeVisible();
  await page.goBack();
  await tryAgain(page);
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await waitForSerial(page, BANNER);
});
