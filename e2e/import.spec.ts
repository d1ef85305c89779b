import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { createMemoryFile, createQcow2 } from "../disk/index.ts";
import { TINY_GUEST_FREE_SECTOR, tinyGuestChecksum, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";
import { violations } from "./accessibility-check.ts";
import { ask, expect, hex, machines, storedFiles, test, waitForSerial } from "./byre-test.ts";
import { holdFiles, letGo } from "./held-files.ts";
import { SECTOR_BYTES, sectorOf } from "./images.ts";

const BANNER = "tiny guest ready";
const MIB = 1024 * 1024;
const IMAGE_MIB = 6;
/** From here on the file gives nothing until it is let. */
const HELD_FROM = 3 * MIB;
const FAR_SECTOR = (5 * MIB) / SECTOR_BYTES;

/** A raw disk that boots the tiny guest and is full of what compresses to nothing less. */
function rawGuest(): Buffer {
  return Buffer.concat([tinyGuestImage(MIB), randomBytes((IMAGE_MIB - 1) * MIB)]);
}

function sectorAt(image: Buffer, sector: number): string {
  return tinyGuestChecksum(image.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES));
}

function waitForCopy(page: Page, state: string, bytes = 0): Promise<unknown> {
  return page.waitForFunction(
    ([wanted, least]) => {
      const progress = window.byre.machine?.copying?.progress;
      return progress?.state === wanted && progress.copiedBytes >= least;
    },
    [state, bytes] as const,
  );
}

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

/** A file on this computer, which is the same whenever it is chosen. */
function onDisk(info: { outputPath: (name: string) => string }, name: string, bytes: Buffer): string {
  const path = info.outputPath(name);
  writeFileSync(path, bytes);
  return path;
}

function choose(page: Page, path: string): Promise<void> {
  return page.locator('input[type="file"]').setInputFiles(path);
}

test("a dropped raw image runs at once from the file, and the copy takes over with no restart", async ({
  page,
}, info) => {
  await holdFiles(page, HELD_FROM);
  const image = rawGuest();
  await page.goto("/");
  await choose(page, onDisk(info, "disk.img", image));
  await waitForSerial(page, BANNER);
  await waitForCopy(page, "copying", HELD_FROM);
  const bar = page.getByRole("region", { name: "Import" });
  await expect(bar).toContainText("Copying disk.img into this browser");
  await expect(bar).toContainText("of 6.0 MiB");
  expect(await violations(page)).toEqual([]);
  expect(await ask(page, `W${hex(TINY_GUEST_FREE_SECTOR)}66`)).toMatch(/^=/);

  // The write needs what is around it, which is still in the file alone.
  const written = ask(page, `W${hex(FAR_SECTOR)}77`);
  await letGo(page);
  expect(await written).toMatch(/^=/);
  await waitForCopy(page, "copied");
  await expect(bar).toBeHidden();
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x77))}`);
  expect(await ask(page, `r${hex(FAR_SECTOR + 1)}`)).toBe(`=${sectorAt(image, FAR_SECTOR + 1)}`);
  expect(await machines(page)).toMatchObject([{ name: "disk", base: { name: "disk.img" } }]);
  await ask(page, "F");

  // The file is not needed any more.
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x77))}`);
  expect(await ask(page, `r${hex(FAR_SECTOR + 1)}`)).toBe(`=${sectorAt(image, FAR_SECTOR + 1)}`);
  expect(await page.evaluate(() => window.byre.machine?.copying)).toBeUndefined();
});

test("a page that is closed in the middle asks for the very file again and goes on copying", async ({
  page,
}, info) => {
  await holdFiles(page, HELD_FROM);
  const image = rawGuest();
  const path = onDisk(info, "disk.img", image);
  await page.goto("/");
  await choose(page, path);
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(TINY_GUEST_FREE_SECTOR)}42`);
  await ask(page, "F");
  await waitForCopy(page, "copying", HELD_FROM);

  await page.reload();
  const main = page.getByRole("main");
  await expect(main.getByRole("heading", { level: 1 })).toHaveText("disk needs disk.img again");
  await expect(main).toContainText("3.0 MiB of its 6.0 MiB were copied");
  expect(await violations(page)).toEqual([]);
  await button(page, "All machines").click();
  const refused = await page.evaluate(async () => {
    const [machine] = await window.byre.machines();
    return window.byre.open(`#/machine/${machine?.id}`, { unattended: true }).then(
      () => "opened",
      (error: { code: string }) => error.code,
    );
  });
  expect(refused).toBe("IMPORT_UNFINISHED");

  await page.goto("/");
  await expect(page.getByText("needs your file, which is not wholly copied")).toBeVisible();
  await button(page, "Start disk").click();
  await choose(page, onDisk(info, "other.img", image.subarray(0, MIB)));
  await expect(page.getByRole("alert")).toContainText("Choose that file.");
  await expect(page.getByRole("alert")).toContainText("FILE_CHANGED");
  await choose(page, path);
  await waitForSerial(page, BANNER);
  expect(await ask(page, `r${hex(TINY_GUEST_FREE_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x42))}`);
  expect(await page.evaluate(() => window.byre.machine?.copying?.progress.copiedBytes)).toBe(HELD_FROM);
  await letGo(page);
  await waitForCopy(page, "copied");
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${sectorAt(image, FAR_SECTOR)}`);
});

test("a paused import stays paused; one that is cancelled leaves the machine on the file", async ({
  page,
}, info) => {
  await holdFiles(page, HELD_FROM);
  const image = rawGuest();
  const path = onDisk(info, "disk.img", image);
  await page.goto("/");
  await choose(page, path);
  await waitForSerial(page, BANNER);
  await button(page, "Pause copying").click();
  await letGo(page);
  await waitForCopy(page, "paused");
  await expect(page.getByText("Copying disk.img is paused")).toBeVisible();

  await page.reload();
  await choose(page, path);
  await waitForSerial(page, BANNER);
  await expect(page.getByText("Copying disk.img is paused")).toBeVisible();
  await button(page, "Go on copying").click();
  await waitForCopy(page, "copying", HELD_FROM);
  await button(page, "Cancel copying").click();
  await button(page, "Stop copying").click();
  await letGo(page);
  await expect(page.getByText("disk.img is not copied into this browser.")).toBeVisible();
  expect(await ask(page, `W${hex(FAR_SECTOR)}55`)).toMatch(/^=/);
  expect(await ask(page, `r${hex(FAR_SECTOR + 1)}`)).toBe(`=${sectorAt(image, FAR_SECTOR + 1)}`);
  await ask(page, "F");
  // The overlay alone.
  expect(await storedFiles(page)).toBe(1);

  await page.reload();
  await expect(page.getByRole("main")).toContainText("Its 6.0 MiB are not in this browser.");
  await choose(page, path);
  await waitForSerial(page, BANNER);
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x55))}`);
  await expect(page.getByText("Copying disk.img is paused")).toBeVisible();
});

test("a half-imported machine is deleted with all there is of it", async ({ page }, info) => {
  await holdFiles(page, HELD_FROM);
  await page.goto("/");
  await choose(page, onDisk(info, "disk.img", rawGuest()));
  await waitForSerial(page, BANNER);
  await waitForCopy(page, "copying", HELD_FROM);
  await page.reload();
  await button(page, "All machines").click();
  await button(page, "disk: more").click();
  await button(page, "Delete").click();
  await button(page, "Delete").click();
  await expect(page.getByText("None yet")).toBeVisible();
  expect(await storedFiles(page)).toBe(0);
});

test("an overlay and its backing file, half copied, are given again together", async ({ page }, info) => {
  await holdFiles(page, HELD_FROM);
  const base = onDisk(info, "base.img", rawGuest());
  const top = createMemoryFile({ name: "top.qcow2" });
  const backing = { name: "base.img", format: "raw" };
  await createQcow2(top, { sizeBytes: IMAGE_MIB * MIB, backing });
  // As far from its start as the files are held.
  top.truncate(HELD_FROM + MIB);
  const overlay = onDisk(info, "top.qcow2", Buffer.from(top.toBytes()));
  await page.goto("/");
  await page.locator('input[type="file"]').setInputFiles([base, overlay]);
  await waitForSerial(page, BANNER);
  await waitForCopy(page, "copying", HELD_FROM);
  await page.reload();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("top needs top.qcow2 again");
  await page.locator('input[type="file"]').setInputFiles([base, overlay]);
  await waitForSerial(page, BANNER);
  await letGo(page);
  await waitForCopy(page, "copied");
  expect(await page.evaluate(() => window.byre.machine?.copying?.fileNames)).toEqual([
    "top.qcow2",
    "base.img",
  ]);
  await page.reload();
  await waitForSerial(page, BANNER);
});

/** Drops what is on this computer on the page, as a person does: the browser makes the event. */
async function dropFromDisk(page: Page, paths: string[]): Promise<void> {
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  const devtools = await page.context().newCDPSession(page);
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    const data = { items: [], files: paths, dragOperationsMask: 1 };
    await devtools.send("Input.dispatchDragEvent", { type, x: 300, y: 200, data });
  }
}

test("a file that is really dropped is read again after a reload, and the copying goes on", async ({
  page,
}, info) => {
  await holdFiles(page, HELD_FROM);
  const image = rawGuest();
  await page.goto("/");
  await dropFromDisk(page, [onDisk(info, "disk.img", image)]);
  await waitForSerial(page, BANNER);
  await waitForCopy(page, "copying", HELD_FROM);
  // Chromium keeps its permission for as long as there is a tab of the site.
  await page.reload();
  await waitForSerial(page, BANNER);
  await letGo(page);
  await waitForCopy(page, "copied");
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${sectorAt(image, FAR_SECTOR)}`);
});

test("a dropped folder becomes a CD with its folders", async ({ page }, info) => {
  mkdirSync(info.outputPath("letters/old"), { recursive: true });
  onDisk(info, "letters/new.txt", Buffer.from("new"));
  onDisk(info, "letters/old/first.txt", Buffer.from("first"));
  await page.goto("/");
  await dropFromDisk(page, [info.outputPath("letters")]);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("2 files");
  await expect(page.getByText("letters/new.txt")).toBeVisible();
  await expect(page.getByText("letters/old/first.txt")).toBeVisible();
});

/** The dialog to choose files, answered with one in the browser's own storage; the rest of it is real. */
async function withPicker(page: Page, permission: PermissionState): Promise<void> {
  await page.addInitScript((answer) => {
    const showOpenFilePicker = async () => {
      const folder = await navigator.storage.getDirectory();
      return [await folder.getFileHandle("disk.img")];
    };
    Object.assign(window, { showOpenFilePicker });
    Object.assign(FileSystemHandle.prototype, {
      queryPermission: async () => answer,
      requestPermission: async () => "granted",
    });
  }, permission);
}

for (const permission of ["granted", "prompt"] as const) {
  test(`where the browser keeps file handles a closed page goes on copying (permission: ${permission})`, async ({
    page,
  }) => {
    await withPicker(page, permission);
    await holdFiles(page, HELD_FROM);
    const image = rawGuest();
    await page.goto("/");
    await page.evaluate(async (base64) => {
      const folder = await navigator.storage.getDirectory();
      const writing = await (await folder.getFileHandle("disk.img", { create: true })).createWritable();
      await writing.write(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
      await writing.close();
    }, image.toString("base64"));
    await button(page, "Open image file").click();
    await waitForSerial(page, BANNER);
    await waitForCopy(page, "copying", HELD_FROM);

    await page.reload();
    if (permission === "prompt") await button(page, "Read disk.img again").click();
    await waitForSerial(page, BANNER);
    await letGo(page);
    await waitForCopy(page, "copied");
    await page.reload();
    await waitForSerial(page, BANNER);
    expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${sectorAt(image, FAR_SECTOR)}`);
  });
}
