import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, statSync, writeFileSync, writeSync } from "node:fs";
import { hasQemu, qemuImg, qemuIo } from "../disk/testing/qemu.ts";
import { tinyGuestChecksum, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";
import { ask, expect, hex, test, waitForSerial, waitForState } from "./byre-test.ts";
import { SECTOR_BYTES, sectorOf } from "./images.ts";
import { fromMenu } from "./panel-steps.ts";

const BANNER = "tiny guest ready";
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** Where the disk has something, beside the guest: at its start, in the middle, at its end. */
const FILLED = [4 * MIB, GIB, 2 * GIB - 8 * MIB];
/** Where the guest writes while it is being imported. */
const WRITTEN = [4 * MIB + SECTOR_BYTES, GIB + 12 * MIB, 2 * GIB - MIB].map(
  (offset) => offset / SECTOR_BYTES,
);

test("a 2 GiB image is dropped, runs during its import, and is exported as the guest left it", async ({
  page,
}, info) => {
  test.skip(!hasQemu && process.env.CI !== "true", "needs qemu-utils");
  test.setTimeout(300_000);
  // Every cluster has its place in the file, which is as long as the disk; most of them are holes on this computer.
  const image = info.outputPath("large.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", image, "2G");
  const guest = info.outputPath("guest.bin");
  writeFileSync(guest, tinyGuestImage(64 * 1024));
  const noise = info.outputPath("noise.bin");
  writeFileSync(noise, randomBytes(4 * MIB));
  qemuIo(image, [
    `write -q -s ${guest} 0 64k`,
    ...FILLED.map((offset) => `write -q -s ${noise} ${offset} 4M`),
  ]);
  expect(statSync(image).size).toBeGreaterThan(2 * GIB);
  const wanted = info.outputPath("wanted.raw");
  qemuImg("convert", "-O", "raw", image, wanted);
  const before = sectorOfFile(wanted, WRITTEN[0] ?? 0);

  await page.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined }));
  await page.goto("/");
  await page.locator('input[type="file"]').setInputFiles(image);
  await waitForSerial(page, BANNER);
  expect(await page.evaluate(() => window.byre.machine?.copying?.progress.state)).toBe("copying");
  expect(await ask(page, `r${hex(WRITTEN[0] ?? 0)}`)).toBe(`=${tinyGuestChecksum(before)}`);
  for (const [index, sector] of WRITTEN.entries())
    expect(await ask(page, `w${hex(sector)}${hex(0xa0 + index, 2)}`)).toMatch(/^=/);
  await page.waitForFunction(() => window.byre.machine?.copying?.progress.state === "copied", undefined, {
    timeout: 200_000,
  });
  await waitForState(page, "running");
  for (const [index, sector] of WRITTEN.entries())
    expect(await ask(page, `r${hex(sector)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0xa0 + index))}`);

  await fromMenu(page, "Export");
  const panel = page.getByRole("complementary", { name: "Export" });
  const [download] = await Promise.all([
    page.waitForEvent("download", { timeout: 200_000 }),
    panel.getByRole("button", { name: "Export", exact: true }).click(),
  ]);
  const exported = info.outputPath("exported.qcow2");
  await download.saveAs(exported);
  const file = openSync(wanted, "r+");
  for (const [index, sector] of WRITTEN.entries())
    writeSync(file, sectorOf(0xa0 + index), 0, SECTOR_BYTES, sector * SECTOR_BYTES);
  closeSync(file);
  expect(qemuImg("check", exported)).toContain("No errors");
  expect(qemuImg("compare", "-f", "qcow2", "-F", "raw", exported, wanted)).toContain("Images are identical");

  // The copy is whole: the file is not needed any more.
  await page.reload();
  await waitForSerial(page, BANNER);
  expect(await ask(page, `r${hex(WRITTEN[2] ?? 0)}`)).toBe(`=${tinyGuestChecksum(sectorOf(0xa2))}`);
});

function sectorOfFile(path: string, sector: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const file = openSync(path, "r");
  readSync(file, bytes, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
  closeSync(file);
  return bytes;
}
