import type { FrameLocator, Page } from "@playwright/test";
import { serveStatic } from "../scripts/serve-static.mjs";
import { violations } from "./accessibility-check.ts";
import { applianceImage } from "./appliance-images.ts";
import { test as base, expect } from "./byre-test.ts";
import { guestImage } from "./images.ts";

const BANNER = "tiny guest ready";

/** Where Byre is, and the pages of docs/examples on a server of their own: another origin. */
const test = base.extend<{ byre: string; examples: string }>({
  byre: ({ baseURL }, use) => use(baseURL ?? ""),
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the fixtures from this pattern
  examples: async ({}, use) => {
    const server = await serveStatic({ root: "docs/examples", port: 0 });
    await use(server.origin);
    await server.close();
  },
});

/** What is asked of the machine in the frame, from the page around it. */
function call(page: Page, method: string, ...params: unknown[]): Promise<unknown> {
  return page.evaluate(
    async ([name, values]) => {
      const frame = document.querySelector("iframe")?.contentWindow;
      if (!frame) throw new Error("no frame");
      const id = Math.random();
      const answer = new Promise<{ result?: unknown; error?: { code: string } }>((resolve) => {
        const hear = ({ data }: MessageEvent) => {
          if (data?.byre !== 1 || data.id !== id) return;
          removeEventListener("message", hear);
          resolve(data);
        };
        addEventListener("message", hear);
      });
      frame.postMessage({ byre: 1, id, method: name, params: values }, "*");
      const { result, error } = await answer;
      return error ? error.code : result;
    },
    [method, params] as const,
  );
}

function frameOf(page: Page): FrameLocator {
  return page.frameLocator("iframe");
}

async function openExample(page: Page, examples: string, byre: string, image: string): Promise<void> {
  await page.goto(`${examples}/embed.html?byre=${byre}/&image=${image}`);
}

test("the example page drives a machine of another site: what it writes, its state, its saved states", async ({
  page,
  images,
  examples,
  byre,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await openExample(page, examples, byre, images.url("guest.qcow2"));
  const frame = frameOf(page);
  await expect(page.locator("#state")).toHaveText("asking");
  await expect(frame.getByRole("main")).toContainText(images.url("guest.qcow2"));
  await expect(frame.getByRole("main")).toContainText(`${examples}, which can type into it`);
  await expect(frame.getByRole("main")).toContainText("Nothing it writes is kept.");
  expect(await call(page, "serial.text")).toBe("NOT_FOUND");
  await frame.getByRole("button", { name: "Start" }).click();

  await expect(page.locator("#state")).toHaveText("running");
  await expect(page.locator("#output")).toContainText(BANNER);
  await page.locator("#line").fill("Ehello there");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.locator("#output")).toContainText("hello there");

  await page.getByRole("button", { name: "Pause" }).click();
  await expect(page.locator("#state")).toHaveText("paused");
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(page.locator("#state")).toHaveText("running");
  await call(page, "save", "here", { description: "by the page around it" });
  expect(await call(page, "snapshots")).toMatchObject([{ name: "here" }]);
  await call(page, "load", "here");
  expect(await call(page, "describeSnapshot", "here")).toMatchObject({
    description: "by the page around it",
    hasState: true,
  });
  await call(page, "deleteSnapshot", "here");
  expect(await call(page, "snapshots")).toEqual([]);
  expect(await call(page, "stats")).toMatchObject({ bytesRead: expect.any(Number) });
  const isPicture = await page.evaluate(async () => {
    const frameWindow = document.querySelector("iframe")?.contentWindow;
    const picture = new Promise<unknown>((resolve) =>
      addEventListener("message", ({ data }) => data.id === "picture" && resolve(data.result)),
    );
    frameWindow?.postMessage({ byre: 1, id: "picture", method: "screen.screenshot" }, "*");
    return (await picture) instanceof Blob;
  });
  expect(isPicture).toBe(true);
  expect(await call(page, "powerOff")).toBeUndefined();
  await expect(page.locator("#state")).toHaveText("stopped");
  await call(page, "reset");
  await expect(page.locator("#state")).toHaveText("running");
});

test("a frame does nothing that is not in its list, and takes no odd parameters", async ({
  page,
  images,
  examples,
  byre,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await openExample(page, examples, byre, images.url("guest.qcow2"));
  await frameOf(page).getByRole("button", { name: "Start" }).click();
  await expect(page.locator("#output")).toContainText(BANNER);
  for (const [method, ...params] of [
    ["setSettings", { network: { kind: "fetch" } }],
    ["network.set", { kind: "fetch" }],
    ["close"],
    ["constructor"],
    ["__proto__"],
    ["toString"],
    ["serial.send"],
    ["serial.send", { toString: "x" }],
    ["serial.send", "x".repeat(2 * 1024 * 1024)],
    ["save", 7],
    ["save", "x".repeat(10_000)],
    ["load", "x", "diskOnly"],
    ["load", "x", { diskOnly: "yes" }],
    ["exportDisk", { flatten: 1 }],
    ["subscribe", "serial"],
    ["subscribe", ["everything"]],
  ])
    expect(await call(page, method as string, ...params), `${method}`).toBe("INVALID_ARGUMENT");
  expect(await call(page, "state")).toMatchObject({ state: "running" });
});

test("a page whose origin the link does not name is not heard", async ({ page, images, examples, byre }) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await page.goto(`${examples}/embed.html`);
  const link = `${byre}/#/run?image=${images.url("guest.qcow2")}&embed=1&origin=https://other.example`;
  await page.evaluate((address) => {
    document.querySelector("iframe")?.remove();
    const frame = document.createElement("iframe");
    frame.src = address;
    document.body.append(frame);
    addEventListener("message", ({ data }) => document.body.append(` heard ${JSON.stringify(data)}`));
  }, link);
  await expect(frameOf(page).getByRole("main")).toContainText("https://other.example, which can type");
  await frameOf(page).getByRole("button", { name: "Start" }).click();
  await expect(frameOf(page).getByRole("region", { name: "Screen" })).toBeVisible();

  const inside = page.frames().find((frame) => frame.url().startsWith(byre));
  await inside?.evaluate(() => addEventListener("message", () => document.body.append("received.")));
  await page.evaluate(() => {
    for (const method of ["state", "subscribe", "pause"])
      document.querySelector("iframe")?.contentWindow?.postMessage({ byre: 1, id: method, method }, "*");
  });
  await expect(frameOf(page).locator("body")).toContainText("received.received.received.");
  await inside?.evaluate(() => parent.postMessage("the last", "*"));
  await expect(page.locator("body")).toContainText('heard "the last"');
  await expect(page.locator("body")).not.toContainText("heard {");
  expect(await inside?.evaluate(() => window.byre.machine?.state)).toBe("running");
});

test("a machine in a frame is nobody's: it is not the kept one of the same image, and nothing stays", async ({
  page,
  images,
  byre,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  const image = images.url("guest.qcow2");
  await page.goto("/");
  await page.evaluate((url) => window.byre.open(`#/run?image=${url}`, { unattended: true }), image);
  await page.goto("about:blank");
  await page.goto(`${byre}/#/run?image=${image}&embed=1`);
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForFunction((text) => window.byre.machine?.serial.text().includes(text), BANNER);
  expect(await page.evaluate(() => window.byre.machine?.id)).toBeUndefined();
  expect(await page.evaluate(() => window.byre.machines())).toHaveLength(1);
  // The way to the whole page is the same link without the frame.
  const link = page.getByRole("link", { name: /^Byre/ });
  await expect(link).toHaveAttribute("href", `#/run?image=${image}`);
  await expect(link).toHaveAttribute("target", "_blank");
});

test("a licence is asked for in the frame; declined, nothing runs", async ({
  page,
  images,
  examples,
  byre,
}) => {
  const image = await applianceImage({
    "appliance.license": "You may run this.",
    "appliance.license-title": "Frame Licence",
    "machine.display": "terminal",
  });
  images.files.set("notes.qcow2", { bytes: image, etag: '"1"' });
  await openExample(page, examples, byre, images.url("notes.qcow2"));
  const frame = frameOf(page);
  await expect(frame.getByRole("region", { name: "Frame Licence" })).toContainText("You may run this.");
  await frame.getByRole("button", { name: "Decline" }).click();
  await expect(frame.getByRole("heading", { name: "Not started" })).toBeVisible();
  await expect(page.locator("#state")).toHaveText("closed");
  await frame.getByRole("button", { name: "Start" }).click();
  await frame.getByRole("button", { name: "Accept and start" }).click();
  await expect(page.locator("#state")).toHaveText("running");
  await expect(frame.getByRole("region", { name: "Serial terminal" })).toBeVisible();
  await expect(frame.getByRole("region", { name: "Screen" })).toBeHidden();
});

test("a frame of another site runs where such frames may store nothing", async ({
  page,
  images,
  examples,
  byre,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  await openExample(page, examples.replace("127.0.0.1", "localhost"), byre, images.url("guest.qcow2"));
  await frameOf(page).getByRole("button", { name: "Start" }).click();
  await expect(page.locator("#output")).toContainText(BANNER);
  const inside = page.frames().find((frame) => frame.url().startsWith(byre));
  const locks = () => navigator.locks.request("any", async () => "to be had").catch(({ name }) => name);
  expect(await inside?.evaluate(locks)).toBe("SecurityError");
});

test("an address that changes while the page begins gets no machine that nobody was asked about", async ({
  page,
  images,
  examples,
  byre,
}) => {
  images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
  const evil = `/#/run?image=${images.url("guest.qcow2")}&embed=1&origin=${examples}`;
  // What a page around it could do in that very moment.
  await page.addInitScript((hash) => {
    if (location.hash !== "#/run?image=appliances/linux.qcow2&embed=1") return;
    const open = indexedDB.open.bind(indexedDB);
    indexedDB.open = (...words) => {
      location.hash = hash;
      return open(...words);
    };
  }, evil.slice(1));
  await page.goto(`${examples}/embed.html`);
  await page.evaluate((address) => {
    document.querySelector("iframe")?.remove();
    const frame = document.createElement("iframe");
    frame.src = address;
    document.body.append(frame);
  }, `${byre}/#/run?image=appliances/linux.qcow2&embed=1`);
  await expect(frameOf(page).getByRole("button", { name: "Start" })).toBeVisible();
  expect(await call(page, "state")).toMatchObject({ state: "asking" });
  expect(await call(page, "serial.text")).toBe("NOT_FOUND");
});

test("a frame whose browser keeps nothing for it runs all the same", async ({ page, images }) => {
  await page.addInitScript(() => {
    const denied = {
      get: () => {
        throw new DOMException("Denied in a frame of another site.", "SecurityError");
      },
    };
    Object.defineProperty(window, "indexedDB", denied);
    Object.defineProperty(window, "localStorage", denied);
  });
  const image = await applianceImage({ "appliance.license": "You may run this." });
  images.files.set("notes.qcow2", { bytes: image, etag: '"1"' });
  await page.goto(`/#/run?image=${images.url("notes.qcow2")}&embed=1`);
  await page.getByRole("button", { name: "Accept and start" }).click();
  await page.waitForFunction((text) => window.byre.machine?.serial.text().includes(text), BANNER);
});

for (const colorScheme of ["light", "dark"] as const)
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme, viewport: { width: 320, height: 480 } });

    test("a frame of 320 pixels has no axe violations and is not wider", async ({ page, images }) => {
      images.files.set("guest.qcow2", { bytes: await guestImage(), etag: '"1"' });
      await page.goto(`/#/run?image=${images.url("guest.qcow2")}&embed=1&origin=https://other.example`);
      const check = async () => {
        expect(await violations(page)).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
      };
      await expect(page.getByRole("button", { name: "Start" })).toBeVisible();
      await check();
      await page.getByRole("button", { name: "Start" }).click();
      await expect(page.getByRole("region", { name: "Screen" })).toBeVisible();
      await check();
    });
  });
