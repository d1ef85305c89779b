import type { Page } from "@playwright/test";
import { tinyGuestChecksum } from "../emulator/testing/tiny-guest.ts";
import { ask, expect, hex, openLink, waitForSerial } from "./byre-test.ts";
import type { ImageServer } from "./image-server.ts";
import { guestImage, sectorOf } from "./images.ts";

/** What the tiny guest says when it has booted. */
export const BANNER = "tiny guest ready";
const SECTOR = 100;

/** Boots the tiny guest from a link. */
export async function openGuest(page: Page, images: ImageServer, parameters = ""): Promise<void> {
  images.files.set("guest.qcow2", { bytes: await guestImage() });
  await openLink(page, `#/run?image=${images.url("guest.qcow2")}&memory=32${parameters}`);
  await waitForSerial(page, BANNER);
}

/** Presses a tool of the machine page that is in its menu. */
export async function fromMenu(page: Page, tool: string): Promise<void> {
  await page.getByRole("button", { name: "More", exact: true }).press("Enter");
  await page.getByRole("menuitem", { name: tool, exact: true }).press("Enter");
}

/** Opens the snapshots, and gives the panel. */
export async function openPanel(page: Page) {
  await page.getByRole("button", { name: "Snapshots", exact: true }).click();
  const panel = page.getByRole("complementary", { name: "Snapshots" });
  await expect(panel).toBeVisible();
  return panel;
}

/** Has the guest fill the one sector that these tests look at. */
export async function writeSector(page: Page, byte: number): Promise<void> {
  expect(await ask(page, `W${hex(SECTOR)}${hex(byte, 2)}`)).toMatch(/^=/);
}

/** What the guest answers when it reads that sector, to be held against `checksum`. */
export function readSector(page: Page): Promise<string> {
  return ask(page, `R${hex(SECTOR)}`);
}

export function checksum(byte: number): string {
  return `=${tinyGuestChecksum(sectorOf(byte))}`;
}
