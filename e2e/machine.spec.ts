import { tinyGuestChecksum } from "../emulator/testing/tiny-guest.ts";
import { ask, expect, hex, machines, openLink, test, waitForSerial, waitForState } from "./byre-test.ts";
import { guestImage, sectorOf } from "./images.ts";

const BANNER = "tiny guest ready";
const SECTOR = 100;

test("what a guest writes and flushes is there after a reload, by PIO and by DMA", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await expect(page).toHaveURL(/#\/machine\/[0-9a-f]{24}$/);
  expect(await ask(page, `W${hex(SECTOR)}5A`)).toMatch(/^=/);
  expect(await ask(page, `w${hex(SECTOR + 1)}A5`)).toMatch(/^=/);
  expect(await ask(page, "F")).toMatch(/^=/);
  const stats = await page.evaluate(() => window.byre.machine?.stats());
  expect(stats).toMatchObject({ dirtyBytes: 0, flushes: 1 });
  expect(stats?.commits).toBeGreaterThan(0);
  expect(stats?.httpRequests).toBeGreaterThan(0);

  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `R${hex(SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x5a))}`);
  expect(await ask(page, `r${hex(SECTOR + 1)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0xa5))}`);
  expect(await machines(page)).toMatchObject([{ name: "guest", base: { name: "guest.qcow2" } }]);
});

test("when the page hides, a commit is under way before the event is over", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(SECTOR)}77`);
  const committed = await page.evaluate(() => {
    let count = 0;
    const { commit } = IDBTransaction.prototype;
    IDBTransaction.prototype.commit = function () {
      count++;
      commit.call(this);
    };
    const dirtyBytes = window.byre.machine?.stats().dirtyBytes;
    window.dispatchEvent(new Event("pagehide"));
    return { count, dirtyBytes };
  });
  // Had the commit by timer come first, there would be nothing to do.
  expect(committed).toEqual({ count: 1, dirtyBytes: expect.any(Number) });
  expect(committed.dirtyBytes).toBeGreaterThan(0);
  await page.waitForFunction(() => window.byre.machine?.stats().dirtyBytes === 0);
});

test("a machine saved in the page goes on from there after a reload", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  expect(await ask(page, `W${hex(SECTOR)}5A`)).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.save("here"));
  expect(await ask(page, `W${hex(SECTOR)}A5`)).toMatch(/^=/);
  await page.reload();
  await waitForSerial(page, BANNER);
  const saved = await page.evaluate(() => window.byre.machine?.snapshots());
  expect(saved).toMatchObject([{ name: "here" }]);
  expect(saved?.[0]?.stateBytes).toBeGreaterThan(32 * 1024 * 1024);
  await page.evaluate(() => window.byre.machine?.load("here"));
  expect(await ask(page, `R${hex(SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x5a))}`);
  await page.evaluate(() => window.byre.machine?.deleteSnapshot("here"));
  expect(await page.evaluate(() => window.byre.machine?.snapshots())).toEqual([]);
});

test("a machine can be paused, reset, switched off and started again", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  const state = page.getByRole("status").filter({ hasText: /^(Running|Paused|Off)$/ });
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(state).toHaveText("Paused");
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(state).toHaveText("Running");
  await page.getByRole("button", { name: "Reset" }).click();
  await waitForSerial(page, BANNER, { times: 2 });
  await page.getByRole("button", { name: "Power off" }).click();
  await expect(page.getByText("guest is off. What it had written to its disk is kept.")).toBeVisible();
  // With the keyboard alone: what was pressed is gone each time.
  await expect(page.getByRole("button", { name: "Start again" })).toBeFocused();
  await page.keyboard.press("Enter");
  await waitForSerial(page, BANNER, { times: 3 });
  await expect(page.getByRole("application")).toBeFocused();
  expect(await ask(page, "Ehello\n")).toContain("hello");
});

test("the guest's own power-off ends at the same place", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await page.evaluate(() => window.byre.machine?.serial.send("P"));
  await expect(page.getByRole("button", { name: "Start again" })).toBeVisible();
});

test("a machine to throw away leaves nothing behind", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32&ephemeral=1`);
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(SECTOR)}5A`);
  await ask(page, "F");
  expect(await machines(page)).toEqual([]);
  await expect(page.getByText("Nothing is kept")).toBeVisible();
  await page.reload();
  // Nothing is remembered of it: the link of another site asks again.
  await page.getByRole("button", { name: "Start" }).click();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `R${hex(SECTOR)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0))}`);
});

test("a link opened again leads to the machine it made", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  const link = `/#/run?image=${images.url("guest.qcow2")}&memory=32`;
  for (let time = 0; time < 2; time++) {
    await page.goto("about:blank");
    await page.goto(link);
    if (time === 0) await page.getByRole("button", { name: "Start" }).click();
    await waitForSerial(page, BANNER);
  }
  // Also when it was opened by its own address.
  await page.reload();
  await waitForSerial(page, BANNER);
  const before = page.url();
  const session = await page.evaluateHandle(() => window.byre.machine);
  await page.evaluate((address) => location.assign(address), link);
  await expect(page).toHaveURL(before);
  expect(await session.evaluate((was) => was === window.byre.machine)).toBe(true);
  await waitForState(page, "running");
  expect(await machines(page)).toHaveLength(1);
});

test("one machine has one tab, and its lock goes with the tab", async ({ page, context, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  const second = await context.newPage();
  await second.goto(page.url());
  await expect(second.getByRole("alert")).toContainText("guest is open in another tab or window");
  await expect(second.getByRole("alert")).toContainText("IN_USE");
  await page.close();
  await second.getByRole("button", { name: "Try again" }).click();
  await waitForSerial(second, BANNER);
});

test("a second machine asks for the first one's place", async ({ page, images }) => {
  images.files.set("one.qcow2", { bytes: await guestImage() });
  images.files.set("two.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("one.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await page.goto(`/#/run?image=${images.url("two.qcow2")}&memory=32`);
  await expect(page.getByRole("heading", { name: "one is on in this tab" })).toBeVisible();
  await page.getByRole("button", { name: "Back to one" }).click();
  await waitForState(page, "running");
  expect(await page.evaluate(() => window.byre.machine?.name)).toBe("one");
  await page.goto(`/#/run?image=${images.url("two.qcow2")}&memory=32`);
  await page.getByRole("button", { name: "Switch it off and go on" }).click();
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "two");
  await waitForSerial(page, BANNER);
});

test("a machine that is started from the gallery asks for the place of the one that is on", async ({
  page,
  images,
}) => {
  images.files.set("one.qcow2", { bytes: await guestImage() });
  images.files.set("two.qcow2", { bytes: await guestImage() });
  for (const name of ["one", "two"]) {
    await openLink(page, `#/run?image=${images.url(`${name}.qcow2`)}&memory=32`);
    await waitForSerial(page, BANNER);
  }
  await page.getByRole("button", { name: "All machines" }).click();
  await page.getByRole("button", { name: "Start one" }).click();
  await expect(page.getByRole("heading", { name: "two is on in this tab" })).toBeVisible();
  await page.getByRole("button", { name: "Switch it off and go on" }).click();
  await page.waitForFunction(() => window.byre.machine?.name === "one");
  await waitForSerial(page, BANNER);
});

test("a machine goes on behind the gallery", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await page.getByRole("button", { name: "All machines" }).click();
  await expect(page.getByText("running in this tab")).toBeVisible();
  await ask(page, "Ealive\n");
  await page.getByRole("button", { name: "Go to guest" }).click();
  await expect(page.locator(".xterm-rows")).toContainText("alive");
  await expect(page.getByRole("application", { name: /Guest screen/ }).locator("canvas")).toBeVisible();
});
