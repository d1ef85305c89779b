import type { BrowserContext, Page } from "@playwright/test";
import { tinyGuestChecksum } from "../emulator/testing/tiny-guest.ts";
import { ask, expect, hex, machines, openLink, test, waitForSerial, waitForState } from "./byre-test.ts";
import { guestImage, sectorOf } from "./images.ts";

const BANNER = "tiny guest ready";
const SECTOR = 100;
const WORDS = "said before";
const READ = `R${hex(SECTOR)}`;
const holds = (byte: number) => `=${tinyGuestChecksum(sectorOf(byte))}`;
const write = (byte: number) => `W${hex(SECTOR)}${hex(byte, 2)}`;

/** A running machine with something on its disk and something said. */
async function start(page: Page, link: string): Promise<void> {
  await openLink(page, link);
  await waitForSerial(page, BANNER);
  expect(await ask(page, write(0x11))).toMatch(/^=/);
  await ask(page, `E${WORDS}\n`);
}

/** Whether the machine goes on with what it said before, and was not booted since. */
async function expectGoesOn(page: Page): Promise<void> {
  await waitForState(page, "running");
  const text = await page.evaluate(() => window.byre.machine?.serial.text() ?? "");
  expect(text).toContain(WORDS);
  expect(text.split(BANNER)).toHaveLength(2);
}

async function expectBooted(page: Page): Promise<void> {
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).not.toContain(WORDS);
}

/** Makes a minute of waiting for an autosave a second. */
async function hurryAutosaves(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    const plain = window.setInterval.bind(window);
    window.setInterval = ((work: () => void, delayMs?: number) =>
      plain(work, delayMs === 60_000 ? 1000 : delayMs)) as typeof window.setInterval;
  });
}

/** Switches autosaves on and waits for the first. */
async function autosaved(page: Page): Promise<void> {
  await page.evaluate(() => window.byre.machine?.setAutosaveMinutes(1));
  await page.waitForFunction(() => window.byre.machine?.snapshots().some(({ name }) => name === "autosave"));
  await page.evaluate(() => window.byre.machine?.setAutosaveMinutes(5));
  await page.waitForFunction(() => window.byre.machine?.activity === undefined);
}

test("a suspended machine goes on after a reload, and is not rolled back later", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await page.evaluate(() => window.byre.machine?.suspend());
  expect(await page.evaluate(() => [window.byre.machine?.state, window.byre.machine?.suspended])).toEqual([
    "stopped",
    true,
  ]);
  expect((await machines(page))[0]?.suspendedAt).toBeGreaterThan(0);

  const { url } = await page.evaluate(() => ({ url: `#/machine/${window.byre.machine?.id}` }));
  await page.goto("about:blank");
  await page.goto(`/${url}`);
  await page.waitForFunction(() => window.byre.machine !== undefined);
  await expectGoesOn(page);
  expect(await ask(page, READ)).toBe(holds(0x11));
  expect((await machines(page))[0]?.suspendedAt).toBeUndefined();

  // Switched off properly, it boots the disk it has now.
  expect(await ask(page, write(0x22))).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.goto("about:blank");
  await page.goto(`/${url}`);
  await expectBooted(page);
  expect(await ask(page, READ)).toBe(holds(0x22));
});

test("a suspended machine goes on in place, or is started again by a reset", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await page.evaluate(() => window.byre.machine?.suspend());
  await page.evaluate(() => window.byre.machine?.resume());
  await expectGoesOn(page);
  expect(await ask(page, write(0x33))).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.suspend());
  await page.evaluate(() => window.byre.machine?.reset());
  expect(await page.evaluate(() => window.byre.machine?.suspended)).toBe(false);
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await ask(page, READ)).toBe(holds(0x33));
  // One state of that name, however often it is suspended.
  const names = await page.evaluate(() => window.byre.machine?.snapshots().map(({ name }) => name));
  expect(names).toEqual(["suspended"]);
});

test("a suspended machine whose state was deleted boots its disk", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  const url = await page.evaluate(async () => {
    const { machine } = window.byre;
    await machine?.suspend();
    await machine?.deleteSnapshot("suspended");
    return `#/machine/${machine?.id}`;
  });
  expect(await page.evaluate(() => window.byre.machine?.suspended)).toBe(false);
  await page.goto("about:blank");
  await page.goto(`/${url}`);
  await expectBooted(page);
  expect(await ask(page, READ)).toBe(holds(0x11));
});

test("a machine to throw away cannot be suspended, and says why", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32&ephemeral=1`);
  const refusal = await page.evaluate(() =>
    window.byre.machine?.suspend().then(
      () => "suspended",
      (error: Error) => error.message,
    ),
  );
  expect(refusal).toContain("is thrown away when you leave");
  await waitForState(page, "running");
  // Saving and loading it is another matter: that lasts as long as it does.
  await page.evaluate(() => window.byre.machine?.save("here"));
  expect(await ask(page, write(0x44))).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.load("here"));
  expect(await ask(page, READ)).toBe(holds(0x11));
});

test("a save that is called off in a suspend lets the machine run on", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  const code = await page.evaluate(() => {
    const { machine } = window.byre;
    const end = machine?.onChange(() => machine.activity?.cancel?.());
    return machine
      ?.suspend()
      .then(
        () => "suspended",
        (error: { code: string }) => error.code,
      )
      .finally(end);
  });
  expect(code).toBe("CANCELLED");
  await waitForState(page, "running");
  expect(await page.evaluate(() => window.byre.machine?.suspended)).toBe(false);
  expect(await ask(page, READ)).toBe(holds(0x11));
});

for (const [answer, byte] of [
  ["Go on from there", 0x11],
  ["Boot its disk", 0x22],
] as const) {
  test(`after a tab was closed the person is asked: "${answer}"`, async ({ page, context, images }) => {
    await hurryAutosaves(context);
    images.files.set("guest.qcow2", { bytes: await guestImage() });
    await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
    await autosaved(page);
    expect(await ask(page, write(0x22))).toMatch(/^=/);
    expect(await ask(page, "F")).toMatch(/^=/);
    const url = page.url();
    await page.close();

    const again = await context.newPage();
    await again.goto(url);
    await again.getByRole("button", { name: answer, exact: true }).click();
    if (answer === "Boot its disk") await expectBooted(again);
    else await expectGoesOn(again);
    expect(await ask(again, READ)).toBe(holds(byte));

    // Switched off this time: nobody asks.
    await again.evaluate(() => window.byre.machine?.powerOff());
    await again.reload();
    await expectBooted(again);
    expect(await ask(again, READ)).toBe(holds(byte));
  });
}

test("a guest that switched itself off is not asked about", async ({ page, context, images }) => {
  await hurryAutosaves(context);
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await autosaved(page);
  await page.evaluate(() => window.byre.machine?.serial.send("P"));
  await waitForState(page, "stopped");
  // What the record says reaches the library before the reload.
  await page.evaluate(() => window.byre.machine?.flush());
  await page.reload();
  await expectBooted(page);
});

test("a script is not asked, and goes on from the last state", async ({ page, context, images }) => {
  await hurryAutosaves(context);
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await start(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await autosaved(page);
  expect(await ask(page, write(0x22))).toMatch(/^=/);
  const link = await page.evaluate(() => `#/machine/${window.byre.machine?.id}`);
  await page.goto("about:blank");
  await openLink(page, link);
  await expectGoesOn(page);
  expect(await ask(page, READ)).toBe(holds(0x11));

  // A crash right after going on leads to the same state again, not to a boot.
  await page.goto("about:blank");
  await openLink(page, link);
  await expectGoesOn(page);
});

test("how often a machine saves itself is kept with it", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.autosaveMinutes)).toBe(5);
  await page.evaluate(() => window.byre.machine?.setAutosaveMinutes(15));
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.autosaveMinutes)).toBe(15);
});
