import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { tinyGuestChecksum } from "../emulator/testing/tiny-guest.ts";
import { ask, expect, hex, machines, openLink, pick, test, waitForSerial } from "./byre-test.ts";
import { guestImage, sectorOf } from "./images.ts";

const BANNER = "tiny guest ready";

test("machines are listed with what they take, and renamed, reset and deleted after one question", async ({
  page,
}) => {
  await page.goto("/");
  await expect(page.getByText("None yet")).toBeVisible();
  await pick(page, { "guest.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(90)}66`);
  await ask(page, "F");
  await page.getByRole("button", { name: "Power off" }).click();
  await page.getByRole("alert").or(page.getByText("guest is off")).waitFor();
  await page.getByRole("button", { name: "All machines" }).first().click();
  const row = page.getByRole("region", { name: "Yours" }).getByRole("listitem");
  await expect(row).toContainText(/\d+ KiB here/);
  await expect(row).toContainText("used just now");
  await expect(row).toContainText("on guest.qcow2");

  const more = row.getByRole("button", { name: "guest: more" });
  await more.click();
  await row.getByRole("button", { name: "Rename" }).click();
  await row.getByRole("textbox").fill("My guest");
  await page.keyboard.press("Enter");
  await expect(row.getByRole("heading")).toHaveText("My guest");

  await row.getByRole("button", { name: "My guest: more" }).click();
  await row.getByRole("button", { name: "Reset to base" }).click();
  await row.getByRole("button", { name: "Reset", exact: true }).click();
  await expect(row.getByText("Reset My guest")).toBeHidden();
  await row.getByRole("button", { name: "Start My guest" }).click();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `R${hex(90)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0))}`);

  await page.getByRole("button", { name: "All machines" }).click();
  await row.getByRole("button", { name: "My guest: more" }).click();
  await row.getByRole("button", { name: "Delete" }).click();
  await expect(row.getByText("Delete My guest?")).toBeVisible();
  await row.getByRole("button", { name: "Keep" }).click();
  expect(await machines(page)).toHaveLength(1);
  await row.getByRole("button", { name: "My guest: more" }).click();
  await row.getByRole("button", { name: "Delete" }).click();
  await row.getByRole("button", { name: "Delete", exact: true }).click();
  await expect(page.getByText("None yet")).toBeVisible();
  expect(await machines(page)).toEqual([]);
});

test("a name that is being changed leaves the focus where the person puts it", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await page.getByRole("button", { name: "All machines" }).click();
  await page.getByRole("button", { name: "guest: more" }).click();
  await page.getByRole("button", { name: "Rename" }).click();
  const field = page.getByRole("textbox", { name: "New name for guest" });
  await expect(field).toBeFocused();
  const search = page.getByRole("searchbox");
  await search.click();
  await page.keyboard.type("guest");
  await expect(search).toHaveValue("guest");
  await expect(field).toHaveValue("guest");
});

test("the focus stays in a machine's row, and goes to the list when the row is gone", async ({ page }) => {
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.getByRole("button", { name: "All machines" }).first().click();
  const row = page.getByRole("region", { name: "Yours" }).getByRole("listitem");
  const more = row.getByRole("button", { name: "guest: more" });
  const choose = async (action: string) => {
    await more.press("Enter");
    await row.getByRole("button", { name: action }).press("Enter");
  };
  await choose("Rename");
  await expect(row.getByRole("textbox")).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(more).toBeFocused();
  await choose("Rename");
  await row.getByRole("textbox").fill("other");
  await page.keyboard.press("Enter");
  await expect(row.getByRole("button", { name: "other: more" })).toBeFocused();
  await row.getByRole("button", { name: "other: more" }).press("Enter");
  await row.getByRole("button", { name: "Rename" }).press("Enter");
  await row.getByRole("textbox").fill("guest");
  await page.keyboard.press("Enter");
  await expect(more).toBeFocused();

  await choose("Export");
  await row.getByRole("button", { name: "Not now" }).press("Enter");
  await expect(more).toBeFocused();
  await choose("Reset to base");
  await row.getByRole("button", { name: "Reset", exact: true }).press("Enter");
  await expect(more).toBeFocused();
  await choose("Delete");
  await row.getByRole("button", { name: "Keep" }).press("Enter");
  await expect(more).toBeFocused();
  await choose("Delete");
  await row.getByRole("button", { name: "Delete", exact: true }).press("Enter");
  await expect(page.getByText("None yet")).toBeVisible();
  await expect(page.getByRole("heading", { name: "Yours" })).toBeFocused();
});

test("a machine that is on takes the name it is given, in this tab or another", async ({ page, context }) => {
  const rename = async (tab: Page, from: string, to: string) => {
    await tab.getByRole("button", { name: `${from}: more` }).click();
    await tab.getByRole("button", { name: "Rename" }).click();
    await tab.getByRole("textbox", { name: `New name for ${from}` }).fill(to);
    await tab.keyboard.press("Enter");
    await expect(tab.getByRole("heading", { name: to })).toBeVisible();
  };
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage() });
  await waitForSerial(page, BANNER);
  await page.getByRole("button", { name: "All machines" }).click();
  await rename(page, "guest", "My guest");
  await page.getByRole("button", { name: "Go to My guest" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("My guest");
  await expect(page).toHaveTitle("My guest - Byre");
  await expect(page.getByTitle("My guest", { exact: true })).toBeVisible();

  const other = await context.newPage();
  await other.goto("/");
  await rename(other, "My guest", "Our guest");
  await expect(page).toHaveTitle("Our guest - Byre");
  await expect(page.getByTitle("Our guest", { exact: true })).toBeVisible();
  expect(await page.evaluate(() => window.byre.machine?.name)).toBe("Our guest");
});

test("an exported overlay is clean, and QEMU reads what the guest wrote", async ({ page, images }, info) => {
  test.skip(!hasQemu() && process.env.CI !== "true", "qemu-img is not installed");
  const base = await guestImage();
  images.files.set("guest.qcow2", { bytes: base });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32`);
  await waitForSerial(page, BANNER);
  await ask(page, `W${hex(200)}AB`);
  const exported = await page.evaluate(async () => {
    const blob = await window.byre.machine?.exportDisk({ flatten: false });
    return Array.from(new Uint8Array((await blob?.arrayBuffer()) ?? []));
  });
  expect(await page.evaluate(() => window.byre.machine?.state)).toBe("running");
  writeFileSync(info.outputPath("guest.qcow2"), base);
  writeFileSync(info.outputPath("overlay.qcow2"), Buffer.from(exported));
  const options = { cwd: info.outputDir, encoding: "utf8" } as const;
  expect(execFileSync("qemu-img", ["check", "overlay.qcow2"], options)).toContain("No errors");
  expect(
    execFileSync("qemu-io", ["-r", "-c", "read -P 0xab 102400 512", "overlay.qcow2"], options),
  ).toContain("read 512/512");
});

test("an appliance that was not built says how to build it", async ({ page }) => {
  await page.route("**/appliances/linux.qcow2", (route) => route.fulfill({ status: 404, body: "" }));
  await page.goto("/");
  await expect(page.getByText("Its file is not there")).toContainText("npm start");
  await expect(page.getByRole("button", { name: /Linux/ })).toHaveCount(0);
});

test("a dropped file is taken anywhere on the page", async ({ page }) => {
  await page.goto("/");
  const bytes = [...(await guestImage())];
  const transfer = await page.evaluateHandle((content) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(content)], "dropped.qcow2"));
    return data;
  }, bytes);
  await page.dispatchEvent("body", "dragover", { dataTransfer: transfer });
  await expect(page.getByText("Drop to run it")).toBeVisible();
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toMatchObject([{ name: "dropped" }]);
});

test("opening can be cancelled, and leaves nothing", async ({ page }) => {
  let fetchWasm = () => {};
  const held = new Promise<void>((resolve) => {
    fetchWasm = resolve;
  });
  await page.route("**/emulator/v86.wasm*", async (route) => {
    await held;
    await route.abort();
  });
  await page.goto("/");
  await pick(page, { "guest.qcow2": await guestImage() });
  await expect(page.getByRole("heading", { name: "Starting guest.qcow2" })).toBeVisible();
  await expect(page.getByRole("progressbar", { name: "Emulator" })).toBeVisible();
  await expect(page.getByText(/^0 bytes of 2\.0 MiB$/)).toBeVisible();
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByText("None yet")).toBeVisible();
  fetchWasm();
  expect(await machines(page)).toEqual([]);
});

test("the first page needs at most 150 KiB of script, asks nobody else, and does not move", async ({
  page,
  baseURL,
}) => {
  const scripts: Promise<Buffer>[] = [];
  const strangers: string[] = [];
  page.on("response", (response) => {
    if (!response.url().startsWith(`${baseURL}/`)) strangers.push(response.url());
    if (response.request().resourceType() === "script") scripts.push(response.body());
  });
  await page.goto("/");
  await expect(page.getByRole("heading", { name: "Appliances" })).toBeVisible();
  await page.waitForLoadState("networkidle");
  const sizes = (await Promise.all(scripts)).map((script) => gzipSync(script).length);
  expect(sizes.length).toBeGreaterThan(0);
  expect(sizes.reduce((total, size) => total + size, 0)).toBeLessThan(150 * 1024);
  expect(strangers).toEqual([]);
  const shift = await page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        new PerformanceObserver((list) => {
          resolve(
            list.getEntries().reduce((sum, entry) => sum + (entry as unknown as { value: number }).value, 0),
          );
        }).observe({ type: "layout-shift", buffered: true });
        // No shift at all gives no entry: two frames after the observer has started there is nothing to come.
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(0)));
      }),
  );
  expect(shift).toBeLessThan(0.01);
});

function hasQemu(): boolean {
  try {
    execFileSync("qemu-img", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
