import { randomBytes } from "node:crypto";
import { tinyGuestChecksum, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";
import {
  answerAfter,
  ask,
  expect,
  hex,
  machines,
  narrowQuota,
  openLink,
  pick,
  storedFiles,
  tell,
  test,
  waitForSerial,
  waitForState,
} from "./byre-test.ts";
import { guestImage, SECTOR_BYTES, sectorOf } from "./images.ts";

const BANNER = "tiny guest ready";
const MIB = 1024 * 1024;

function broken(image: Buffer, offset: number, bytes: number[]): Buffer {
  const copy = Buffer.from(image);
  copy.set(bytes, offset);
  return copy;
}

/** Offsets in a qcow2 header. */
const VERSION = 4;
const CRYPT_METHOD = 32;
const L1_OFFSET = 40;
const INCOMPATIBLE_FEATURES = 72;

const BAD_IMAGES: [what: string, code: string, make: (image: Buffer) => Buffer][] = [
  ["not a qcow2", "NOT_QCOW2", () => Buffer.from("just some text, and not short of it".repeat(40))],
  ["empty", "NOT_QCOW2", () => Buffer.alloc(0)],
  ["cut short", "TRUNCATED", (image) => image.subarray(0, image.length - 65536)],
  ["of an unknown version", "UNSUPPORTED_VERSION", (image) => broken(image, VERSION, [0, 0, 0, 9])],
  ["encrypted", "ENCRYPTED", (image) => broken(image, CRYPT_METHOD, [0, 0, 0, 1])],
  [
    "with a feature nobody knows",
    "UNSUPPORTED_FEATURE",
    (image) => broken(image, INCOMPATIBLE_FEATURES, [0x40, 0, 0, 0, 0, 0, 0, 0]),
  ],
  ["with its L1 table out of line", "CORRUPT", (image) => broken(image, L1_OFFSET, [0, 0, 0, 0, 0, 0, 2, 1])],
];

for (const [what, code, make] of BAD_IMAGES) {
  test(`an image ${what} is refused by name, and no machine is made`, async ({ page, images }) => {
    const bad = make(await guestImage());
    await page.goto("/");
    await pick(page, { "bad.qcow2": bad });
    const alert = page.getByRole("alert");
    await expect(alert).toContainText("bad.qcow2");
    await expect(alert).toContainText(code);
    expect(await machines(page)).toEqual([]);

    // The same from a server, and for a script.
    images.files.set("bad.qcow2", { bytes: bad });
    const link = `#/run?image=${images.url("bad.qcow2")}`;
    const refusal = await page.evaluate(
      (target) =>
        window.byre.open(target, { unattended: true }).then(
          () => "opened",
          (error: { code: string }) => error.code,
        ),
      link,
    );
    expect(refusal).toBe(code);
    await expect(page.getByRole("alert")).toContainText("bad.qcow2");
    expect(await machines(page)).toEqual([]);
    expect(await storedFiles(page)).toBe(0);
  });
}

test("a dropped overlay says which file it is built on, and runs when both are dropped", async ({ page }) => {
  const base = await guestImage();
  const overlay = await guestImage({ backing: { name: "/somewhere/else/base.qcow2", format: "qcow2" } });
  await page.goto("/");
  await pick(page, { "overlay.qcow2": overlay });
  const alert = page.getByRole("alert");
  await expect(alert).toContainText('overlay.qcow2 is built on "/somewhere/else/base.qcow2"');
  await expect(alert).toContainText("Drop both files on this page together");
  await expect(alert).toContainText("BACKING_MISSING");
  expect(await machines(page)).toEqual([]);

  await page.getByRole("button", { name: "All machines" }).click();
  await pick(page, { "overlay.qcow2": overlay, "base.qcow2": base });
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(50)}11`);
  await ask(page, "F");
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `R${hex(50)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x11))}`);
});

test("a linked overlay finds its backing in the same folder only", async ({ page, images }) => {
  const overlay = await guestImage({ backing: { name: "../../base.qcow2", format: "qcow2" } });
  images.files.set("disks/overlay.qcow2", { bytes: overlay });
  await page.goto(`/#/run?image=${images.url("disks/overlay.qcow2")}&memory=32`);
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("alert")).toContainText("there is no base.qcow2 beside it");
  expect(await machines(page)).toEqual([]);

  images.files.set("disks/base.qcow2", { bytes: await guestImage() });
  await page.getByRole("button", { name: "Try again" }).click();
  await waitForSerial(page, BANNER);
  expect(images.requests.filter((path) => !path.startsWith("disks/"))).toEqual([]);
});

test("a server without ranges is read whole; a large file from it is refused at once", async ({
  page,
  images,
}) => {
  images.ranges = false;
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  images.files.set("large.qcow2", { bytes: await guestImage(), claimedBytes: 600 * MIB });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.goto(`/#/run?image=${images.url("large.qcow2")}`);
  await expect(page.getByRole("alert")).toContainText(
    "large.qcow2: the server does not answer range requests",
  );
  await expect(page.getByRole("alert")).toContainText("RANGE_NOT_SUPPORTED");
  expect(await machines(page)).toHaveLength(1);
});

test("an image that is not there, or not ours to read, says so and can be tried again", async ({
  page,
  images,
}) => {
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await expect(page.getByRole("alert")).toContainText("NOT_FOUND");
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  images.cors = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("alert")).toContainText("NETWORK");
  expect(await machines(page)).toEqual([]);
  images.cors = true;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("button", { name: "Start" }).click();
  await waitForSerial(page, BANNER);
});

test("a server that goes away stops the machine, and it goes on where it stopped", async ({
  page,
  images,
}) => {
  // Large enough not to be fetched whole behind the boot.
  images.files.set("guest.qcow2", {
    bytes: await guestImage({ sizeBytes: 48 * MIB, fill: 0x3c, fillBytes: 40 * MIB }),
  });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await images.stop();
  const sector = (35 * MIB) / SECTOR_BYTES;
  const asked = await tell(page, `r${hex(sector)}`);
  await waitForState(page, "error");
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("guest is stopped, and nothing is lost");
  await expect(alert).toContainText("guest.qcow2");
  await expect(alert).toContainText("NETWORK");

  await page.getByRole("button", { name: "Retry" }).click();
  await expect(page.getByRole("button", { name: "Retry" })).toBeEnabled();
  await waitForState(page, "error");

  await images.start();
  await page.getByRole("button", { name: "Retry" }).click();
  expect(await answerAfter(page, asked)).toBe(`=${tinyGuestChecksum(sectorOf(0x3c))}`);
  await expect(alert).toBeHidden();
});

test("a base that changed is refused with both identities; reset takes the new one", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"first"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(60)}22`);
  await ask(page, "F");
  images.files.set("guest.qcow2", { bytes: await guestImage({ fill: 1, fillBytes: MIB }), etag: '"second"' });
  await page.reload();
  const alert = page.getByRole("alert");
  await expect(alert).toContainText('ETag "first"');
  await expect(alert).toContainText('ETag "second"');
  await expect(alert).toContainText("FILE_CHANGED");

  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export overlay" }).click();
  expect((await download).suggestedFilename()).toBe("guest-overlay.qcow2");

  await page.getByRole("button", { name: "Reset to the new base" }).click();
  await page.getByRole("button", { name: "Reset", exact: true }).click();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `R${hex(60)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0))}`);
  expect(await machines(page)).toHaveLength(1);
});

test("a full quota stops the machine; with room again nothing is lost", async ({ page, context, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage({ sizeBytes: 64 * MIB }) });
  const restore = await narrowQuota(page, context);
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  const asked = await tell(page, `${fillClusters("33")}F`);
  await waitForState(page, "error");
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("QUOTA_EXCEEDED");
  await expect(alert).toContainText("guest is stopped, and nothing is lost");
  const download = page.waitForEvent("download");
  await alert.getByRole("button", { name: "Export overlay" }).click();
  await download;

  await restore();
  await page.getByRole("button", { name: "Retry" }).click();
  expect(await answerAfter(page, asked, CLUSTERS.length + 1)).not.toContain("!");
  await waitForState(page, "running");
  await page.reload();
  await waitForSerial(page, BANNER);
  for (const sector of CLUSTERS) {
    expect(await ask(page, `R${hex(sector)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x33))}`);
  }
});

test("a commit that nobody waits for stops the machine as well when it fails", async ({
  page,
  context,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage({ sizeBytes: 64 * MIB }) });
  const restore = await narrowQuota(page, context);
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  const asked = await tell(page, fillClusters("44"));
  await waitForState(page, "error");
  await restore();
  await page.getByRole("button", { name: "Retry" }).click();
  await waitForState(page, "running");
  expect(await answerAfter(page, asked, CLUSTERS.length)).not.toContain("!");
});

test("a file that does not fit into the browser runs from where it is, and is copied once there is room", async ({
  page,
  context,
}) => {
  const restore = await narrowQuota(page, context);
  await page.goto("/");
  // A browser packs what it stores: only noise takes the room that it has.
  const noise = randomBytes(10 * MIB);
  await pick(page, { "guest.img": Buffer.concat([tinyGuestImage(MIB), noise]) });
  await waitForSerial(page, BANNER);
  await expect(page.getByText("guest.img could not be copied into this browser")).toBeVisible();
  await expect(page.getByText("QUOTA_EXCEEDED")).toBeVisible();
  expect(await ask(page, "Ehere\n")).toContain("here");

  await restore();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.waitForFunction(() => window.byre.machine?.copying?.progress.state === "copied");
  await page.reload();
  await waitForSerial(page, BANNER);
  const sector = noise.subarray(0, SECTOR_BYTES);
  expect(await ask(page, `R${hex(MIB / SECTOR_BYTES)}`)).toBe(`=${tinyGuestChecksum(sector)}`);
});

test("a link that makes no sense says what is wrong with it", async ({ page }) => {
  await page.goto("/#/run?image=javascript:alert(1)");
  await expect(page.getByRole("alert")).toContainText(
    "The image cannot come from javascript:alert(1): it is not an address of a file",
  );
  await page.goto("/#/machine/000000000000000000000000");
  await expect(page.getByRole("alert")).toContainText("This browser has no such machine");
});

/** Sectors in clusters of their own: together more than the narrow quota below has room for. */
const CLUSTERS = Array.from({ length: 40 }, (_, index) => 2048 + (index * 65536) / SECTOR_BYTES);

/** The tiny guest's commands that write a sector into each of them. */
function fillClusters(byte: string): string {
  return CLUSTERS.map((sector) => `W${hex(sector)}${byte}`).join("");
}
