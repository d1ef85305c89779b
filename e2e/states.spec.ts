import type { Page } from "@playwright/test";
import { createMemoryFile, metadataOf, openQcow2 } from "../disk/index.ts";
import { tinyGuestChecksum } from "../emulator/testing/tiny-guest.ts";
import {
  answerAfter,
  ask,
  expect,
  exportedDisk,
  hex,
  machines,
  narrowQuota,
  openLink,
  pick,
  storedFiles,
  tell,
  test,
  waitForSerial,
} from "./byre-test.ts";
import { guestImage, sectorOf } from "./images.ts";
import {
  BYTE_NOW,
  BYTE_THEN,
  bytesOf,
  headlessGuest,
  SAVED_SECTOR,
  SAVED_WORDS,
  savedGuestImage,
  withHeader,
} from "./saved-images.ts";

const MIB = 1024 * 1024;
const BANNER = "tiny guest ready";
const READ = `R${hex(SAVED_SECTOR)}`;
const holds = (byte: number) => `=${tinyGuestChecksum(sectorOf(byte))}`;
const write = (byte: number) => `W${hex(SAVED_SECTOR)}${hex(byte, 2)}`;

/** Whether the machine on the page goes on from the saved state of `savedGuestImage`, and was not booted. */
async function expectGoesOn(page: Page): Promise<void> {
  const text = await page.evaluate(() => window.byre.machine?.serial.text() ?? "");
  expect(text.split(BANNER)).toHaveLength(2);
  expect(text).toContain(SAVED_WORDS);
}

test.describe("a link to a saved state", () => {
  test("starts a machine from it, over the base's disk as it was then", async ({ page, images }) => {
    images.files.set("guest.qcow2", { bytes: await savedGuestImage() });
    await openLink(page, `#/run?image=${images.url("guest.qcow2")}&snapshot=ready`);
    await expectGoesOn(page);
    expect(await ask(page, READ)).toBe(holds(BYTE_THEN));
    expect(await page.evaluate(() => window.byre.machine?.memoryMiB)).toBe(32);
    expect(await machines(page)).toMatchObject([{ name: "guest" }]);

    // Nothing was written: it starts from there again. Then it has a disk of its own, and boots that.
    await page.reload();
    await page.waitForFunction(() => window.byre.machine?.state === "running");
    await expectGoesOn(page);
    expect(await ask(page, write(0x33))).toMatch(/^=/);
    expect(await ask(page, "F")).toMatch(/^=/);
    await page.reload();
    await waitForSerial(page, BANNER);
    expect(await page.evaluate(() => window.byre.machine?.serial.text())).not.toContain(SAVED_WORDS);
    expect(await ask(page, READ)).toBe(holds(0x33));

    // The same link leads to it, a link to the image without the state too.
    for (const end of ["&snapshot=ready", ""]) {
      await page.goto("about:blank");
      await page.goto(`/#/run?image=${images.url("guest.qcow2")}${end}`);
      await waitForSerial(page, BANNER);
    }
    expect(await machines(page)).toHaveLength(1);
  });

  test("need not name it when the image does; another amount of memory boots", async ({ page, images }) => {
    const bytes = await savedGuestImage({ metadata: { "machine.snapshot": "ready" } });
    images.files.set("guest.qcow2", { bytes });
    await openLink(page, `#/run?image=${images.url("guest.qcow2")}&ephemeral=1`);
    await expectGoesOn(page);
    expect(await ask(page, READ)).toBe(holds(BYTE_THEN));
    expect(await machines(page)).toEqual([]);

    await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=48`);
    await waitForSerial(page, BANNER);
    expect(await page.evaluate(() => window.byre.machine?.memoryMiB)).toBe(48);
    expect(await ask(page, READ)).toBe(holds(BYTE_NOW));

    await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=40&snapshot=ready`);
    await expectGoesOn(page);
    expect(await page.evaluate(() => window.byre.machine?.memoryMiB)).toBe(32);
    await expect(page.getByText('The saved state "ready" has 32 MiB of memory')).toBeVisible();
  });

  test("that is not there says which there are, and makes no machine", async ({ page, images }) => {
    images.files.set("guest.qcow2", { bytes: await savedGuestImage() });
    await page.goto(`/#/run?image=${images.url("guest.qcow2")}&snapshot=steady`);
    const alert = page.getByRole("alert");
    await expect(alert).toContainText('has no snapshot "steady". It has "ready".');
    await expect(alert).toContainText("SNAPSHOT_NOT_FOUND");
    expect(await machines(page)).toEqual([]);
    expect(await storedFiles(page)).toBe(0);
  });

  test("of a base that changed is refused; a reset starts from the new one's", async ({ page, images }) => {
    images.files.set("guest.qcow2", { bytes: await savedGuestImage(), etag: '"first"' });
    await openLink(page, `#/run?image=${images.url("guest.qcow2")}&snapshot=ready`);
    await expectGoesOn(page);
    images.files.set("guest.qcow2", { bytes: await savedGuestImage(), etag: '"second"' });
    await page.reload();
    await expect(page.getByRole("alert")).toContainText("FILE_CHANGED");
    await page.getByRole("button", { name: "Reset to the new base" }).click();
    await page.getByRole("button", { name: "Reset", exact: true }).click();
    await page.waitForFunction(() => window.byre.machine?.state === "running");
    await expectGoesOn(page);
  });

  for (const [what, code, damage] of [
    ["damaged", "STATE_INVALID", (header: Uint8Array) => header.fill(0x5a, 0, 8)],
    [
      "of another emulator",
      "STATE_MISMATCH",
      (header: Uint8Array) => {
        const at = Buffer.from(header).indexOf("v86 ");
        header.set(Buffer.from("v99 "), at);
      },
    ],
  ] as const) {
    test(`that is ${what} says so, and its disk can be booted instead`, async ({ page, images }) => {
      images.files.set("guest.qcow2", { bytes: await withHeader(await savedGuestImage(), damage) });
      await page.goto(`/#/run?image=${images.url("guest.qcow2")}&snapshot=ready`);
      const start = page.getByRole("button", { name: "Start" });
      // Damage is met before there is anything to tell of the machine.
      if (code !== "STATE_INVALID") await start.click();
      await expect(page.getByRole("alert")).toContainText(code);
      expect(await machines(page)).toEqual([]);
      expect(await storedFiles(page)).toBe(0);

      await page.getByRole("button", { name: "Boot its disk instead" }).click();
      if (code === "STATE_INVALID") await start.click();
      await waitForSerial(page, BANNER);
      expect(await ask(page, READ)).toBe(holds(BYTE_THEN));
      // Though nothing was written, the state is not tried again.
      await page.reload();
      await waitForSerial(page, BANNER);
      expect(await machines(page)).toHaveLength(1);
    });
  }
});

test("states are saved, described, renamed, loaded and deleted, and the newest of a name is loaded", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await ask(page, write(0x31));
  const saved = await page.evaluate(async () => {
    const fractions: number[] = [];
    const kinds = new Set<string>();
    const machine = window.byre.machine;
    const end = machine?.onChange(() => kinds.add(machine.activity?.kind ?? "none"));
    const state = await machine?.save("one", {
      description: "before the change",
      onProgress: (fraction) => fractions.push(fraction),
    });
    end?.();
    return { state, last: fractions.at(-1), kinds: [...kinds] };
  });
  expect(saved).toMatchObject({ state: { name: "one" }, last: 1 });
  expect(saved.kinds).toEqual(expect.arrayContaining(["saving", "none"]));
  await ask(page, write(0x32));
  await page.evaluate(() => window.byre.machine?.save("two"));
  await ask(page, write(0x33));

  expect(await page.evaluate(() => window.byre.machine?.describeSnapshot("one"))).toMatchObject({
    name: "one",
    description: "before the change",
    hasState: true,
    configuration: { memoryMiB: 32 },
  });
  await page.evaluate(() =>
    window.byre.machine?.editSnapshot("one", { name: "first", description: "<b>text</b>" }),
  );
  const listed = await page.evaluate(() => window.byre.machine?.snapshots());
  expect(listed?.map(({ name }) => name)).toEqual(["first", "two"]);
  expect(listed?.[0]?.id).toBe(saved.state?.id);
  expect(await page.evaluate(() => window.byre.machine?.describeSnapshot("first"))).toMatchObject({
    description: "<b>text</b>",
  });

  await page.evaluate(() => window.byre.machine?.load("two"));
  expect(await ask(page, READ)).toBe(holds(0x32));
  await page.evaluate(() => window.byre.machine?.load("first"));
  expect(await ask(page, READ)).toBe(holds(0x31));
  await page.evaluate(() => window.byre.machine?.load("two", { diskOnly: true }));
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await ask(page, READ)).toBe(holds(0x32));
  await page.evaluate(() => window.byre.machine?.deleteSnapshot("two"));
  const refusal = await page.evaluate(() =>
    window.byre.machine?.load("two").then(
      () => "loaded",
      (error: { code: string }) => error.code,
    ),
  );
  expect(refusal).toBe("SNAPSHOT_NOT_FOUND");
});

test("two saves asked for at once, and a load, are done one after the other", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await ask(page, write(0x41));
  const names = await page.evaluate(async () => {
    const { machine } = window.byre;
    await Promise.all([machine?.save("a"), machine?.save("b"), machine?.load("a")]);
    return machine?.snapshots().map(({ name }) => name);
  });
  expect(names).toEqual(["a", "b"]);
  expect(await ask(page, READ)).toBe(holds(0x41));
});

test("a save that is called off leaves the image as it was", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  const outcome = await page.evaluate(async () => {
    const { machine } = window.byre;
    const end = machine?.onChange(() => machine.activity?.cancel?.());
    const code = await machine?.save("never").then(
      () => "saved",
      (error: { code: string }) => error.code,
    );
    end?.();
    return { code, snapshots: machine?.snapshots(), activity: machine?.activity };
  });
  expect(outcome).toEqual({ code: "CANCELLED", snapshots: [], activity: undefined });
  expect(await ask(page, READ)).toBe(holds(0));
  const overlay = createMemoryFile({ content: await exportedDisk(page) });
  const device = await openQcow2(overlay, { writable: false, backing: "none" });
  expect(device.snapshots).toEqual([]);
});

test("a quota that is full in the middle of a save leaves the image as it was", async ({
  page,
  context,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await savedGuestImage({ noiseBytes: 4 * MIB }) });
  const restore = await narrowQuota(page, context);
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&snapshot=ready`);
  await ask(page, write(0x51));
  await ask(page, "F");
  const save = (name: string) =>
    page.evaluate(
      (called) =>
        window.byre.machine?.save(called).then(
          () => "saved",
          (error: { code: string }) => error.code,
        ),
      name,
    );
  expect(await save("too much")).toBe("QUOTA_EXCEEDED");
  expect(await page.evaluate(() => window.byre.machine?.snapshots())).toEqual([]);
  // The guest runs on, as far as it gets: the browser counts what was deleted for a while yet.
  const asked = await tell(page, `${write(0x52)}F`);
  await restore();
  await page.waitForFunction(async () => {
    const { machine } = window.byre;
    if (machine?.state === "error") await machine.retry().catch(() => {});
    return machine?.state === "running" && machine.stats().dirtyBytes === 0;
  });
  expect(await answerAfter(page, asked, 2)).not.toContain("!");
  expect(await ask(page, READ)).toBe(holds(0x52));
  expect(await save("with room again")).toBe("saved");
  expect(await ask(page, write(0x53))).toMatch(/^=/);
  await page.evaluate(() => window.byre.machine?.load("with room again"));
  expect(await ask(page, READ)).toBe(holds(0x52));
});

test("a new machine is made of a saved state, and each goes its own way", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await savedGuestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&snapshot=ready`);
  await ask(page, write(0x61));
  await ask(page, "Ein the first\n");
  await page.evaluate(() => window.byre.machine?.save("fork"));
  await ask(page, write(0x62));
  const id = await page.evaluate(() => window.byre.machine?.startFromSnapshot("fork"));
  expect(await ask(page, READ)).toBe(holds(0x62));
  expect(await machines(page)).toHaveLength(2);
  const made = (await machines(page)).find((machine) => machine.id === id);
  expect(made).toMatchObject({ name: "guest fork", base: { name: "guest.qcow2" } });
  expect(made?.suspendedAt).toBeGreaterThan(0);

  await openLink(page, `#/machine/${id}`);
  expect(await page.evaluate(() => window.byre.machine?.name)).toBe("guest fork");
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).toContain("in the first");
  expect(await ask(page, READ)).toBe(holds(0x61));
  // What is behind the overlay is the base as the first machine has it.
  expect(await ask(page, `R${hex(0)}`)).not.toContain("!");
});

test("machines of one dropped file share it, and the last one takes it along", async ({ page }) => {
  await page.goto("/");
  const bytes = await guestImage();
  await page.evaluate(async (base64) => {
    const content = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    await window.byre.open(new File([content], "guest.qcow2"));
    await window.byre.machine?.save("fork");
    await window.byre.machine?.startFromSnapshot("fork");
  }, bytes.toString("base64"));
  // The base and two overlays.
  expect(await storedFiles(page)).toBe(3);
  await page.goto("/#/");
  for (const left of [2, 0]) {
    await page
      .getByRole("button", { name: /: more$/ })
      .last()
      .click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).last().click();
    await expect.poll(() => storedFiles(page)).toBe(left);
  }
});

test("an exported machine has its saved states, or its disk alone", async ({ page, images }) => {
  const base = await guestImage();
  images.files.set("guest.qcow2", { bytes: base });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await ask(page, write(0x71));
  await ask(page, `E${SAVED_WORDS}\n`);
  await page.evaluate(() => window.byre.machine?.save("here"));
  await ask(page, write(0x72));

  // Saved in the page, loaded in Node.
  const whole = createMemoryFile({ name: "overlay", content: await exportedDisk(page) });
  const hda = await openQcow2(whole, {
    writable: true,
    resolveBacking: async () => createMemoryFile({ name: "base", content: new Uint8Array(base) }),
  });
  const { machine, ask: askInNode } = await headlessGuest(hda, { startFrom: "here" });
  expect(machine.serial.text()).toContain(SAVED_WORDS);
  expect(await askInNode(READ)).toBe(holds(0x71));
  await machine.close();

  const alone = await exportedDisk(page, { snapshots: false });
  expect(alone.length).toBeLessThan(bytesOf(whole).length);
  const device = await openQcow2(createMemoryFile({ content: alone }), { writable: false, backing: "none" });
  expect(device.snapshots).toEqual([]);
  const sector = new Uint8Array(512);
  await device.read(SAVED_SECTOR * 512, sector);
  expect(sector).toEqual(sectorOf(0x72));
  // The copy that it was made of is gone: the overlay is all there is.
  expect(await storedFiles(page)).toBe(1);
});

test("what is exported of a machine over a snapshot never meets the base as it is now", async ({
  page,
  images,
}) => {
  const metadata = { "appliance.name": "Byre's guest", "machine.snapshot": "ready" };
  const base = await savedGuestImage({ metadata });
  images.files.set("guest.qcow2", { bytes: base });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}`);
  const overlay = Buffer.from(await exportedDisk(page));
  const file = createMemoryFile({ content: new Uint8Array(overlay) });
  const { header } = await openQcow2(file, { writable: false, backing: "none" });
  expect(header.backingName).toBe("guest@1.qcow2");
  expect([...metadataOf(header, "overlay")]).toEqual([["appliance.name", "Byre's guest"]]);
  await page.evaluate(() => window.byre.machine?.powerOff());

  // Both dropped, and both beside each other on a server.
  await page.goto("/#/");
  await pick(page, { "mine.qcow2": overlay, "guest.qcow2": base });
  await page.waitForFunction(() => window.byre.machine?.name === "Byre's guest 2");
  await waitForSerial(page, BANNER);
  expect(await ask(page, READ)).toBe(holds(BYTE_THEN));
  images.files.set("mine.qcow2", { bytes: overlay });
  for (let visit = 0; visit < 2; visit++) {
    await openLink(page, `#/run?image=${images.url("mine.qcow2")}&memory=32`);
    await waitForSerial(page, BANNER);
    expect(await ask(page, READ)).toBe(holds(BYTE_THEN));
  }
});
