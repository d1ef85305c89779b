import { randomBytes } from "node:crypto";
import type { Page } from "@playwright/test";
import { tinyGuestImage } from "../emulator/testing/tiny-guest.ts";
import { violations } from "./accessibility-check.ts";
import { ask, expect, hex, machines, openLink, pick, storedFiles, test, waitForSerial } from "./byre-test.ts";
import { guestImage } from "./images.ts";

const BANNER = "tiny guest ready";
const MIB = 1024 * 1024;

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

function row(page: Page, name: string) {
  return page.getByRole("listitem").filter({ has: page.getByRole("heading", { name, exact: true }) });
}

/** A file in the block store that no machine names, as a page leaves it that was closed too early. */
async function leaveFile(page: Page): Promise<void> {
  await page.evaluate(
    () =>
      new Promise<void>((resolve, reject) => {
        const opening = indexedDB.open("byre-blocks");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const transaction = opening.result.transaction(["files", "blocks"], "readwrite");
          const record = { fileId: "lost", name: "lost.qcow2", sizeBytes: 65536, blockBytes: 32768 };
          transaction.objectStore("files").put({ ...record, generation: 1, writer: "", trims: [] });
          transaction.objectStore("blocks").put(new Uint8Array(32768), ["lost", 0]);
          transaction.oncomplete = () => {
            opening.result.close();
            resolve();
          };
          transaction.onabort = () => reject(transaction.error);
        };
      }),
  );
}

/** A file whose first MiB can be read, and no more. */
async function breakFiles(page: Page): Promise<void> {
  await page.addInitScript((readable) => {
    const { slice } = Blob.prototype;
    File.prototype.slice = function (start = 0, end, type) {
      const part = slice.call(this, start, end, type);
      if (start >= readable) part.arrayBuffer = () => Promise.reject(new DOMException("gone", "AbortError"));
      return part;
    };
  }, MIB);
}

test("the storage page shows what each machine takes, and deletes it", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  for (let cluster = 0; cluster < 8; cluster++)
    await ask(page, `W${hex(2048 + cluster * 128)}${hex(0x10 + cluster, 2)}`);
  await ask(page, "F");
  await page.evaluate(() => window.byre.machine?.powerOff());
  await button(page, "All machines").click();
  await pick(page, { "own.img": Buffer.concat([tinyGuestImage(MIB), randomBytes(2 * MIB)]) });
  await waitForSerial(page, BANNER);
  await page.waitForFunction(() => window.byre.machine?.copying?.progress.state === "copied");
  await page.evaluate(() => window.byre.machine?.powerOff());

  await button(page, "All machines").click();
  await button(page, "See what takes it").click();
  await expect(page.getByRole("heading", { level: 1, name: "Storage" })).toBeVisible();
  await expect(row(page, "own")).toContainText("Copy of own.img");
  await expect(row(page, "own")).toContainText("2.0 MiB");
  await expect(row(page, "guest")).toContainText("What it wrote, and its snapshots");
  // The largest first.
  await expect(page.getByRole("heading", { level: 3 })).toHaveText(["own", "guest"]);
  expect(await violations(page)).toEqual([]);

  await button(page, "Delete own").click();
  await expect(
    page.getByText("The machine, everything written on it and its snapshots are gone then."),
  ).toBeVisible();
  await button(page, "Keep").click();
  await expect(row(page, "own")).toBeVisible();
  await expect(button(page, "Delete own")).toBeFocused();
  await button(page, "Delete own").click();
  await button(page, "Delete").click();
  await expect(row(page, "own")).toBeHidden();
  await expect(page.getByRole("heading", { name: "Machines" })).toBeFocused();
  expect(await machines(page)).toMatchObject([{ name: "guest" }]);
  expect(await storedFiles(page)).toBe(1);
});

test("what is left over is found and deleted", async ({ page }) => {
  await page.goto("/#/storage");
  await expect(page.getByText("No machine is kept here.")).toBeVisible();
  await leaveFile(page);
  await page.reload();
  await expect(page.getByText("1 file of 32 KiB that no machine needs")).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await button(page, "Delete what is left over").click();
  await expect(page.getByRole("heading", { name: "Left over" })).toBeHidden();
  await expect(page.getByRole("heading", { name: "Machines" })).toBeFocused();
  expect(await storedFiles(page)).toBe(0);
});

test("the copy of an unfinished import is deleted, and the machine stays", async ({ page }) => {
  await breakFiles(page);
  await page.goto("/");
  await pick(page, { "own.img": Buffer.concat([tinyGuestImage(MIB), randomBytes(2 * MIB)]) });
  await waitForSerial(page, BANNER);
  await expect(page.getByText("own.img could not be copied into this browser")).toBeVisible();
  await page.evaluate(() => window.byre.machine?.powerOff());
  await button(page, "All machines").click();
  await page.goto("/#/storage");
  await expect(row(page, "own")).toContainText("1.0 MiB of 3.0 MiB so far");
  await button(page, "Delete the copy").click();
  await button(page, "Delete").click();
  await expect(row(page, "own")).not.toContainText("so far");
  await expect(button(page, "Delete own")).toBeFocused();
  expect(await machines(page)).toMatchObject([{ name: "own" }]);
  await button(page, "All machines").click();
  await button(page, "Start own").click();
  await waitForSerial(page, BANNER);
  await expect(page.getByText("Copying own.img is paused")).toBeVisible();
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("the storage page fits 320 pixels and has no axe violations", async ({ page }) => {
      await page.setViewportSize({ width: 320, height: 640 });
      await page.goto("/");
      await pick(page, {
        "a-name-that-is-long-and-has-no-place-to-break-it-anywhere.img": Buffer.from(tinyGuestImage(MIB)),
      });
      await waitForSerial(page, BANNER);
      await page.goto("/#/storage");
      await expect(page.getByRole("heading", { level: 3 })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    });
  });
}
