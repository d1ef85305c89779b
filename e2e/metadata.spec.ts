import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { createMemoryFile, METADATA_MAGIC, openQcow2 } from "../disk/index.ts";
import { violations } from "./accessibility-check.ts";
import { applianceImage } from "./appliance-images.ts";
import { ask, expect, exportedDisk, machines, pick, test, waitForSerial } from "./byre-test.ts";
import type { ImageServer } from "./image-server.ts";
import { guestImage } from "./images.ts";
import { BANNER, fromMenu } from "./panel-steps.ts";

const project = join(import.meta.dirname, "..");

function byre(...words: string[]): string {
  return execFileSync(
    process.execPath,
    ["--import", "tsx", join(project, "emulator/cli/main.ts"), ...words],
    {
      cwd: project,
      encoding: "utf8",
    },
  );
}

function hasQemu(): boolean {
  try {
    execFileSync("qemu-img", ["--version"]);
    return true;
  } catch {
    return false;
  }
}

test("what the page's form writes is read by the command line, and lives through what QEMU does to the file", async ({
  page,
}, info) => {
  test.skip(!hasQemu() && process.env.CI !== "true", "qemu-img is not installed");
  await page.goto("/");
  await pick(page, { "plain.qcow2": await applianceImage({ "our.key": "stays" }) });
  await waitForSerial(page, BANNER);
  await fromMenu(page, "About");
  const panel = page.getByRole("complementary");
  await panel.getByRole("button", { name: "Edit" }).click();
  await panel.getByLabel("Name", { exact: true }).fill("Field Notes");
  await panel.getByLabel("What it is, in a sentence").fill("A small writing machine: \u{1f42e} \u00e9.");
  await panel.getByLabel("Licence", { exact: true }).fill("You may run this.\n\nYou may not sell it.");
  await panel.getByRole("button", { name: "Save" }).click();
  await expect(panel.getByRole("heading", { name: "Field Notes" })).toBeVisible();

  const path = info.outputPath("exported.qcow2");
  writeFileSync(path, await exportedDisk(page, { flatten: true }));
  const said = byre("meta", "export", path);
  expect(JSON.parse(said)).toEqual({
    "our.key": "stays",
    "appliance.name": "Field Notes",
    "appliance.summary": "A small writing machine: \u{1f42e} \u00e9.",
    "appliance.license": "You may run this.\n\nYou may not sell it.",
  });
  for (const words of [
    ["amend", "-o", "lazy_refcounts=on", path],
    ["rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", path],
    ["rebase", "-u", "-b", "", path],
    ["resize", path, "+1M"],
    ["snapshot", "-c", "one", path],
    ["snapshot", "-a", "one", path],
    ["snapshot", "-d", "one", path],
    ["check", "-r", "all", path],
  ])
    execFileSync("qemu-img", words);
  expect(byre("meta", "export", path)).toBe(said);
});

test("an author says from which snapshot it begins, and the file alone begins there", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "plain.qcow2": await applianceImage({}) });
  await waitForSerial(page, BANNER);
  await ask(page, "Ebefore\n");
  await page.evaluate(() => window.byre.machine?.save("ready"));
  await fromMenu(page, "About");
  const panel = page.getByRole("complementary");
  await panel.getByRole("button", { name: "Edit" }).click();
  await panel.getByLabel("Name", { exact: true }).fill("Quick");
  await panel.getByLabel("Where it begins for others").selectOption("ready");
  await panel.getByRole("button", { name: "Save" }).click();
  await expect(panel.getByRole("heading", { name: "Quick" })).toBeVisible();
  const file = Buffer.from(await exportedDisk(page, { flatten: true }));

  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.getByRole("button", { name: "All machines" }).click();
  await pick(page, { "quick.qcow2": file });
  await page.waitForFunction(() => window.byre.machine?.state === "running");
  await expect(page.getByRole("heading", { name: "quick", level: 1 })).toBeAttached();
  expect(await ask(page, "Ehere\n")).toContain("here");
  // It goes on with what its terminal showed then.
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).toContain("before");
});

/** An image whose extension has these bytes. */
async function imageWith(data: Uint8Array<ArrayBuffer>): Promise<Buffer<ArrayBuffer>> {
  const file = createMemoryFile({ name: "image", content: new Uint8Array(await guestImage()) });
  const device = await openQcow2(file, { writable: true });
  await device.changeHeader({ extensions: (present) => [...present, { magic: METADATA_MAGIC, data }] });
  await device.flush();
  const bytes = Buffer.alloc(file.sizeBytes);
  await file.read(0, bytes);
  await device.close();
  return bytes;
}

/** The extension's data: a head, and what is stored. */
function extension(version: number, compression: number, plainBytes: number, stored: Uint8Array) {
  const data = Buffer.alloc(8 + stored.length);
  data.set([version, compression]);
  data.writeUInt32BE(plainBytes >>> 0, 4);
  data.set(stored, 8);
  return new Uint8Array(data);
}

/** Offers one image in the gallery, from a server of another origin. */
async function offer(page: Page, images: ImageServer, bytes: Buffer) {
  images.files.set("a.qcow2", { bytes, etag: '"1"' });
  await page.route("**/appliances/catalog.json", (route) => route.fulfill({ json: [images.url("a.qcow2")] }));
  await page.goto("/");
  return page.getByRole("region", { name: "Appliances" }).getByRole("listitem");
}

const NAME = Buffer.from("appliance.name\0Liar\0");
const BOMB = Buffer.alloc(24 * 1024 * 1024);

for (const [what, data] of [
  ["a plain length of 4 GiB", extension(1, 0, 0xffffffff, NAME)],
  ["a plain length that is too short", extension(1, 0, 5, NAME)],
  ["a packed text far longer than it says", extension(1, 1, 20, deflateRawSync(BOMB))],
  ["a packed text of 24 MiB", extension(1, 1, BOMB.length, deflateRawSync(BOMB))],
  ["a packed text that is noise", extension(1, 1, 100, Buffer.alloc(500, 0xff))],
  ["a version nobody knows", extension(9, 0, NAME.length, NAME)],
  ["no end", extension(1, 0, 3, Buffer.from("a\0b"))],
  ["nothing but a head cut short", new Uint8Array([1, 0, 0])],
] as const) {
  test(`a description with ${what} is left out and said to be, and the machine starts`, async ({
    page,
    images,
  }) => {
    const card = await offer(page, images, await imageWith(data));
    await expect(card).toContainText("What it says of itself");
    await expect(card).not.toContainText("Liar");
    await card.getByRole("button", { name: /^Start/ }).click();
    await waitForSerial(page, BANNER);
    expect(await machines(page)).toHaveLength(1);
    await fromMenu(page, "About");
    await expect(
      page
        .getByText("What the image says of itself cannot be read")
        .or(page.getByText("Its image says nothing of itself yet.")),
    ).toBeVisible();
  });
}

const KEYS = [
  ...["name", "summary", "version", "vendor", "homepage", "icon", "license", "license-title", "message"].map(
    (key) => `appliance.${key}`,
  ),
  ...["memory", "vga-memory", "boot", "acpi", "network", "display", "snapshot"].map(
    (key) => `machine.${key}`,
  ),
  "boot.prefetch",
];

for (const [kind, address] of [
  ["javascript:", "javascript:window.stranger=1"],
  ["data:", "data:text/html,<script>top.stranger=1</script>"],
  ["blob:", "blob:https://example.org/0"],
] as const) {
  test(`a ${kind} address in every key is text, leads nowhere, and the machine starts`, async ({
    page,
    images,
  }) => {
    const card = await offer(
      page,
      images,
      await applianceImage(Object.fromEntries(KEYS.map((key) => [key, address]))),
    );
    await expect(card).toContainText(kind);
    await expect(card.locator("canvas, img")).toHaveCount(0);
    await page.goto(`/#/appliance?image=${images.url("a.qcow2")}`);
    await page.getByText("Everything this image says of itself").click();
    expect(await addresses(page)).toEqual([]);
    expect(await violations(page)).toEqual([]);

    await page.goto(`/#/run?image=${images.url("a.qcow2")}`);
    await expect(page.getByRole("heading", { level: 1 })).toContainText(kind);
    expect(await addresses(page)).toEqual([]);
    await page
      .getByRole("button", { name: "Accept and start", exact: true })
      .or(page.getByRole("button", { name: "Start", exact: true }))
      .click();
    await waitForSerial(page, BANNER);
    expect(await page.evaluate(() => window.byre.machine?.settings)).toMatchObject({
      appliance: { memoryMiB: 128, bootOrder: "disk", acpi: true, display: "both" },
      chosen: {},
    });
    expect(await page.evaluate(() => window.byre.machine?.settings.offeredNetwork)).toBeUndefined();
    expect(await addresses(page)).toEqual([]);
    expect(await page.evaluate(() => "stranger" in window)).toBe(false);
  });
}

/** Whatever on the page a browser would follow to an address that is no web address. */
function addresses(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll("[href], [src], [action], [data], [srcdoc], [formaction]")]
      .flatMap((element) => [...element.attributes])
      .filter(({ name }) => ["href", "src", "action", "data", "srcdoc", "formaction"].includes(name))
      .map(({ value }) => value)
      .filter((value) => /^\s*(javascript|data|blob):/i.test(value)),
  );
}
