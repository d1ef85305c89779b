import type { Page } from "@playwright/test";
import { violations } from "./accessibility-check.ts";
import { applianceImage, SMALL_PNG } from "./appliance-images.ts";
import { expect, machines, test, waitForSerial } from "./byre-test.ts";
import type { ImageServer } from "./image-server.ts";

const BANNER = "tiny guest ready";
const SCRIPT = "<script>window.stranger = 1</script><img src=x onerror='window.stranger = 1'>";
const MESSAGE = `# First steps

Press **Enter**, then read [the manual](https://example.org/manual) or [this](javascript:window.stranger=1).

- one
- two
`;

const NOTES = {
  "appliance.name": "Field Notes",
  "appliance.summary": "A small writing machine.",
  "appliance.vendor": "The Notes Company",
  "appliance.version": "2.1",
  "appliance.homepage": "https://example.org/notes",
  "appliance.icon": SMALL_PNG,
  "appliance.license": "You may run this.\n\nYou may not sell it.",
  "appliance.license-title": "Notes Licence",
  "appliance.message": MESSAGE,
  "machine.memory": "32",
  "our.own-key": SCRIPT,
};

/** Offers these images in the gallery, from a server of another origin. */
async function offer(page: Page, images: ImageServer, files: Record<string, Buffer>): Promise<void> {
  for (const [path, bytes] of Object.entries(files)) images.files.set(path, { bytes, etag: '"1"' });
  const catalog = Object.keys(files).map((path) => images.url(path));
  await page.route("**/appliances/catalog.json", (route) => route.fulfill({ json: catalog }));
}

function cards(page: Page) {
  return page.getByRole("region", { name: "Appliances" }).getByRole("listitem");
}

test("an image says what it is in the gallery and on its page, and starts from there", async ({
  page,
  images,
}) => {
  await offer(page, images, { "notes.qcow2": await applianceImage(NOTES) });
  await page.goto("/");
  const card = cards(page);
  await expect(card.getByRole("heading")).toHaveText("Field Notes");
  await expect(card).toContainText("A small writing machine.");
  await expect(card).toContainText(/up to \d+ KiB to fetch/);
  await expect(card.locator("canvas")).toBeVisible();

  await card.getByRole("link", { name: "About Field Notes" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/Field Notes$/);
  await expect(page).toHaveTitle("Field Notes - Byre");
  const main = page.getByRole("main");
  await expect(main).toContainText(images.url("notes.qcow2"));
  await expect(main).toContainText("The Notes Company");
  await expect(main).toContainText("32 MiB");
  await expect(main.getByRole("region", { name: "Notes Licence" }).last()).toContainText(
    "You may not sell it.",
  );
  await main.getByText("Everything this image says of itself").click();
  await expect(main.getByText("our.own-key")).toBeVisible();
  await expect(main.getByText(SCRIPT)).toBeVisible();

  await page.reload();
  await main.getByRole("button", { name: "Start" }).click();
  await page.getByRole("button", { name: "Accept and start" }).click();
  await waitForSerial(page, BANNER);
  expect(await machines(page)).toMatchObject([{ name: "Field Notes" }]);
});

test("a link in a message shows its address first, and only then opens it, on a click", async ({
  page,
  images,
}) => {
  await offer(page, images, { "notes.qcow2": await applianceImage(NOTES) });
  await page.goto(`/#/appliance?image=${images.url("notes.qcow2")}`);
  const section = page.getByRole("main").locator("section").first();
  await expect(section.getByRole("heading", { name: "First steps" })).toBeVisible();
  await expect(section.getByRole("link")).toHaveCount(0);
  // What is no address of the web is no link either.
  await expect(section).toContainText("[this](javascript:window.stranger=1)");
  await section.getByRole("button", { name: "the manual" }).click();
  await expect(section).toContainText("https://example.org/manual");
  const link = section.getByRole("link", { name: "Open in a new tab" });
  await expect(link).toHaveAttribute("href", "https://example.org/manual");
  await expect(link).toHaveAttribute("rel", /noopener noreferrer/);
  await page.context().route("https://example.org/**", (route) => route.fulfill({ body: "the manual" }));
  const opened = page.waitForEvent("popup");
  await link.click();
  expect((await opened).url()).toBe("https://example.org/manual");
});

test("fifty images are listed with fifty requests of 64 KiB, and found by what they say", async ({
  page,
  images,
}) => {
  const files: Record<string, Buffer> = {};
  for (let number = 0; number < 50; number++) {
    files[`${number}.qcow2`] = await applianceImage({
      "appliance.name": `Appliance ${49 - number}`,
      "appliance.summary": number === 17 ? "With an espresso machine" : "Like the others",
    });
  }
  await offer(page, images, files);
  await page.goto("/");
  await expect(cards(page)).toHaveCount(50);
  await expect(cards(page).first().getByRole("heading")).toHaveText("Appliance 49");
  // Only what is on the screen or near it was looked at.
  await page.waitForLoadState("networkidle");
  expect(images.requests.length).toBeLessThan(50);

  await page.getByLabel("Sort by").selectOption("Name");
  await expect(cards(page).first().getByRole("heading")).toHaveText("Appliance 0");
  await expect(cards(page).nth(10).getByRole("heading")).toHaveText("Appliance 10");
  await page.getByRole("searchbox").fill("ESPRESSO");
  await expect(cards(page)).toHaveCount(1);
  await expect(cards(page).getByRole("heading")).toHaveText("Appliance 32");
  // Who looks at one and comes back finds the search as it was.
  await cards(page).getByRole("link", { name: "About Appliance 32" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/Appliance 32$/);
  await page.goBack();
  await expect(page.getByRole("searchbox")).toHaveValue("ESPRESSO");
  await expect(cards(page)).toHaveCount(1);
  await page.getByRole("searchbox").fill("tea");
  await expect(page.getByText("None of the 50 says anything of “tea”.")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(cards(page)).toHaveCount(50);

  // One each, and one for the page that was opened.
  expect(new Set(images.requests).size).toBe(50);
  expect(images.requests).toHaveLength(51);
  expect(new Set(images.rangesAsked)).toEqual(new Set(["bytes=0-65535"]));
});

for (const width of [320, 768, 1440]) {
  test(`nothing moves while images say what they are, ${width} pixels wide`, async ({ page, images }) => {
    await page.setViewportSize({ width, height: 900 });
    await offer(page, images, {
      "long.qcow2": await applianceImage({
        "appliance.name": "A name that is longer than a card is wide ".repeat(2),
        "appliance.summary": "A sentence that goes on for longer than two lines. ".repeat(5),
        "appliance.icon": SMALL_PNG,
      }),
      "short.qcow2": await applianceImage({ "appliance.name": "Short" }),
      "none.qcow2": await applianceImage({}),
    });
    await page.addInitScript(() => {
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries() as (PerformanceEntry & { value: number })[])
          document.documentElement.dataset.moved = `${Number(document.documentElement.dataset.moved ?? 0) + entry.value}`;
      }).observe({ type: "layout-shift", buffered: true });
    });
    // The answers come after the cards are drawn.
    let answer = () => {};
    const drawn = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route("**/*.qcow2", async (route) => {
      await drawn;
      await route.continue();
    });
    await page.goto("/");
    await expect(cards(page)).toHaveCount(3);
    const heights = () =>
      cards(page).evaluateAll((all) => all.map((card) => card.getBoundingClientRect().height));
    const before = await heights();
    answer();
    await expect(cards(page).nth(1).getByRole("heading")).toHaveText("Short");
    await expect(cards(page).nth(2)).toContainText("says nothing about itself");
    expect(await heights()).toEqual(before);
    const moved = await page.evaluate(() => Number(document.documentElement.dataset.moved ?? 0));
    expect(moved).toBeLessThan(0.01);
  });
}

test("images that are missing, damaged or out of reach say so, and the others are there", async ({
  page,
  images,
}) => {
  const good = await applianceImage({ "appliance.name": "Good" });
  await offer(page, images, {
    "page.qcow2": Buffer.from("<!doctype html><p>Not found"),
    "cut.qcow2": good.subarray(0, 5000),
    "good.qcow2": good,
  });
  await page.goto("/");
  await expect(cards(page).nth(0)).toContainText("What the server sends is no disk image.");
  await expect(cards(page).nth(1)).toContainText("Its file is damaged");
  await expect(cards(page).nth(2).getByRole("button", { name: "Start Good" })).toBeVisible();
  await expect(cards(page).getByRole("button")).toHaveCount(1);
  await images.stop();
  await page.reload();
  await expect(cards(page).nth(2)).toContainText("cannot be reached");
  await images.start();
});

test("an empty catalogue and a broken one say what to do", async ({ page }) => {
  let body = "[]";
  await page.route("**/appliances/catalog.json", (route) => route.fulfill({ body }));
  await page.goto("/");
  await expect(page.getByText("None offered here")).toBeVisible();
  await expect(page.getByText("appliances/catalog.json")).toBeVisible();
  body = "{";
  await page.reload();
  await expect(page.getByText("cannot be read. It is no JSON.")).toBeVisible();
  body = '["javascript:alert(1)"]';
  await page.reload();
  await expect(page.getByText("One entry of appliances/catalog.json cannot be used")).toBeVisible();
});

test("script in every text of an image runs nowhere, and endless texts hold nothing up", async ({
  page,
  images,
}) => {
  const keys = [
    "name",
    "summary",
    "vendor",
    "version",
    "homepage",
    "icon",
    "license",
    "license-title",
    "message",
  ];
  const everywhere = Object.fromEntries(keys.map((key) => [`appliance.${key}`, `${SCRIPT}\u202e\u0007`]));
  const endless = Object.fromEntries(keys.map((key) => [`appliance.${key}`, `${key} `.repeat(12_000)]));
  const strangers: string[] = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/x")) strangers.push(request.url());
  });
  await offer(page, images, {
    "script.qcow2": await applianceImage(everywhere),
    "endless.qcow2": await applianceImage(endless),
    "svg.qcow2": await applianceImage({
      "appliance.name": "Drawn",
      "appliance.icon": `data:image/png;base64,${btoa("<svg xmlns='http://www.w3.org/2000/svg' onload='stranger = 1'/>")}`,
    }),
  });
  await page.goto("/");
  await expect(cards(page).nth(0).getByRole("heading")).toContainText("<script>");
  await expect(cards(page).nth(1).getByRole("heading")).toContainText("name name");
  await expect(cards(page).nth(2).getByRole("heading")).toHaveText("Drawn");
  await expect(cards(page).locator("canvas")).toHaveCount(0);
  expect(await violations(page)).toEqual([]);
  for (const path of ["script.qcow2", "endless.qcow2"]) {
    await page.goto(`/#/appliance?image=${images.url(path)}`);
    await expect(page.getByText("Everything this image says of itself")).toBeVisible();
    await page.getByText("Everything this image says of itself").click();
    expect(await violations(page)).toEqual([]);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wider).toBeLessThanOrEqual(0);
  }
  expect(await page.evaluate(() => "stranger" in window)).toBe(false);
  expect(strangers).toEqual([]);
});

for (const address of [
  "",
  "javascript:alert(1)",
  "data:text/html,x",
  "https://u:p@example.org/a",
  "https://",
]) {
  test(`an address that names no image says so: ${address || "none"}`, async ({ page }) => {
    await page.goto(`/#/appliance?image=${encodeURIComponent(address)}`);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("This address names no image");
    await page.getByRole("button", { name: "All machines" }).click();
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("Machines");
  });
}

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("an appliance's card and page have no axe violations and fit 320 pixels", async ({
      page,
      images,
    }) => {
      await page.setViewportSize({ width: 320, height: 640 });
      await offer(page, images, { "notes.qcow2": await applianceImage(NOTES) });
      await page.goto("/");
      await expect(cards(page).getByRole("heading")).toHaveText("Field Notes");
      expect(await violations(page)).toEqual([]);
      await cards(page).getByRole("link", { name: "About Field Notes" }).press("Enter");
      await page.getByRole("button", { name: "the manual" }).press("Enter");
      await expect(page.getByRole("link", { name: "Open in a new tab" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    });
  });
}
