import { randomBytes } from "node:crypto";
import type { Page } from "@playwright/test";
import { createMemoryFile, openQcow2 } from "../disk/index.ts";
import { violations } from "./accessibility-check.ts";
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
  waitForState,
} from "./byre-test.ts";
import { holdFiles, letGo } from "./held-files.ts";
import { BANNER, checksum, openGuest, openPanel, readSector, writeSector } from "./panel-steps.ts";
import { BYTE_NOW, BYTE_THEN, SAVED_WORDS, savedGuestImage, withHeader } from "./saved-images.ts";

/** Makes a machine of the base's snapshot, and opens it. */
async function openFromBase(page: Page, snapshot: string): Promise<void> {
  const id = await page.evaluate((name) => window.byre.machine?.base?.startFromSnapshot(name), snapshot);
  await openLink(page, `#/machine/${id}`);
}

async function baseSection(page: Page) {
  const panel = await openPanel(page);
  return panel.getByRole("region", { name: "In the image it was made of" });
}

/** The file that the overlay of the open machine names. */
async function backingName(page: Page): Promise<string | undefined> {
  const file = createMemoryFile({ content: await exportedDisk(page) });
  return (await openQcow2(file, { writable: false, backing: "none" })).header.backingName;
}

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`a machine of an exported file, ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("lists the snapshots in that, and another machine goes on from one", async ({ page, images }) => {
      await openGuest(page, images);
      await writeSector(page, 0x5a);
      await ask(page, `E${SAVED_WORDS}\n`);
      await page.evaluate(() => window.byre.machine?.save("before", { description: "With 5A in it." }));
      await writeSector(page, 0xa5);
      const exported = Buffer.from(await exportedDisk(page, { flatten: true }));
      await page.evaluate(() => window.byre.machine?.powerOff());
      await page.goto("/#/");
      await pick(page, { "mine.qcow2": exported });
      await page.waitForFunction(() => window.byre.machine?.name === "mine");
      await waitForSerial(page, BANNER);
      expect(await readSector(page)).toBe(checksum(0xa5));
      expect(await page.evaluate(() => window.byre.machine?.snapshots())).toEqual([]);
      const before = await storedFiles(page);

      const section = await baseSection(page);
      await expect(page.getByText("None of its own yet")).toBeVisible();
      const item = section.getByRole("listitem");
      await expect(item.getByRole("heading")).toHaveText("before");
      await expect(item).toContainText("disk and memory");
      await expect(item).toContainText("With 5A in it.");
      await expect(item).not.toContainText("this machine was started here");
      await expect(item.locator("img")).toBeVisible();
      const action = item.getByRole("button", { name: "New machine from here: before" });
      await action.press("Enter");
      await expect(item.getByText("A new machine stands at this moment")).toBeVisible();
      await expect(action).toBeFocused();
      expect(await violations(page)).toEqual([]);
      await page.setViewportSize({ width: 320, height: 640 });
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
      await page.setViewportSize({ width: 1440, height: 900 });
      // None of them goes along in another file.
      const left = "The snapshots that mine.qcow2 came with will not be in the file.";
      await expect(page.getByText(left)).toBeVisible();
      await page.getByLabel("Only what was changed").check();
      await expect(page.getByText(left)).toBeHidden();
      // An overlay: the base is the same.
      expect(await storedFiles(page)).toBe(before + 1);

      await item.getByRole("button", { name: "Go to it" }).click();
      await page.getByRole("button", { name: "Suspend it and go on" }).click();
      await page.waitForFunction(() => window.byre.machine?.name === "mine before");
      await waitForState(page, "running");
      const text = await page.evaluate(() => window.byre.machine?.serial.text() ?? "");
      expect(text.split(BANNER)).toHaveLength(2);
      expect(text).toContain(SAVED_WORDS);
      expect(await readSector(page)).toBe(checksum(0x5a));
      await expect(await baseSection(page)).toContainText("this machine was started here");

      // The base stays for it when the first machine is gone.
      const first = (await machines(page)).find(({ name }) => name === "mine");
      await page.evaluate(() => window.byre.machine?.suspend());
      await page.goto("/#/");
      await page.getByRole("button", { name: "mine: more" }).click();
      await page.getByRole("button", { name: "Export" }).click();
      await expect(page.getByText(left)).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.getByRole("button", { name: "Not now" }).click();
      await page.getByRole("button", { name: "mine: more" }).click();
      await page.getByRole("button", { name: "Delete" }).click();
      await page.getByRole("button", { name: "Delete", exact: true }).last().click();
      await expect.poll(() => storedFiles(page)).toBe(before);
      expect((await machines(page)).map(({ id }) => id)).not.toContain(first?.id);
      await page.getByRole("button", { name: "Resume mine before" }).click();
      await waitForState(page, "running");
      expect(await readSector(page)).toBe(checksum(0x5a));
    });
  });
}

test("a machine over a snapshot makes others over it, named so that they never meet the base as it is", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await savedGuestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}`);
  await waitForSerial(page, BANNER);
  expect(await readSector(page)).toBe(checksum(BYTE_NOW));
  expect(await page.evaluate(() => window.byre.machine?.base?.startedFrom)).toBeUndefined();
  expect(await backingName(page)).toBe("guest.qcow2");
  for (let generation = 0; generation < 2; generation++) {
    await openFromBase(page, "ready");
    expect(await page.evaluate(() => window.byre.machine?.serial.text())).toContain(SAVED_WORDS);
    expect(await readSector(page)).toBe(checksum(BYTE_THEN));
    expect(await page.evaluate(() => window.byre.machine?.base?.startedFrom)).toBe("1");
    expect(await backingName(page)).toBe("guest@1.qcow2");
    await writeSector(page, 0x77);
  }
  expect((await machines(page)).map(({ name }) => name).sort()).toEqual([
    "guest",
    "guest ready",
    "guest ready ready",
  ]);
  const refusal = await page.evaluate(() =>
    window.byre.machine?.base?.startFromSnapshot("steady").catch(({ code }: { code: string }) => code),
  );
  expect(refusal).toBe("SNAPSHOT_NOT_FOUND");
});

test("a machine is made of a file that is not copied wholly yet, and leaves that as it is", async ({
  page,
}) => {
  const image = await savedGuestImage();
  await holdFiles(page, image.length);
  await page.goto("/");
  // Nothing of the image is in these, and the copying waits for them.
  await pick(page, { "guest.qcow2": Buffer.concat([image, randomBytes(4 * 1024 * 1024)]) });
  await waitForSerial(page, BANNER);
  await page.evaluate(() => window.byre.machine?.copying?.pause());
  await letGo(page);
  await page.waitForFunction(() => window.byre.machine?.copying?.progress.state === "paused");
  const section = await baseSection(page);
  await section.getByRole("button", { name: "New machine from here: ready" }).click();
  await section.getByRole("button", { name: "Go to it" }).click();
  await page.getByRole("button", { name: "Suspend it and go on" }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "guest ready");
  expect(await readSector(page)).toBe(checksum(BYTE_THEN));
  expect(await page.evaluate(() => window.byre.machine?.copying?.progress.state)).toBe("paused");
  await page.evaluate(() => window.byre.machine?.copying?.resume());
  await page.waitForFunction(() => window.byre.machine?.copying?.progress.state === "copied");
});

test("a saved machine that cannot be loaded gives one that boots its disk", async ({ page, images }) => {
  const damaged = await withHeader(await savedGuestImage(), (header) => header.fill(0x5a, 0, 8));
  images.files.set("guest.qcow2", { bytes: damaged });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}`);
  const section = await baseSection(page);
  await expect(section).toContainText("STATE_INVALID");
  await section.getByRole("button", { name: "New machine from its disk: ready" }).click();
  await section.getByRole("button", { name: "Go to it" }).click();
  await page.getByRole("button", { name: "Suspend it and go on" }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "guest ready");
  await waitForSerial(page, BANNER);
  expect(await readSector(page)).toBe(checksum(BYTE_THEN));
});

test("a machine that is thrown away lists them, and says why it makes none", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await savedGuestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&ephemeral=1`);
  const section = await baseSection(page);
  await expect(section.getByRole("heading", { name: "ready" })).toBeVisible();
  await expect(section).toContainText("This machine is thrown away when you leave");
  await expect(section.getByRole("button")).toHaveCount(0);
});
