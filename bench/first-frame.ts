import type { BrowserContext, Page } from "@playwright/test";

/** A start that waits for the network or boots takes longer; then something is wrong. */
const TIMEOUT_MS = 60_000;

/**
 * How long it takes from the click on an appliance until the machine's screen shows something, with all of it in the
 * browser's cache: in milliseconds, a figure a round. Every round makes a new machine.
 *
 * @param url of the page, with the demo appliance in its gallery.
 */
export async function measureFirstFrames(
  context: BrowserContext,
  url: string,
  rounds: number,
): Promise<number[]> {
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(url);
  const times: number[] = [];
  // The first start fills the cache.
  for (let round = 0; round <= rounds; round++) {
    await page.goto(url, { waitUntil: "networkidle" });
    await page.getByRole("button", { name: "Start Linux" }).waitFor();
    const time = await timeStart(page);
    if (round > 0) times.push(time);
    await page.goto("about:blank");
    await devtools.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb,local_storage" });
  }
  await page.close();
  return times;
}

async function timeStart(page: Page): Promise<number> {
  // A loop, and no function with a name: what compiles this gives those a helper that the page has not.
  const drawn = page.evaluate(async () => {
    let clickedAt: number | undefined;
    addEventListener(
      "click",
      () => {
        clickedAt = performance.now();
      },
      { capture: true, once: true },
    );
    for (;;) {
      await new Promise(requestAnimationFrame);
      const canvas = document.querySelector<HTMLCanvasElement>("[role=application] canvas");
      if (!canvas || canvas.width === 0 || canvas.height === 0 || clickedAt === undefined) continue;
      const picture = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data;
      // Red, green and blue of each point; its opacity says nothing.
      if (picture?.some((value, index) => index % 4 < 3 && value > 64)) return performance.now() - clickedAt;
    }
  });
  await page.getByRole("button", { name: "Start Linux" }).click();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the machine's screen stays dark")), TIMEOUT_MS);
  });
  try {
    return await Promise.race([drawn, late]);
  } finally {
    clearTimeout(timer);
  }
}
