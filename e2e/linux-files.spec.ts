import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { expect, pick, test, waitForSerial } from "./byre-test.ts";

const PROMPT = "linux:~# ";
const BOOT_MS = 90_000;

const missing = !existsSync("public/appliances/linux.qcow2");
test.skip(missing && process.env.CI !== "true", "the demo appliance is not built: npm run appliance");
test.setTimeout(2 * BOOT_MS);

test("files dropped on the gallery are read in Linux, from a CD", async ({ page }) => {
  const noise = randomBytes(300_001);
  await page.goto("/");
  await pick(page, { "a letter.txt": Buffer.from("from the host\n"), "noise.bin": noise });
  await page.getByRole("button", { name: "Start Linux with it" }).click();
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  await page.evaluate(() =>
    window.byre.machine?.serial.send(
      "mount /dev/sr0 /mnt && cat '/mnt/a letter.txt' && md5sum /mnt/noise.bin\n",
    ),
  );
  await waitForSerial(page, createHash("md5").update(noise).digest("hex"));
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).toContain("from the host\r\n");
});
