import type { Page } from "@playwright/test";
import { createMemoryFile, openQcow2 } from "../disk/index.ts";
import {
  ask,
  expect,
  machines,
  narrowQuota,
  openLink,
  test,
  waitForSerial,
  waitForState,
} from "./byre-test.ts";
import { guestImage } from "./images.ts";
import { BANNER, checksum, fromMenu, openGuest, openPanel, readSector, writeSector } from "./panel-steps.ts";
import { savedGuestImage } from "./saved-images.ts";

test("a snapshot is saved, restored, renamed, described and deleted in the panel", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  await writeSector(page, 0x5a);
  const panel = await openPanel(page);
  await expect(panel.getByText("None yet")).toBeVisible();
  await panel.getByRole("button", { name: "Add a description" }).click();
  await panel.getByLabel("Description").fill("With 5A in it.");
  await panel.getByRole("button", { name: "Save" }).click();

  const item = panel.getByRole("listitem");
  await expect(item.getByRole("heading")).toHaveText("Snapshot 1");
  await expect(item).toContainText("just now");
  await expect(item).toContainText(/ its own\d.* shared/);
  await expect(item).toContainText("With 5A in it.");
  const picture = item.locator("img");
  await expect(picture).toBeVisible();
  expect(await picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
  await expect(panel.getByLabel("New snapshot")).toHaveValue("Snapshot 2");

  await writeSector(page, 0xa5);
  await item.getByRole("button", { name: "Restore Snapshot 1" }).click();
  await expect(item.getByText("What it is now is gone then")).toBeVisible();
  await item.getByRole("button", { name: "Cancel" }).click();
  expect(await readSector(page)).toBe(checksum(0xa5));
  await item.getByRole("button", { name: "Restore Snapshot 1" }).click();
  await item.getByRole("button", { name: "Restore", exact: true }).click();
  await expect(item.getByText("What it is now is gone then")).toBeHidden();
  expect(await readSector(page)).toBe(checksum(0x5a));

  await item.getByRole("button", { name: "Snapshot 1: more" }).click();
  await item.getByRole("button", { name: "Rename or describe" }).click();
  await item.getByLabel("Name").fill("Before");
  await item.getByLabel("Description").fill("Changed my mind.");
  await item.getByRole("button", { name: "Keep changes" }).click();
  await expect(item.getByRole("heading")).toHaveText("Before");
  await expect(item).toContainText("Changed my mind.");
  expect(await page.evaluate(() => window.byre.machine?.snapshots())).toMatchObject([{ name: "Before" }]);

  await item.getByRole("button", { name: "Before: more" }).click();
  await item.getByRole("button", { name: "Delete" }).click();
  await item.getByRole("button", { name: "Keep" }).click();
  await item.getByRole("button", { name: "Before: more" }).click();
  await item.getByRole("button", { name: "Delete" }).click();
  await item.getByRole("button", { name: "Delete", exact: true }).click();
  await expect(panel.getByText("None yet")).toBeVisible();
  await expect(panel.getByRole("heading", { name: "Snapshots" })).toBeFocused();
  expect(await page.evaluate(() => window.byre.machine?.snapshots())).toEqual([]);
});

test("restoring offers to save what would be gone", async ({ page, images }) => {
  await openGuest(page, images);
  await writeSector(page, 0x11);
  await page.evaluate(() => window.byre.machine?.save("first"));
  await writeSector(page, 0x22);
  const panel = await openPanel(page);
  await panel.getByRole("button", { name: "Restore first" }).click();
  await panel.getByRole("button", { name: "Save first" }).click();
  await expect(panel.getByRole("heading", { name: "Snapshot 1" })).toBeVisible();
  await expect(panel.getByText("What it is now is gone then")).toBeHidden();
  expect(await readSector(page)).toBe(checksum(0x11));
  await panel.getByRole("button", { name: "Restore Snapshot 1" }).click();
  await panel.getByRole("button", { name: "Restore", exact: true }).click();
  await expect(panel.getByText("What it is now is gone then")).toBeHidden();
  expect(await readSector(page)).toBe(checksum(0x22));
});

test("a machine that is off cannot be saved, and is switched on by restoring it", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  await writeSector(page, 0x21);
  await page.evaluate(() => window.byre.machine?.save("on"));
  await writeSector(page, 0x22);
  await page.getByRole("button", { name: "Power off" }).click();
  await waitForState(page, "stopped");
  const panel = await openPanel(page);
  await expect(panel.getByText("Only a machine that is on can be saved.")).toBeVisible();
  await expect(panel.getByRole("button", { name: "Save" })).toBeDisabled();
  await page.keyboard.press("Control+Alt+KeyS");
  await expect(page.getByText("Only a machine that is on can be saved.")).toHaveCount(2);
  await panel.getByRole("button", { name: "Restore on" }).click();
  await expect(panel.getByRole("button", { name: "Save first" })).toHaveCount(0);
  await panel.getByRole("button", { name: "Restore", exact: true }).click();
  await waitForState(page, "running");
  expect(await readSector(page)).toBe(checksum(0x21));
});

test("on a narrow window the panel makes way for the machine that was restored", async ({ page, images }) => {
  await page.setViewportSize({ width: 320, height: 640 });
  await openGuest(page, images);
  const panel = await openPanel(page);
  await expect(page.getByRole("application", { name: /Guest screen/ })).toBeHidden();
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.getByRole("button", { name: "Restore Snapshot 1" }).click();
  await panel.getByRole("button", { name: "Restore", exact: true }).click();
  await expect(panel).toHaveCount(0);
  await expect(page.getByRole("application", { name: /Guest screen/ })).toBeVisible();
});

test("a suspended machine is in the gallery as such and goes on from there", async ({ page, images }) => {
  await openGuest(page, images);
  await ask(page, "Ebefore\n");
  await page.getByRole("button", { name: "Suspend" }).click();
  const row = page.getByRole("region", { name: "Yours" }).getByRole("listitem");
  await expect(row).toContainText("suspended just now");
  expect(await page.evaluate(() => window.byre.machine)).toBeUndefined();
  await row.getByRole("button", { name: "Resume guest" }).click();
  await waitForState(page, "running");
  await expect(page.locator(".xterm-rows")).toContainText("before");
  expect(await ask(page, "Eafter\n")).toContain("after");
  expect(
    await page.evaluate((banner) => window.byre.machine?.serial.text().split(banner).length, BANNER),
  ).toBe(2);
});

test("another machine can have the place of one that is suspended for it", async ({ page, images }) => {
  await openGuest(page, images);
  images.files.set("two.qcow2", { bytes: await guestImage() });
  await page.goto(`/#/run?image=${images.url("two.qcow2")}&memory=32`);
  await page.getByRole("button", { name: "Suspend it and go on" }).click();
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "two");
  await waitForSerial(page, BANNER);
  await page.goto("/");
  await expect(page.getByRole("button", { name: "Resume guest" })).toBeVisible();
});

test("a new machine starts from a snapshot of another", async ({ page, images }) => {
  await openGuest(page, images);
  await writeSector(page, 0x55);
  await page.evaluate(() => window.byre.machine?.save("fork"));
  await writeSector(page, 0x66);
  const panel = await openPanel(page);
  await panel.getByRole("button", { name: "fork: more" }).click();
  await panel.getByRole("button", { name: "New machine from here" }).click();
  await panel.getByRole("button", { name: "Go to it" }).click();
  await page.getByRole("button", { name: "Suspend it and go on" }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "guest fork");
  await waitForState(page, "running");
  expect(await readSector(page)).toBe(checksum(0x55));
  expect(await machines(page)).toHaveLength(2);
});

test("how often a machine saves itself is chosen in the panel and kept", async ({ page, images }) => {
  await openGuest(page, images);
  const panel = await openPanel(page);
  await expect(panel.getByLabel("Autosave", { exact: true })).toHaveValue("5");
  await panel.getByLabel("Autosave", { exact: true }).selectOption("Off");
  await expect(panel.getByText("as after a power cut")).toBeVisible();
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect((await openPanel(page)).getByLabel("Autosave", { exact: true })).toHaveValue("0");
});

test("an autosave that fails says so over the machine, until that is read", async ({
  page,
  context,
  images,
}) => {
  // Makes a minute of waiting a second.
  await context.addInitScript(() => {
    const plain = window.setInterval.bind(window);
    window.setInterval = ((work: () => void, delayMs?: number) =>
      plain(work, delayMs === 60_000 ? 1000 : delayMs)) as typeof window.setInterval;
  });
  images.files.set("guest.qcow2", { bytes: await savedGuestImage({ noiseBytes: 4 * 1024 * 1024 }) });
  await narrowQuota(page, context);
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&snapshot=ready`);
  await page.evaluate(() => window.byre.machine?.setAutosaveMinutes(1));
  const notice = page.getByRole("status").filter({ hasText: "guest could not save itself" });
  await expect(notice).toContainText("QUOTA_EXCEEDED");
  await notice.getByRole("button", { name: "Understood" }).click();
  await expect(notice).toHaveCount(0);
});

test("what fails while the panel lies over the machine is said over the panel", async ({ page, images }) => {
  await page.setViewportSize({ width: 320, height: 640 });
  await openGuest(page, images);
  await openPanel(page);
  // The browser refuses, as it does where full screens are not allowed.
  await page.evaluate(() => {
    Element.prototype.requestFullscreen = () => Promise.reject(new TypeError("Not allowed here."));
  });
  await fromMenu(page, "Full screen");
  const alert = page.getByRole("alert").filter({ hasText: "Not allowed here." });
  await alert.getByRole("button", { name: "Understood" }).click();
  await expect(alert).toHaveCount(0);
});

test("a machine to throw away has snapshots, and neither suspend nor autosave", async ({ page, images }) => {
  await openGuest(page, images, "&ephemeral=1");
  const panel = await openPanel(page);
  await expect(page.getByRole("button", { name: "Suspend" })).toHaveCount(0);
  await expect(panel.getByLabel("Autosave", { exact: true })).toHaveCount(0);
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.getByRole("button", { name: "Snapshot 1: more" }).click();
  await expect(panel.getByRole("button", { name: "Delete" })).toBeVisible();
  await expect(panel.getByRole("button", { name: "New machine from here" })).toHaveCount(0);
});

test("the overlay is exported with its snapshots and without", async ({ page, images }) => {
  await page.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined }));
  await openGuest(page, images);
  const panel = await openPanel(page);
  await panel.getByRole("button", { name: "Save" }).click();
  await expect(panel.getByRole("button", { name: "Snapshot 1: more" })).toBeVisible();
  await panel.getByLabel("Only what was changed").check();
  const size = async () => {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      panel.getByRole("button", { name: "Export", exact: true }).click(),
    ]);
    expect(download.suggestedFilename()).toBe("guest-overlay.qcow2");
    let bytes = 0;
    for await (const piece of await download.createReadStream()) bytes += piece.length;
    return bytes;
  };
  const withSnapshots = await size();
  await panel.getByLabel("With its snapshots").uncheck();
  expect(withSnapshots).toBeGreaterThan(await size());
});

test("Escape closes the panel, and the focus is where it was opened", async ({ page, images }) => {
  await openGuest(page, images);
  const panel = await openPanel(page);
  await expect(panel.getByRole("heading", { name: "Snapshots" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(panel).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Snapshots", exact: true })).toBeFocused();
});

test("a snapshot that cannot be restored says why, and its disk boots", async ({ page, images }) => {
  await openGuest(page, images);
  await writeSector(page, 0x77);
  await page.evaluate(() => window.byre.machine?.save("damaged"));
  await writeSector(page, 0x88);
  await damageState(page, "damaged");
  await page.reload();
  await waitForSerial(page, BANNER);

  const panel = await openPanel(page);
  await expect(panel.getByText("Its memory cannot be restored")).toBeVisible();
  await expect(panel.getByText("STATE_INVALID")).toBeVisible();
  await expect(panel.getByRole("button", { name: "Restore damaged" })).toHaveCount(0);
  await panel.getByRole("button", { name: "Boot its disk instead: damaged" }).click();
  await panel.getByRole("button", { name: "Boot its disk", exact: true }).click();
  await expect(panel.getByText("What it is now is gone then")).toBeHidden();
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await readSector(page)).toBe(checksum(0x77));
});

test("what is saved shows how far it is, and can be called off", async ({ page, images }) => {
  await openGuest(page, images);
  const panel = await openPanel(page);
  // A save of the tiny guest is over before a hand is at the button; this one waits for it.
  await page.evaluate(() => {
    const { machine } = window.byre;
    const end = machine?.onChange(() => {
      if (machine.activity?.kind !== "saving") return;
      end?.();
      const until = (ready: () => boolean) =>
        new Promise<void>((resolve) => {
          const look = () => (ready() ? resolve() : setTimeout(look));
          look();
        });
      void until(() => document.querySelector("#snapshots progress") !== null).then(() => {
        const cancel = [...document.querySelectorAll<HTMLElement>("#snapshots button")].find(
          (button) => button.textContent === "Cancel",
        );
        cancel?.click();
      });
    });
  });
  await panel.getByLabel("New snapshot").fill("never");
  await panel.getByRole("button", { name: "Save" }).click();
  await expect(panel.getByLabel("New snapshot")).toHaveValue("never");
  await expect(panel.getByText("None yet")).toBeVisible();
  await expect(panel.getByText("Nothing was saved")).toHaveCount(0);
  expect(await page.evaluate(() => window.byre.machine?.snapshots())).toEqual([]);
  await waitForState(page, "running");
});

/** Writes over the header of a saved state of the overlay, which is the one file in the browser's storage. */
async function damageState(page: Page, name: string): Promise<void> {
  // As text: arrays of numbers take minutes on a busy machine.
  const content = await page.evaluate(async () => {
    const blob = (await window.byre.machine?.exportDisk()) ?? new Blob();
    await window.byre.machine?.close();
    return new Promise<string>((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
      reader.readAsDataURL(blob);
    });
  });
  const file = createMemoryFile({ content: Uint8Array.from(Buffer.from(content, "base64")) });
  const device = await openQcow2(file, { writable: true, backing: "none" });
  const { vmStateBytes = 0 } = device.snapshots.find((snapshot) => snapshot.name === name) ?? {};
  const writer = await device.editState(name);
  await writer.writeCluster(0, new Uint8Array(device.header.clusterSizeBytes).fill(0x5a));
  await writer.finish({ name, vmStateBytes });
  await device.flush();
  await page.evaluate(
    (base64) =>
      new Promise<void>((resolve, reject) => {
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const opening = indexedDB.open("byre-blocks");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const transaction = opening.result.transaction(["files", "blocks"], "readwrite");
          const files = transaction.objectStore("files");
          const reading = files.getAll();
          reading.onsuccess = () => {
            const [file] = reading.result;
            files.put({ ...file, sizeBytes: bytes.length });
            for (let offset = 0; offset < bytes.length; offset += file.blockBytes) {
              const block = new Uint8Array(file.blockBytes);
              block.set(bytes.slice(offset, offset + file.blockBytes));
              transaction.objectStore("blocks").put(block, [file.fileId, offset / file.blockBytes]);
            }
          };
          transaction.oncomplete = () => resolve(opening.result.close());
          transaction.onabort = () => reject(transaction.error);
        };
      }),
    Buffer.from(file.toBytes()).toString("base64"),
  );
}
