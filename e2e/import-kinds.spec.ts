import type { Page } from "@playwright/test";
import { createMemoryFile, createQcow2 } from "../disk/index.ts";
import { tinyGuestChecksum, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";
import { violations } from "./accessibility-check.ts";
import {
  ask,
  expect,
  hex,
  machines,
  pick,
  storedFiles,
  test,
  waitForSerial,
  waitForState,
} from "./byre-test.ts";
import { guestCd, guestImage, SECTOR_BYTES, sectorOf } from "./images.ts";

const BANNER = "tiny guest ready";
const MIB = 1024 * 1024;
const FAR_SECTOR = (5 * MIB) / SECTOR_BYTES;

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

test("an ISO boots from its CD, with an empty disk that keeps what is written and its states", async ({
  page,
}) => {
  await page.goto("/");
  await pick(page, { "tiny-1.0.iso": guestCd() });
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toMatchObject([{ name: "tiny-1.0", base: { name: "tiny-1.0.iso" } }]);
  expect(await page.evaluate(() => window.byre.machine?.memoryMiB)).toBe(512);
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0))}`);
  expect(await ask(page, `W${hex(FAR_SECTOR)}33`)).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.save("then"));
  expect(await ask(page, `W${hex(FAR_SECTOR)}44`)).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.load("then"));
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x33))}`);
  await ask(page, "F");
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x33))}`);

  await page.goto("/");
  await button(page, "tiny-1.0: more").click();
  await button(page, "Reset to base").click();
  await button(page, "Reset").click();
  await button(page, "Start tiny-1.0").click();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `r${hex(FAR_SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0))}`);
});

/** Writes the guest's boot sector over the last sector of its floppy, by DMA, as a driver would. */
async function writeLastFloppySector(page: Page): Promise<void> {
  const BOOT_SECTOR = 0x7c00;
  const out = (port: number, ...bytes: number[]) => bytes.map((byte) => `o${hex(port, 4)}${hex(byte, 2)}`);
  const commands = [
    // Channel 2 of the DMA controller: masked, from memory to the drive, 512 bytes, let go.
    ...out(0x0a, 0x06),
    ...out(0x0c, 0),
    ...out(0x0b, 0x4a),
    ...out(0x04, BOOT_SECTOR & 0xff, BOOT_SECTOR >> 8),
    ...out(0x81, 0),
    ...out(0x05, 0xff, 0x01),
    ...out(0x0a, 0x02),
    // Drive 0 with DMA; WRITE DATA of cylinder 79, head 1, sector 18.
    ...out(0x3f2, 0x1c),
    ...out(0x3f5, 0x45, 0x04, 79, 1, 18, 2, 18, 0x1b, 0xff),
  ];
  for (const command of commands) expect(await ask(page, command)).toBe("=00000000");
  // Status 0: it has sought, with head 1, and ended as it should.
  expect(await ask(page, "i03F5")).toBe("=00000024");
}

/** The last two bytes of each stored file of this name. */
function endsOfStored(page: Page, name: string): Promise<number[][]> {
  return page.evaluate(async (wanted) => {
    const done = <Result>(request: IDBRequest<Result>) =>
      new Promise<Result>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await done(indexedDB.open("byre-blocks"));
    const transaction = database.transaction(["files", "blocks"]);
    const files = await done(transaction.objectStore("files").getAll());
    const ends = files
      .filter((file) => file.name === wanted)
      .map(async ({ fileId, sizeBytes, blockBytes }) => {
        const last = sizeBytes - 2;
        const block: Uint8Array | undefined = await done(
          transaction.objectStore("blocks").get([fileId, Math.floor(last / blockBytes)]),
        );
        return [...(block?.subarray(last % blockBytes, (last % blockBytes) + 2) ?? [])];
      });
    const found = await Promise.all(ends);
    database.close();
    return found;
  }, name);
}

test("what the guest writes to its floppy outlives the tab, and a machine made of its state has it", async ({
  page,
}) => {
  const written = [0x55, 0xaa];
  await page.goto("/");
  await pick(page, { "boot.ima": Buffer.from(tinyGuestImage(1440 * 1024)) });
  await waitForSerial(page, BANNER);
  // Nothing saves itself meanwhile.
  await page.evaluate(() => window.byre.machine?.setAutosaveMinutes(0));
  expect(await endsOfStored(page, "boot.ima")).not.toContainEqual(written);
  await writeLastFloppySector(page);
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect.poll(() => endsOfStored(page, "boot.ima")).toEqual([written]);

  await page.evaluate(async () => {
    await window.byre.machine?.save("then");
    await window.byre.machine?.startFromSnapshot("then");
  });
  await expect.poll(() => endsOfStored(page, "boot.ima")).toEqual([written, written]);
});

test("a floppy image boots, and a machine made of its saved state has a floppy of its own", async ({
  page,
}) => {
  await page.goto("/");
  await pick(page, { "boot.ima": Buffer.from(tinyGuestImage(1440 * 1024)) });
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toMatchObject([{ name: "boot", base: { name: "boot.ima" } }]);
  expect(await page.evaluate(() => window.byre.machine?.media.floppy)).toMatchObject({
    name: "boot.ima",
    writable: true,
  });
  const id = await page.evaluate(async () => {
    await window.byre.machine?.save("then");
    return window.byre.machine?.startFromSnapshot("then");
  });
  // An empty disk and a floppy for each.
  expect(await storedFiles(page)).toBe(4);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await button(page, "All machines").click();
  await button(page, "boot: more").click();
  await button(page, "Delete").click();
  await button(page, "Delete").click();
  await expect.poll(() => storedFiles(page)).toBe(2);
  await page.goto(`/#/machine/${id}`);
  await waitForState(page, "running");
  await page.evaluate(() => window.byre.machine?.reset());
  await waitForSerial(page, BANNER, { times: 2 });
});

test("a disk and an ISO dropped together are one machine with that CD", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage(), "tools.iso": guestCd() });
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toMatchObject([{ name: "guest", base: { name: "guest.qcow2" } }]);
  const drives = () => page.evaluate(() => window.byre.machine?.media.cdrom?.name);
  expect(await drives()).toBe("tools.iso");
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await drives()).toBe("tools.iso");
});

test("files that are no image are put on a CD, of a disk dropped with them or of an appliance", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await page.route("**/appliances/catalog.json", (route) =>
    route.fulfill({ json: [images.url("guest.qcow2")] }),
  );
  await page.goto("/");
  await pick(page, { "notes.txt": Buffer.from("some words"), "more.txt": Buffer.from("and more") });
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("2 files");
  await expect(page.getByRole("main")).toContainText("notes.txt");
  expect(await violations(page)).toEqual([]);
  await button(page, "Start guest with them").click();
  await waitForSerial(page, BANNER);
  const cdrom = () => page.evaluate(() => window.byre.machine?.media.cdrom?.name);
  expect(await cdrom()).toBe("files.iso");
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await cdrom()).toBe("files.iso");
  // The overlay and the CD.
  expect(await storedFiles(page)).toBe(2);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await button(page, "All machines").click();

  await pick(page, { "own.qcow2": await guestImage(), "read me.txt": Buffer.from("words") });
  await waitForSerial(page, BANNER);
  expect(await cdrom()).toBe("read me.txt.iso");
  await button(page, "All machines").click();

  // The one that is on behind the gallery can have them too.
  await pick(page, { "third.txt": Buffer.from("words") });
  await button(page, "Give to own on a CD").click();
  await page.waitForFunction(() => window.byre.machine?.media.cdrom?.name === "third.txt");
  await button(page, "All machines").click();
  await pick(page, { "tools.iso": guestCd() });
  await button(page, "Give to own on a CD").click();
  await page.waitForFunction(() => window.byre.machine?.media.cdrom?.name === "tools.iso");
  expect(await ask(page, "Ehere\n")).toContain("here");
});

const REFUSED: [what: string, words: string, make: () => Promise<Record<string, Buffer>>][] = [
  [
    "a VMware disk",
    'qemu-img convert -O qcow2 "old pc.vmdk" "old pc.qcow2"',
    async () => ({ "old pc.vmdk": Buffer.concat([Buffer.from("KDMV"), Buffer.alloc(MIB)]) }),
  ],
  [
    "a packed image",
    "disk.img.xz is packed. Unpack it first",
    async () => ({ "disk.img.xz": Buffer.alloc(1000, 7) }),
  ],
  [
    "two images of which none is built on the other",
    "It is not clear which of one.qcow2, two.qcow2 to run",
    async () => ({ "one.qcow2": await guestImage(), "two.qcow2": await guestImage() }),
  ],
  [
    "two CDs",
    "one.iso, two.iso are CD images, and a machine has one CD drive",
    async () => ({ "one.iso": guestCd(), "two.iso": guestCd() }),
  ],
  [
    "an overlay whose backing file is not among them",
    'top.qcow2 is built on "base.qcow2", which was not supplied',
    async () => ({ "top.qcow2": await emptyOverlay(), "other.iso": guestCd() }),
  ],
];

async function emptyOverlay(): Promise<Buffer> {
  const file = createMemoryFile({ name: "top.qcow2" });
  await createQcow2(file, { sizeBytes: MIB, backing: { name: "base.qcow2", format: "qcow2" } });
  return Buffer.from(file.toBytes());
}

for (const [what, words, make] of REFUSED) {
  test(`${what}: said by name, and nothing is kept`, async ({ page }) => {
    await page.goto("/");
    await pick(page, await make());
    await expect(page.getByRole("alert")).toContainText(words);
    expect(await machines(page)).toEqual([]);
    expect(await storedFiles(page)).toBe(0);
  });
}

test("a machine that is on does not make way for an image that none can be made of", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "own.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await button(page, "All machines").click();
  const damaged = await guestImage();
  damaged.fill(0xff, 24, 48);
  await pick(page, { "damaged.qcow2": damaged });
  await expect(page.getByRole("heading", { name: "Could not start damaged.qcow2" })).toBeVisible();
  expect(await ask(page, "Ehere\n")).toContain("here");
  expect(await machines(page)).toHaveLength(1);
});

test("the address of an image, pasted or typed, leads to what it says of itself", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await page.goto("/");
  await page.getByLabel("Address of an image").fill("javascript:alert(1)");
  await button(page, "Open link").click();
  await expect(page.getByRole("alert")).toContainText("The image cannot come from javascript:alert(1)");
  await page.getByLabel("Address of an image").fill(images.url("guest.qcow2"));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/guest$/);

  await page.goto("/");
  await expect(page.getByLabel("Address of an image")).toBeVisible();
  const paste = (text: string) =>
    page.evaluate((pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", pasted);
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }, text);
  await paste("some words that are no link");
  await expect(page.getByLabel("Address of an image")).toHaveValue("");
  await paste(images.url("guest.qcow2"));
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/guest$/);
  await button(page, "Start").click();
  await waitForSerial(page, BANNER);
  await waitForState(page, "running");
});
