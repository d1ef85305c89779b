import type { Page } from "@playwright/test";
import { violations } from "./accessibility-check.ts";
import { applianceImage } from "./appliance-images.ts";
import { expect, machines, pick, test, waitForSerial } from "./byre-test.ts";
import { BANNER, fromMenu, openGuest } from "./panel-steps.ts";

async function openSettings(page: Page) {
  await fromMenu(page, "Settings");
  const panel = page.getByRole("complementary", { name: "Settings" });
  await expect(panel).toBeVisible();
  return panel;
}

const memoryMiB = (page: Page) => page.evaluate(() => window.byre.machine?.memoryMiB);

test("memory changes with the next start, or at once with a restart, and stays changed", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  const panel = await openSettings(page);
  await panel.getByLabel("Memory", { exact: true }).selectOption("64 MiB");
  await expect(panel.getByText("The appliance has: 32 MiB")).toBeVisible();
  await expect(panel.getByText("Until then the machine runs with memory: 32 MiB.")).toBeVisible();
  expect(await memoryMiB(page)).toBe(32);

  await panel.getByRole("button", { name: "Restart now" }).click();
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await memoryMiB(page)).toBe(64);
  await expect(panel.getByText("A restart is needed")).toBeHidden();

  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await memoryMiB(page)).toBe(64);

  const again = await openSettings(page);
  await again.getByRole("button", { name: "Use the appliance's own settings" }).click();
  await expect(again.getByLabel("Memory", { exact: true })).toHaveValue("32");
  await page.getByRole("button", { name: "Reset", exact: true }).click();
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await memoryMiB(page)).toBe(32);
});

test("a saved state keeps the settings it was saved with, and the panel says so", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  await page.evaluate(() => window.byre.machine?.save("small"));
  await page.evaluate(() => window.byre.machine?.setSettings({ memoryMiB: 64 }));
  await page.evaluate(() => window.byre.machine?.reset());
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await memoryMiB(page)).toBe(64);

  await page.evaluate(() => window.byre.machine?.load("small"));
  expect(await memoryMiB(page)).toBe(32);
  const panel = await openSettings(page);
  await expect(panel.getByText("A snapshot keeps the settings it was saved with")).toBeVisible();
  await expect(panel.getByText("Until then the machine runs with memory: 32 MiB.")).toBeVisible();
  await panel.getByRole("button", { name: "Restart now" }).click();
  await page.waitForFunction(() => window.byre.machine?.memoryMiB === 64);
});

test("what the image says it wants is the appliance's own, and changes with it", async ({ page }) => {
  await page.goto("/");
  await pick(page, {
    "wish.qcow2": await applianceImage({ "machine.memory": "48", "machine.display": "terminal" }),
  });
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.settings.appliance)).toMatchObject({
    memoryMiB: 48,
    display: "terminal",
    network: { kind: "off" },
  });
  await page.evaluate(() =>
    window.byre.machine?.setAbout(
      new Map([
        ["machine.memory", "96"],
        ["machine.display", "terminal"],
      ]),
    ),
  );
  const panel = await openSettings(page);
  await expect(panel.getByLabel("Memory", { exact: true })).toHaveValue("96");
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await memoryMiB(page)).toBe(96);
});

test("what was set becomes the appliance's own, and stands in its image", async ({ page, images }) => {
  await openGuest(page, images);
  const panel = await openSettings(page);
  await panel.getByLabel("Memory", { exact: true }).selectOption("64 MiB");
  await panel.getByRole("button", { name: "Make these the appliance's own" }).click();
  await expect(panel.getByRole("button", { name: "Use the appliance's own settings" })).toBeDisabled();
  await expect(panel.getByRole("heading", { name: "Settings", exact: true })).toBeFocused();
  expect(await page.evaluate(() => window.byre.machine?.about().metadata.get("machine.memory"))).toBe("64");
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await memoryMiB(page)).toBe(64);
  expect(await page.evaluate(() => window.byre.machine?.settings.chosen)).toEqual({});
});

test("a machine that is thrown away can be changed and restarted, and leaves nothing", async ({
  page,
  images,
}) => {
  await openGuest(page, images, "&ephemeral=1");
  await page.evaluate(() => window.byre.machine?.setSettings({ memoryMiB: 64, acpi: false }));
  await page.evaluate(() => window.byre.machine?.reset());
  await waitForSerial(page, BANNER, { times: 2 });
  expect(await memoryMiB(page)).toBe(64);
  expect(await machines(page)).toEqual([]);
});

test("settings that cannot be are refused, and nothing changes", async ({ page, images }) => {
  await openGuest(page, images);
  const code = await page.evaluate(() =>
    window.byre.machine?.setSettings({ memoryMiB: 9999 }).catch((error: { code: string }) => error.code),
  );
  expect(code).toBe("INVALID_ARGUMENT");
  expect(await page.evaluate(() => window.byre.machine?.settings.chosen)).toEqual({});
});

const network = (page: Page) => page.evaluate(() => window.byre.machine?.network.choice);
/** Nobody answers there. */
const RELAY = "ws://127.0.0.1:9/";

test("a network that the image asks for is off until it is allowed, and then stays allowed", async ({
  page,
}) => {
  await page.goto("/");
  await pick(page, { "net.qcow2": await applianceImage({ "machine.network": "fetch" }) });
  await waitForSerial(page, BANNER);
  await expect(page.getByText("net wants to use the web, through this page.")).toBeVisible();
  expect(await violations(page)).toEqual([]);
  expect(await network(page)).toEqual({ kind: "off" });
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await network(page)).toEqual({ kind: "off" });

  await page.getByRole("button", { name: "Allow it" }).click();
  await expect.poll(() => network(page)).toEqual({ kind: "fetch" });
  await expect(page.getByText("A network is asked for")).toBeHidden();
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await network(page)).toEqual({ kind: "fetch" });
});

test("a relay that a link names is shown, and declined it stays off", async ({ page, images }) => {
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await openGuest(page, images, `&network=${encodeURIComponent(RELAY)}`);
  await expect(page.getByText(`wants to use the relay ${RELAY}.`)).toBeVisible();
  await page.getByRole("button", { name: "Leave it off" }).click();
  await expect(page.getByText("A network is asked for")).toBeHidden();
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect(page.getByText("A network is asked for")).toBeHidden();
  expect(await network(page)).toEqual({ kind: "off" });
  expect(sockets).toEqual([]);

  const panel = await openSettings(page);
  await expect(panel.getByRole("radio", { name: "Off" })).toBeChecked();
  await panel.getByRole("button", { name: "Allow it" }).click();
  await expect(panel.getByLabel("Address of the relay")).toHaveValue(RELAY);
  await expect.poll(() => sockets.length).toBeGreaterThan(0);
  await expect.poll(() => page.evaluate(() => window.byre.machine?.network.state)).toBe("failed");
  await panel.getByRole("radio", { name: "Off" }).check();
  await expect.poll(() => network(page)).toEqual({ kind: "off" });
});

test("an address that is no relay's is not taken", async ({ page, images }) => {
  await openGuest(page, images);
  const panel = await openSettings(page);
  await panel.getByRole("radio", { name: /^A relay/ }).check();
  await panel.getByLabel("Address of the relay").fill("https://example.org/");
  await panel.getByRole("button", { name: "Connect" }).click();
  await expect(panel.getByText("This is not the address of a relay.")).toBeVisible();
  expect(await network(page)).toEqual({ kind: "off" });
  expect(await violations(page)).toEqual([]);
});

test("the settings are read without a fault, in a narrow window too", async ({ page, images }) => {
  await openGuest(page, images);
  await openSettings(page);
  await expect(page.getByRole("heading", { name: "Settings", exact: true })).toBeFocused();
  expect(await violations(page)).toEqual([]);
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await violations(page)).toEqual([]);
  await page.setViewportSize({ width: 320, height: 640 });
  await expect.poll(() => page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("complementary", { name: "Settings" })).toBeHidden();
});
