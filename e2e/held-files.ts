import type { Page } from "@playwright/test";

/** A slow disk: what is read of a file from `heldFrom` on comes once the test says so. Call it before the page is loaded. */
export async function holdFiles(page: Page, heldFrom: number): Promise<void> {
  await page.addInitScript((from) => {
    let letGo = () => {};
    const wait = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    Object.assign(window, { letGo });
    const { slice } = Blob.prototype;
    File.prototype.slice = function (start = 0, end, type) {
      const part = slice.call(this, start, end, type);
      if (start < from) return part;
      const whole = part.arrayBuffer.bind(part);
      part.arrayBuffer = () => wait.then(whole);
      return part;
    };
  }, heldFrom);
}

export function letGo(page: Page): Promise<void> {
  return page.evaluate(() => (window as unknown as { letGo: () => void }).letGo());
}
