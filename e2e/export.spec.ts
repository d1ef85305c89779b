import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { Locator, Page, TestInfo } from "@playwright/test";
import { createMemoryFile, metadataOf, openQcow2 } from "../disk/index.ts";
import { violations } from "./accessibility-check.ts";
import { applianceImage } from "./appliance-images.ts";
import { ask, expect, hex, openLink, test, waitForSerial, waitForState } from "./byre-test.ts";
import type { ImageServer } from "./image-server.ts";
import { guestImage, SECTOR_BYTES } from "./images.ts";
import { BANNER, fromMenu } from "./panel-steps.ts";

const MIB = 1024 * 1024;
const SECTOR = 5000;
const BYTE = 0xab;
const GUEST = { sizeBytes: 16 * MIB, fill: 7, fillBytes: 6 * MIB };

function guest() {
  return applianceImage({ "appliance.name": "Little guest", "machine.memory": "32" }, GUEST);
}

/** What is on the disk once the guest has written its one sector. */
async function diskAsWritten(): Promise<Buffer> {
  const device = await openQcow2(createMemoryFile({ content: new Uint8Array(await guest()) }), {
    writable: false,
  });
  const bytes = Buffer.alloc(device.sizeBytes);
  await device.read(0, bytes);
  bytes.fill(BYTE, SECTOR * SECTOR_BYTES, (SECTOR + 1) * SECTOR_BYTES);
  return bytes;
}

/** Looks at an exported file as QEMU does, and at what it says of itself. */
async function expectWholeDisk(exported: Buffer, info: TestInfo) {
  const device = await openQcow2(createMemoryFile({ content: new Uint8Array(exported) }), {
    writable: false,
  });
  expect(Object.fromEntries(metadataOf(device.header, "exported"))).toMatchObject({
    "appliance.name": "Little guest",
    "machine.memory": "32",
  });
  expect(device.header.backingName).toBeUndefined();
  const wanted = await diskAsWritten();
  const bytes = Buffer.alloc(device.sizeBytes);
  await device.read(0, bytes);
  expect(bytes.equals(wanted)).toBe(true);
  if (!hasQemu()) {
    // On a developer's machine the driver's own word is enough.
    expect(process.env.CI).not.toBe("true");
    return;
  }
  writeFileSync(info.outputPath("exported.qcow2"), exported);
  writeFileSync(info.outputPath("wanted.raw"), wanted);
  const options = { cwd: info.outputDir, encoding: "utf8" } as const;
  expect(execFileSync("qemu-img", ["check", "exported.qcow2"], options)).toContain("No errors");
  const compared = ["compare", "-f", "qcow2", "-F", "raw", "exported.qcow2", "wanted.raw"];
  expect(execFileSync("qemu-img", compared, options)).toContain("Images are identical");
}

async function startGuest(page: Page, url: string): Promise<void> {
  await openLink(page, `#/run?image=${url}`);
  await waitForSerial(page, BANNER);
  expect(await ask(page, `W${hex(SECTOR)}${hex(BYTE, 2)}`)).toMatch(/^=/);
}

/** The browser has no dialog to choose a file: what is exported becomes a download. */
async function withoutDialog(page: Page): Promise<void> {
  await page.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined }));
}

/** The dialog to choose a file, answered with one of the browser's own; the rest of it is real. */
async function withDialog(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const showSaveFilePicker = async ({ suggestedName }: { suggestedName: string }) => {
      const folder = await navigator.storage.getDirectory();
      return folder.getFileHandle(suggestedName, { create: true });
    };
    Object.assign(window, { showSaveFilePicker });
  });
}

async function chosenFile(page: Page, name: string): Promise<Buffer> {
  const base64 = await page.evaluate(async (fileName) => {
    const folder = await navigator.storage.getDirectory();
    const file = await (await folder.getFileHandle(fileName)).getFile();
    return new Promise<string>((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(file);
    });
  }, name);
  return Buffer.from(base64, "base64");
}

async function downloaded(page: Page, form: Locator, fileName: string): Promise<Buffer> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    form.getByRole("button", { name: "Export", exact: true }).click(),
  ]);
  expect(download.suggestedFilename()).toBe(fileName);
  const pieces: Buffer[] = [];
  for await (const piece of await download.createReadStream()) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

async function openExport(page: Page): Promise<Locator> {
  await fromMenu(page, "Export");
  const panel = page.getByRole("complementary", { name: "Export" });
  await expect(panel.getByRole("heading", { name: "Export" })).toBeFocused();
  return panel;
}

test("a running machine's whole disk becomes one small file, as the guest wrote it", async ({
  page,
  images,
}, info) => {
  await withoutDialog(page);
  images.files.set("guest.qcow2", { bytes: await guest() });
  await startGuest(page, images.url("guest.qcow2"));
  await page.evaluate(() => window.byre.machine?.save("then"));
  const panel = await openExport(page);
  const packed = await downloaded(page, panel, "Little guest.qcow2");
  await expect(panel.getByText("Little guest.qcow2 is written.")).toBeVisible();
  await waitForState(page, "running");
  await expectWholeDisk(packed, info);
  const device = await openQcow2(createMemoryFile({ content: new Uint8Array(packed) }), { writable: false });
  expect(device.snapshots.map(({ name, vmStateBytes }) => [name, vmStateBytes > 0])).toEqual([
    ["then", true],
  ]);

  await panel.getByLabel("Make it small").uncheck();
  await panel.getByLabel("With its snapshots").uncheck();
  const plain = await downloaded(page, panel, "Little guest.qcow2");
  await expectWholeDisk(plain, info);
  expect(plain.length).toBeGreaterThan(GUEST.fillBytes);

  await panel.getByLabel("Only what was changed").check();
  const overlay = await downloaded(page, panel, "Little guest-overlay.qcow2");
  expect(overlay.length).toBeLessThan(MIB);
  expect(await ask(page, `R${hex(SECTOR)}`)).toMatch(/^=/);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "More", exact: true })).toBeFocused();
});

test("a machine that is not open is written straight into the chosen file", async ({
  page,
  images,
}, info) => {
  await withDialog(page);
  images.files.set("guest.qcow2", { bytes: await guest() });
  await startGuest(page, images.url("guest.qcow2"));
  await page.evaluate(() => window.byre.machine?.close());
  await page.goto("/");
  await page.reload();
  await page.getByRole("button", { name: "Little guest: more" }).click();
  await page.getByRole("button", { name: "Export", exact: true }).click();
  await page.getByRole("button", { name: "Export", exact: true }).click();
  await expect(page.getByText("Little guest.qcow2 is written.")).toBeVisible();
  await expectWholeDisk(await chosenFile(page, "Little guest.qcow2"), info);
});

test("an export can be called off, and the machine runs on", async ({ page, images }) => {
  // A file that takes nothing until the export was called off.
  await page.addInitScript(() => {
    const showSaveFilePicker = async () => ({
      createWritable: async () =>
        new WritableStream({
          write: () => new Promise<void>((resolve) => Object.assign(window, { takeIt: resolve })),
          abort: () => {
            document.title = "aborted";
          },
        }),
    });
    Object.assign(window, { showSaveFilePicker });
  });
  images.files.set("guest.qcow2", { bytes: await guest() });
  await startGuest(page, images.url("guest.qcow2"));
  const panel = await openExport(page);
  await panel.getByLabel("Make it small").uncheck();
  await panel.getByRole("button", { name: "Export", exact: true }).click();
  await page.waitForFunction(() => "takeIt" in window);
  await waitForState(page, "paused");
  await expect(page.getByText("Exporting Little guest")).toBeVisible();
  await expect(page.getByRole("button", { name: "Resume" })).toBeDisabled();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.evaluate(() => (window as unknown as { takeIt: () => void }).takeIt());
  await expect(page).toHaveTitle("aborted");
  await waitForState(page, "running");
  await expect(panel.getByRole("button", { name: "Export", exact: true })).toBeEnabled();
  expect(await ask(page, `R${hex(SECTOR)}`)).toMatch(/^=/);
});

test("an export of a machine that is off goes on when its page is left, and lets go of the machine after it", async ({
  page,
  images,
}) => {
  await exportSwitchedOff(page, images);
  await page.getByRole("button", { name: "All machines" }).first().click();
  await expect(page.getByText("switched off")).toBeVisible();
  expect(await takeFile(page)).toBe(true);
  await expect(page.getByRole("button", { name: "Start Little guest" })).toBeVisible();
  expect(await page.evaluate(() => window.byre.machine)).toBeUndefined();
});

test("another machine waits for the export of one that is off", async ({ page, images }) => {
  await exportSwitchedOff(page, images);
  images.files.set("other.qcow2", { bytes: await guestImage() });
  await page.evaluate((hash) => location.assign(hash), `#/run?image=${images.url("other.qcow2")}&memory=32`);
  await expect(page.getByRole("heading", { name: "Little guest is not done yet" })).toBeVisible();
  expect(await violations(page)).toEqual([]);
  expect(await takeFile(page)).toBe(true);
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "other");
});

/** Begins to export a machine that is off, to a file that takes nothing until `takeFile`. */
async function exportSwitchedOff(page: Page, images: ImageServer): Promise<void> {
  await holdFile(page);
  images.files.set("guest.qcow2", { bytes: await guest() });
  await startGuest(page, images.url("guest.qcow2"));
  await page.evaluate(() => window.byre.machine?.powerOff());
  const panel = await openExport(page);
  // Many pieces: an export that was called off does not come to its end.
  await panel.getByLabel("Make it small").uncheck();
  await panel.getByRole("button", { name: "Export", exact: true }).click();
  await expect(page.getByText("Exporting Little guest")).toBeVisible();
}

/** Lets exports choose a file that takes nothing until `takeFile`. */
async function holdFile(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const taken = new Promise<void>((resolve) => Object.assign(window, { takeIt: resolve }));
    const end = (written: boolean) => void Object.assign(window, { written });
    const showSaveFilePicker = async () => ({
      createWritable: async () =>
        new WritableStream({ write: () => taken, close: () => end(true), abort: () => end(false) }),
    });
    Object.assign(window, { showSaveFilePicker });
  });
}

/** Has the file take what is exported. Gives whether all of it came. */
async function takeFile(page: Page): Promise<boolean> {
  await page.evaluate(() => (window as unknown as { takeIt: () => void }).takeIt());
  await page.waitForFunction(() => "written" in window);
  return page.evaluate(() => (window as unknown as { written: boolean }).written);
}

test("an export ends with FILE_CHANGED when the guest is let run meanwhile", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guest() });
  await startGuest(page, images.url("guest.qcow2"));
  const code = await page.evaluate(async () => {
    const { machine } = window.byre;
    const target = new WritableStream({ write: () => machine?.resume() });
    return machine?.exportDiskTo(target, { flatten: true }).catch((error: { code: string }) => error.code);
  });
  expect(code).toBe("FILE_CHANGED");
  const refused = await page.evaluate(() =>
    window.byre.machine?.exportDisk({ compress: true }).catch((error: { code: string }) => error.code),
  );
  expect(refused).toBe("INVALID_ARGUMENT");
  await waitForState(page, "running");
});

function hasQemu(): boolean {
  try {
    execFileSync("qemu-img", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
