import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Locator, Page } from "@playwright/test";
import { createIso } from "../disk/index.ts";
import { violations } from "./accessibility-check.ts";
import { ask, expect, machines, openLink, test, waitForSerial } from "./byre-test.ts";
import { fromMenu, openGuest } from "./panel-steps.ts";

const FLOPPY_BYTES = 1440 * 1024;

function media(page: Page) {
  return page.evaluate(() => {
    const { cdrom, floppy } = window.byre.machine?.media ?? {};
    return { cdrom: cdrom?.name, floppy: floppy?.name };
  });
}

/** A CD image with one file. */
async function cdImage(): Promise<Buffer> {
  const iso = createIso([{ path: "hello.txt", content: new TextEncoder().encode("hello\n"), mtimeMs: 0 }]);
  const bytes = Buffer.alloc(iso.sizeBytes);
  await iso.read(0, bytes);
  return bytes;
}

async function choose(place: Locator, files: Record<string, Buffer>): Promise<void> {
  const payloads = Object.entries(files).map(([name, buffer]) => ({ name, buffer, mimeType: "" }));
  await place.locator('input[type="file"]').setInputFiles(payloads);
}

/** Drops files on the page, as a person would. */
async function drop(page: Page, files: Record<string, Buffer>): Promise<void> {
  const contents = Object.entries(files).map(([name, bytes]) => [name, bytes.toString("base64")] as const);
  await page.evaluate((all) => {
    const transfer = new DataTransfer();
    for (const [name, base64] of all) {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      transfer.items.add(new File([bytes], name));
    }
    window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, contents);
}

async function openDrives(page: Page): Promise<Locator> {
  await page.getByRole("button", { name: "Drives", exact: true }).click();
  const panel = page.getByRole("complementary", { name: "Drives" });
  await expect(panel.getByRole("heading", { name: "Drives" })).toBeFocused();
  return panel;
}

test("a CD and a floppy disk are put into a running machine and taken out of it", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  const panel = await openDrives(page);
  const cd = panel.getByRole("region", { name: "CD" });
  const floppy = panel.getByRole("region", { name: "Floppy disk" });
  await expect(cd.getByText("No CD is in the drive.")).toBeVisible();
  await choose(cd, { "tools.iso": await cdImage() });
  await expect(cd.getByText("tools.iso")).toBeVisible();
  const content = Buffer.alloc(FLOPPY_BYTES, 0x6d);
  await choose(floppy, { "notes.img": content });
  await expect(floppy.getByText("notes.img")).toBeVisible();
  expect(await media(page)).toEqual({ cdrom: "tools.iso", floppy: "notes.img" });

  const [saved] = await Promise.all([
    page.waitForEvent("download"),
    floppy.getByRole("button", { name: "Save the floppy" }).click(),
  ]);
  expect(saved.suggestedFilename()).toBe("notes.img");
  expect((await readFile(await saved.path())).equals(content)).toBe(true);

  // One that is no floppy: said so, and the one in the drive stays.
  await choose(floppy, { "large.img": Buffer.alloc(3 * 1024 * 1024) });
  await expect(page.getByRole("alert").filter({ hasText: "large.img" })).toBeVisible();
  expect((await media(page)).floppy).toBe("notes.img");

  await cd.getByRole("button", { name: "Eject the CD" }).click();
  await expect(cd.getByText("No CD is in the drive.")).toBeVisible();
  await floppy.getByRole("button", { name: "Eject the floppy" }).click();
  await expect(floppy.getByText("No floppy disk is in the drive.")).toBeVisible();
  expect(await ask(page, "Ealive\n")).toContain("alive");
});

test("files dropped on a running machine are asked about", async ({ page, images }) => {
  await openGuest(page, images);
  const question = page.getByRole("alertdialog");
  await drop(page, { "tools.iso": await cdImage() });
  await expect(question.getByText("tools.iso")).toBeVisible();
  await expect(question.getByRole("button", { name: "Insert as a CD" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(question).toHaveCount(0);
  expect((await media(page)).cdrom).toBeUndefined();

  await drop(page, { "tools.iso": await cdImage() });
  await question.getByRole("button", { name: "Insert as a CD" }).click();
  await expect.poll(async () => (await media(page)).cdrom).toBe("tools.iso");

  await drop(page, { "a.img": Buffer.alloc(FLOPPY_BYTES) });
  await question.getByRole("button", { name: "Insert as a floppy disk" }).click();
  await expect.poll(async () => (await media(page)).floppy).toBe("a.img");

  await drop(page, { "a.txt": Buffer.from("a"), "b.txt": Buffer.from("b") });
  await expect(question.getByText("2 files")).toBeVisible();
  await expect(question.getByRole("button", { name: "Run as a machine" })).toHaveCount(0);
  await question.getByRole("button", { name: "Give to the machine on a CD" }).click();
  await expect.poll(async () => (await media(page)).cdrom).toBe("2 files");
  expect(await machines(page)).toHaveLength(1);

  await drop(page, { "tools.iso": await cdImage() });
  await question.getByRole("button", { name: "Run as a machine" }).click();
  await expect(page.getByRole("heading", { name: "guest is on in this tab" })).toBeVisible();
});

test("what arrives from the machine is read out once it has arrived", async ({ page, images }) => {
  await openGuest(page, images);
  // What no guest here does: a file in many pieces.
  await page.evaluate(() => {
    let sizeBytes = 0;
    const listeners = new Set<() => void>();
    const tell = () => {
      for (const listener of listeners) listener();
    };
    const output = {
      get sizeBytes() {
        return sizeBytes;
      },
      droppedBytes: 0,
      bytes: () => new Uint8Array(sizeBytes),
      clear() {
        sizeBytes = 0;
        tell();
      },
      onOutput(listener: () => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
    const write = () => {
      sizeBytes += 1;
      tell();
      if (sizeBytes < 60) requestAnimationFrame(write);
    };
    Object.assign(window.byre.machine ?? {}, { output });
    Object.assign(window, { write, said: new Set<string>() });
  });
  await page.getByRole("button", { name: "Files", exact: true }).click();
  const panel = page.getByRole("complementary", { name: "Files" });
  await expect(panel.getByText("Nothing has arrived yet.")).toBeVisible();
  await panel.evaluate((aside) => {
    const { said, write } = window as unknown as { said: Set<string>; write: () => void };
    const listen = () => {
      for (const region of aside.querySelectorAll("[role=status]")) said.add(region.textContent);
    };
    new MutationObserver(listen).observe(aside, { subtree: true, childList: true, characterData: true });
    write();
  });
  await expect(panel.getByText("Arrived: 60 bytes.")).toBeVisible();
  await expect(panel.getByRole("status").filter({ hasText: "60 bytes" })).toHaveCount(1);
  const said = await page.evaluate(() => [...(window as unknown as { said: Set<string> }).said]);
  expect(said.filter((text) => text !== "")).toEqual(["60 bytes came out of the machine."]);

  await panel.getByRole("button", { name: "Discard" }).click();
  await expect(panel.getByText("Nothing has arrived yet.")).toBeVisible();
  await expect(panel.getByRole("heading", { name: "Out of the machine" })).toBeFocused();
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("drives, files and their question have no axe violations and fit 320 pixels", async ({
      page,
      images,
    }) => {
      await openGuest(page, images);
      const panel = await openDrives(page);
      await choose(panel.getByRole("region", { name: "CD" }), {
        [`${"long".repeat(30)}.iso`]: await cdImage(),
      });
      await choose(panel.getByRole("region", { name: "Floppy disk" }), {
        "a.img": Buffer.alloc(FLOPPY_BYTES),
      });
      await expect(panel.getByRole("button", { name: "Save the floppy" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.setViewportSize({ width: 320, height: 640 });
      expect(await violations(page)).toEqual([]);
      const width = () => page.evaluate(() => document.documentElement.scrollWidth);
      expect(await width()).toBeLessThanOrEqual(320);
      await page.keyboard.press("Escape");
      await fromMenu(page, "Files");
      await expect(page.getByRole("complementary", { name: "Files" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await width()).toBeLessThanOrEqual(320);
      await page.keyboard.press("Escape");
      await drop(page, { "tools.iso": await cdImage() });
      await expect(page.getByRole("alertdialog")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await width()).toBeLessThanOrEqual(320);
    });
  });
}

test.describe("with Linux", () => {
  const missing = !existsSync("public/appliances/linux.qcow2");
  test.skip(missing && process.env.CI !== "true", "the demo appliance is not built: npm run appliance");
  test.setTimeout(180_000);

  test("files go into the machine on a CD, and what it makes of them comes out", async ({ page }) => {
    await openLink(page, "appliances/linux.qcow2");
    await waitForSerial(page, "linux:~# ", { timeout: 90_000 });
    await page.getByRole("button", { name: "Files", exact: true }).click();
    const panel = page.getByRole("complementary", { name: "Files" });
    await choose(panel, { "a.txt": Buffer.from("first\n"), "b.txt": Buffer.from("second\n") });
    await expect(panel.getByText(/^2 files: on the CD/)).toBeVisible();
    const type = (text: string) => page.evaluate((line) => window.byre.machine?.serial.send(line), text);
    await type("mount /dev/sr0 /mnt && cat /mnt/a.txt /mnt/b.txt >/root/both; echo copied-$?\n");
    await waitForSerial(page, "copied-0");

    await expect(panel.getByText("Nothing has arrived yet.")).toBeVisible();
    await type("cat /root/both >/dev/ttyS1; echo sent-$?\n");
    await waitForSerial(page, "sent-0");
    await expect(panel.getByText("Arrived: 13 bytes.")).toBeVisible();
    await panel.getByLabel("Name of the file").fill("both.txt");
    const [saved] = await Promise.all([
      page.waitForEvent("download"),
      panel.getByRole("button", { name: "Save", exact: true }).click(),
    ]);
    expect(saved.suggestedFilename()).toBe("both.txt");
    expect(await readFile(await saved.path(), "utf8")).toBe("first\nsecond\n");
    await panel.getByRole("button", { name: "Discard" }).click();
    await expect(panel.getByText("Nothing has arrived yet.")).toBeVisible();
    await expect(panel.getByRole("heading", { name: "Out of the machine" })).toBeFocused();
  });
});
