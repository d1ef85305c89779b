import { existsSync } from "node:fs";
import { createIso } from "../disk/index.ts";
import { expect, openLink, test, waitForSerial } from "./byre-test.ts";

const PROMPT = "linux:~# ";
/** Seconds on a quiet machine. */
const START_MS = 60_000;

const missing = !existsSync("public/appliances/linux.qcow2");
test.skip(missing && process.env.CI !== "true", "the demo appliance is not built: npm run appliance");
test.setTimeout(3 * START_MS);

async function cd(): Promise<Buffer> {
  const words = new TextEncoder().encode("from the link\n");
  const iso = createIso([{ path: "hello.txt", content: words, mtimeMs: 0 }]);
  const bytes = Buffer.alloc(iso.sizeBytes);
  await iso.read(0, bytes);
  await iso.close();
  return bytes;
}

test("Linux goes on from its saved state with the CD of a link in its drive", async ({ page, images }) => {
  images.files.set("cd.iso", { bytes: await cd(), etag: '"1"' });
  await openLink(page, `#/run?image=appliances/linux.qcow2&cdrom=${images.url("cd.iso")}`);
  await waitForSerial(page, PROMPT, { timeout: START_MS });
  await page.evaluate(() => window.byre.machine?.serial.send("mount -r /dev/sr0 /mnt; cat /mnt/hello.txt\n"));
  await waitForSerial(page, "from the link\r\n", { timeout: START_MS });
  expect(await page.evaluate(() => window.byre.machine?.media.cdrom?.name)).toBe("cd.iso");
});
