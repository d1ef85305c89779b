import { existsSync } from "node:fs";
import type { Page } from "@playwright/test";
import { expect, test, waitForSerial } from "./byre-test.ts";

const PROMPT = "linux:~# ";
const BOOT_MS = 90_000;

const missing = !existsSync("public/appliances/linux.qcow2");
test.skip(missing && process.env.CI !== "true", "the demo appliance is not built: npm run appliance");
test.setTimeout(3 * BOOT_MS);

/** Runs a command in the guest, and waits for what it is to print. */
async function run(page: Page, command: string, expected: string): Promise<void> {
  await page.evaluate((line) => window.byre.machine?.serial.send(line), `${command}\n`);
  await waitForSerial(page, expected, { timeout: BOOT_MS });
}

test("a script gives Linux files, sends it online by the browser's fetch, and takes a file from it", async ({
  page,
  baseURL,
}) => {
  await page.goto("/");
  await page.evaluate(async () => {
    const machine = await window.byre.open("appliances/linux.qcow2", { unattended: true });
    await machine.network.set({ kind: "fetch" });
    await machine.insertFiles([new File(["the cow is in\n"], "cow.txt")], "files");
  });
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  await run(page, 'mount /dev/sr0 /mnt; cat /mnt/cow.txt; echo moun""ted', "mounted");
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).toContain("the cow is in");
  await run(page, "network", "192.168.86.100");

  const url = new URL("appliances/catalog.json", baseURL).href;
  const catalog = await (await fetch(url)).text();
  const get = `http_proxy=http://192.168.86.1 wget -q -O - ${url}`;
  await run(page, `${get} >/dev/ttyS1; echo go""ne`, "gone");
  const given = await page.evaluate(() => {
    const { output } = window.byre.machine ?? {};
    return output && new TextDecoder().decode(output.bytes());
  });
  expect(given).toBe(catalog);
  const { networkBytesIn = 0 } = (await page.evaluate(() => window.byre.machine?.stats())) ?? {};
  expect(networkBytesIn).toBeGreaterThan(catalog.length);

  await page.evaluate(() => window.byre.machine?.network.set({ kind: "relay", url: "ws://127.0.0.1:9/" }));
  await page.waitForFunction(() => window.byre.machine?.network.state === "failed");
});
