import { createHash, randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
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
  await page.getByRole("button", { name: "Start Linux with them" }).click();
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  await page.evaluate(() =>
    window.byre.machine?.serial.send(
      "mount /dev/sr0 /mnt && cat '/mnt/a letter.txt' && md5sum /mnt/noise.bin\n",
    ),
  );
  await waitForSerial(page, createHash("md5").update(noise).digest("hex"));
  expect(await page.evaluate(() => window.byre.machine?.serial.text())).toContain("from the host\r\n");
});

test("Linux writes to a floppy that was dropped with it, and finds that again", async ({ page }, info) => {
  const floppy = info.outputPath("data.ima");
  writeFileSync(floppy, Buffer.alloc(1440 * 1024));
  await page.goto("/");
  await page.locator('input[type="file"]').setInputFiles(["public/appliances/linux.qcow2", floppy]);
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  const send = (line: string) => page.evaluate((text) => window.byre.machine?.serial.send(text), `${line}\n`);
  await send("modprobe floppy; echo kept-$((6*7)) | dd of=/dev/fd0 conv=sync && sync && echo written-$?");
  await waitForSerial(page, "written-0", { timeout: BOOT_MS });
  await page.evaluate(() => window.byre.machine?.powerOff());
  await page.reload();
  await waitForSerial(page, PROMPT, { timeout: BOOT_MS });
  await send("modprobe floppy; dd if=/dev/fd0 count=1 | tr -d '\\0'");
  await waitForSerial(page, "kept-42", { timeout: BOOT_MS });
});
