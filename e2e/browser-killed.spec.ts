import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, expect, type Page, test } from "@playwright/test";
import { createMemoryFile, createQcow2, openQcow2 } from "../disk/index.ts";
import { chromiumArguments, chromiumPath } from "../disk/testing/chromium.ts";
import { type HttpTestServer, startHttpTestServer } from "../disk/testing/http-test-server.ts";
import { hasQemu, qemuImg, qemuIo } from "../disk/testing/qemu.ts";
import { TINY_GUEST_BANNER, TINY_GUEST_FREE_SECTOR, tinyGuestImage } from "../emulator/testing/tiny-guest.ts";

const DISK_BYTES = 8 * 1024 * 1024;
/** Sectors far apart, so that each write makes a cluster of its own. */
const SECTOR_STRIDE = 128;
const FLUSHED_WRITES = 12;

let server: HttpTestServer;
let directory: string;
let base: Uint8Array<ArrayBuffer>;

test.beforeAll(async () => {
  server = await startHttpTestServer();
  directory = mkdtempSync(join(tmpdir(), "byre-killed-"));
  const file = createMemoryFile({ name: "tiny.qcow2" });
  await createQcow2(file, { sizeBytes: DISK_BYTES });
  const device = await openQcow2(file);
  await device.write(0, tinyGuestImage(64 * 1024));
  base = file.toBytes();
  await device.close();
  writeFileSync(join(directory, "tiny.qcow2"), base);
  await fetch(`${server.origin}/tiny.qcow2`, { method: "PUT", body: base });
});

test.afterAll(async () => {
  await server.close();
  // The killed browser's helpers may still be writing to its profile.
  rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
});

test("a browser killed in mid-write leaves a clean overlay with every flushed sector", async ({
  baseURL,
}) => {
  test.skip(!hasQemu, "needs qemu-utils");
  const address = `${server.origin}/tiny.qcow2`;

  const first = await startBrowser(join(directory, "profile"));
  let page = await openPage(first.browser, `${baseURL}`);
  await openMachine(page, address);
  for (let i = 0; i < FLUSHED_WRITES; i++) expect(await ask(page, writeCommand(i, 0xa0 + i))).toMatch(/^=/);
  expect(await ask(page, "F")).toMatch(/^=/);
  // Writes that nobody waits for, over some of the flushed ones and beyond: the kill comes among them.
  const committed = await page.evaluate(() => window.byre.machine?.stats().commits ?? 0);
  await page.evaluate(
    (commands) => {
      for (const command of commands) window.byre.machine?.serial.send(command);
    },
    Array.from(
      { length: 60 },
      (_, i) => writeCommand(FLUSHED_WRITES + (i % 40), 0x30 + (i % 10)) + (i % 7 === 0 ? "F" : ""),
    ),
  );
  await page.waitForFunction((before) => (window.byre.machine?.stats().commits ?? 0) > before + 1, committed);
  await kill(first.process);

  const second = await startBrowser(join(directory, "profile"));
  page = await openPage(second.browser, `${baseURL}`);
  const machines = await page.evaluate(() => window.byre.machines());
  expect(machines).toHaveLength(1);
  await openMachine(page, address);
  const overlay = await page.evaluate(async () => {
    const blob = await window.byre.machine?.exportDisk();
    return btoa(
      Array.from(new Uint8Array((await blob?.arrayBuffer()) ?? []), (c) => String.fromCharCode(c)).join(""),
    );
  });
  await second.browser.close();
  await kill(second.process);

  const path = join(directory, "overlay.qcow2");
  writeFileSync(path, Buffer.from(overlay, "base64"));
  expect(qemuImg("check", path)).toContain("No errors were found");
  qemuIo(
    path,
    Array.from({ length: FLUSHED_WRITES }, (_, i) => `read -P ${0xa0 + i} ${sectorOf(i) * 512} 512`),
    ["-r"],
  );
});

function sectorOf(i: number): number {
  return TINY_GUEST_FREE_SECTOR + i * SECTOR_STRIDE;
}

/** The tiny guest's command that fills a sector with a byte, by DMA. */
function writeCommand(i: number, byte: number): string {
  const hex = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, "0");
  return `w${hex(sectorOf(i), 8)}${hex(byte, 2)}`;
}

async function openPage(browser: Browser, url: string): Promise<Page> {
  const page = await (browser.contexts()[0] ?? (await browser.newContext())).newPage();
  await page.goto(url);
  await page.waitForFunction(() => "byre" in window);
  return page;
}

async function openMachine(page: Page, address: string): Promise<void> {
  await page.evaluate((url) => window.byre.open(url, { unattended: true }).then(() => {}), address);
  await page.waitForFunction(
    (banner) => window.byre.machine?.serial.text().replaceAll("\r", "").includes(banner),
    TINY_GUEST_BANNER,
  );
}

/** Sends a command to the tiny guest and waits for its line of answer. */
async function ask(page: Page, command: string): Promise<string> {
  const from = await page.evaluate(() => window.byre.machine?.serial.text().length ?? 0);
  await page.evaluate((text) => window.byre.machine?.serial.send(text), command);
  const answer = await page.waitForFunction((start) => {
    const line = window.byre.machine?.serial.text().slice(start) ?? "";
    return line.endsWith("\n") ? line.trim() : undefined;
  }, from);
  return (await answer.jsonValue()) ?? "";
}

/** A browser of our own, with a profile on disk, that can be killed as a crash would. */
async function startBrowser(profile: string): Promise<{ browser: Browser; process: ChildProcess }> {
  const executable = chromiumPath() ?? chromium.executablePath();
  const child = spawn(
    executable,
    [
      ...chromiumArguments,
      "--headless",
      "--remote-debugging-port=0",
      `--user-data-dir=${profile}`,
      "about:blank",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const endpoint = await new Promise<string>((resolve, reject) => {
    let output = "";
    child.stderr.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      const match = /DevTools listening on (ws:\S+)/.exec(output);
      if (match?.[1]) resolve(match[1]);
    });
    child.once("exit", () => reject(new Error(`${executable} ended: ${output}`)));
  });
  return { browser: await chromium.connectOverCDP(endpoint), process: child };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}
