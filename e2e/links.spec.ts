import type { Page } from "@playwright/test";
import { tinyGuestChecksum } from "../emulator/testing/tiny-guest.ts";
import { violations } from "./accessibility-check.ts";
import { ask, expect, machines, openLink, storedFiles, test, waitForSerial } from "./byre-test.ts";
import { guestImage, SECTOR_BYTES, sectorOf } from "./images.ts";
import { SAVED_WORDS, savedGuestImage } from "./saved-images.ts";

const BANNER = "tiny guest ready";
const MIB = 1024 * 1024;
/** A sector of the second disk, and one that the guest writes to. */
const SECTOR = "00000900";

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

test("a link with other drives and a relay shows all of them, starts with them, and finds them again", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  images.files.set("data.qcow2", { bytes: await guestImage({ fill: 7, fillBytes: MIB }), etag: '"2"' });
  images.files.set("tools.iso", { bytes: Buffer.alloc(64 * 2048, 5), etag: '"3"' });
  images.files.set("boot.img", { bytes: Buffer.alloc(1440 * 1024), etag: '"4"' });
  const link =
    `/#/run?image=${images.url("guest.qcow2")}&hdb=${images.url("data.qcow2")}` +
    `&cdrom=${images.url("tools.iso")}&floppy=${images.url("boot.img")}&network=wss://relay.example/`;
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.setViewportSize({ width: 320, height: 640 });
  await page.goto(link);
  const main = page.getByRole("main");
  for (const shown of ["data.qcow2", "tools.iso", "boot.img"])
    await expect(main).toContainText(images.url(shown));
  await expect(main).toContainText("off until you allow it");
  await expect(main).toContainText("wss://relay.example/");
  expect(images.requests).not.toContain("data.qcow2");
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);

  await button(page, "Start").click();
  await waitForSerial(page, BANNER);
  expect(images.requests).toContain("tools.iso");
  await ask(page, "1\n");
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(7))}`);
  await ask(page, `W${SECTOR}2A`);
  await ask(page, "F");
  // Its own disk and the second one.
  expect(await storedFiles(page)).toBe(2);

  await page.reload();
  await waitForSerial(page, BANNER);
  await ask(page, "1\n");
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x2a))}`);
  await ask(page, "0\n");
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(new Uint8Array(SECTOR_BYTES))}`);
  const network = await page.evaluate(() => {
    const { settings, network } = window.byre.machine ?? {};
    return { offered: settings?.offeredNetwork, choice: network?.choice };
  });
  expect(network).toEqual({
    offered: { kind: "relay", url: "wss://relay.example/" },
    choice: { kind: "off" },
  });
  expect(sockets).toEqual([]);
  // The link leads to the same machine, and nothing is asked again.
  await page.goto("about:blank");
  await page.goto(link);
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toHaveLength(1);
});

test("another link to the same image leaves the machine that is there alone", async ({ page, images }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  images.files.set("tools.iso", { bytes: Buffer.alloc(64 * 2048), etag: '"2"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}`);
  await waitForSerial(page, BANNER);
  await page.goto("about:blank");
  await page.goto(`/#/run?image=${images.url("guest.qcow2")}&cdrom=${images.url("tools.iso")}`);
  await expect(page.getByRole("main")).toContainText(images.url("tools.iso"));
  await button(page, "All machines").click();
  expect(await machines(page)).toHaveLength(1);
  expect(images.requests).not.toContain("tools.iso");
});

test("a state saved with a second disk goes back with it, and makes a machine of its own", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  images.files.set("data.img", { bytes: Buffer.alloc(2 * MIB, 7), etag: '"2"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&hdb=${images.url("data.img")}`);
  await waitForSerial(page, BANNER);
  await ask(page, "1\n");
  await ask(page, `W${SECTOR}2A`);
  await page.evaluate(() => window.byre.machine?.save("then"));
  await ask(page, `W${SECTOR}55`);
  const id = await page.evaluate(() => window.byre.machine?.startFromSnapshot("then"));
  await page.evaluate(() => window.byre.machine?.load("then"));
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x2a))}`);

  await openLink(page, `#/machine/${id}`);
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x2a))}`);
  expect(await storedFiles(page)).toBe(4);
});

test("a second disk that the image's saved state does not know makes it boot, unless the link names the state", async ({
  page,
  images,
}) => {
  const metadata = { "machine.snapshot": "ready" };
  images.files.set("saved.qcow2", { bytes: await savedGuestImage({ metadata }), etag: '"1"' });
  images.files.set("data.img", { bytes: Buffer.alloc(2 * MIB, 7), etag: '"2"' });
  const link = `#/run?image=${images.url("saved.qcow2")}&hdb=${images.url("data.img")}&ephemeral=1`;
  await openLink(page, link);
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).not.toContain(SAVED_WORDS);
  await ask(page, "1\n");
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(7))}`);

  await openLink(page, `${link}&snapshot=ready`);
  await waitForSerial(page, SAVED_WORDS);
  await expect(page.getByText("the machine finds it after a reset")).toBeVisible();
});

test("a machine starts from its base's state again, but not over a second disk that was written to since", async ({
  page,
  images,
}) => {
  images.files.set("saved.qcow2", { bytes: await savedGuestImage(), etag: '"1"' });
  images.files.set("data.img", { bytes: Buffer.alloc(2 * MIB, 7), etag: '"2"' });
  await openLink(
    page,
    `#/run?image=${images.url("saved.qcow2")}&hdb=${images.url("data.img")}&snapshot=ready`,
  );
  await waitForSerial(page, SAVED_WORDS);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.reload();
  await waitForSerial(page, SAVED_WORDS);
  await page.evaluate(() => window.byre.machine?.reset());
  // The terminal still has what the state brought with it.
  await waitForSerial(page, BANNER, { times: 2 });
  await ask(page, "1\n");
  await ask(page, `W${SECTOR}2A`);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).not.toContain(SAVED_WORDS);
  await ask(page, "1\n");
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(0x2a))}`);
});

test("a machine that is reset has an empty second disk again; deleted, nothing of it stays", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  images.files.set("data.img", { bytes: Buffer.alloc(2 * MIB, 7), etag: '"2"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&hdb=${images.url("data.img")}`);
  await waitForSerial(page, BANNER);
  await ask(page, "1\n");
  await ask(page, `W${SECTOR}2A`);
  await button(page, "All machines").click();
  await button(page, "guest: more").click();
  await button(page, "Reset to base").click();
  await button(page, "Reset").click();
  await button(page, "Start guest").click();
  await waitForSerial(page, BANNER);
  await ask(page, "1\n");
  expect(await ask(page, `R${SECTOR}`)).toBe(`=${tinyGuestChecksum(sectorOf(7))}`);
  expect(await storedFiles(page)).toBe(2);

  await button(page, "All machines").click();
  await button(page, "guest: more").click();
  await button(page, "Delete").click();
  await button(page, "Delete").click();
  await expect.poll(() => machines(page)).toEqual([]);
  await expect.poll(() => storedFiles(page)).toBe(0);
});

test("a link whose drive cannot be filled keeps nothing; a kept machine does without its CD", async ({
  page,
  images,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  const link = `#/run?image=${images.url("guest.qcow2")}&hdb=${images.url("gone.qcow2")}`;
  await page.goto("/");
  const code = await page.evaluate(
    (target) =>
      window.byre
        .open(target, { unattended: true })
        .then(String, (error: Error & { code: string }) => error.code),
    link,
  );
  expect(code).toBe("NOT_FOUND");
  await expect.poll(() => storedFiles(page)).toBe(0);
  expect(await machines(page)).toEqual([]);

  images.files.set("tools.iso", { bytes: Buffer.alloc(64 * 2048), etag: '"2"' });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&cdrom=${images.url("tools.iso")}`);
  await waitForSerial(page, BANNER);
  images.files.delete("tools.iso");
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect(page.getByText("The CD tools.iso is not in its drive.")).toBeVisible();
});

for (const [what, link, says] of [
  ["a script in place of an image", "image=javascript:alert(1)", "it is not an address of a file"],
  [
    "a page in place of a CD",
    "image=a.qcow2&cdrom=data:text/html,<script>alert(1)</script>",
    "What the link puts into cdrom",
  ],
  ["an image inside the browser", "image=blob:http://127.0.0.1/1", "it is not an address of a file"],
  ["a password", "image=http://me:secret@127.0.0.1/a.qcow2", "holds a password"],
  ["an address without end", `image=http://127.0.0.1/${"a".repeat(200_000)}`, "200017 characters"],
  ["a NUL", "image=http://127.0.0.1/a%00b", "it is not an address of a file"],
  ["a relay that is none", "image=a.qcow2&network=javascript:alert(1)", "network=javascript:alert(1)"],
] as const)
  test(`a link with ${what} runs nothing, fetches nothing and says why`, async ({ page }) => {
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    let dialogs = 0;
    page.on("dialog", (dialog) => {
      dialogs++;
      void dialog.dismiss();
    });
    await page.goto(`/#/run?${link}`);
    await expect(page.getByRole("main")).toContainText(says);
    expect(await page.evaluate(() => window.byre.machine)).toBeUndefined();
    expect(asked.filter((url) => /a\.qcow2|aaaa|a%00b|:\/\/me/.test(url))).toEqual([]);
    expect(dialogs).toBe(0);
  });
