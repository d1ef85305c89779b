import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type BrowserContext, chromium, type Page } from "@playwright/test";
import { build } from "vite";
import { chromiumArguments, chromiumPath } from "../disk/testing/chromium.ts";
import { serveStatic } from "../scripts/serve-static.mjs";
import { measureFirstFrames } from "./first-frame.ts";
import type { DiskKind } from "./guest-page.ts";
import { median } from "./median.ts";

/**
 * `npm run bench`: each figure is a ratio against its reference in the same run, pair by pair, since the
 * speed of a machine drifts. `npm run bench -- boot` runs only what the word matches.
 */

const PAIRS = Number(process.env.BENCH_PAIRS ?? 3);
const LATENCY_MS = 50;
const DD = "dd if=/dev/urandom of=/root/bench bs=64k count=512 conv=fsync 2>/dev/null";

interface Result {
  name: string;
  measured: string;
  ratio: number;
  atMost: number;
}

const results: Result[] = [];

async function main(only: string): Promise<void> {
  const setUp = spawnSync(process.execPath, ["scripts/start.mjs", "build"], { stdio: "inherit" });
  if (setUp.status !== 0) throw new Error("the page or the appliance could not be built");
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${PAIRS} pairs`);
  const folder = mkdtempSync(join(tmpdir(), "byre-bench-"));
  // Built as the page is, so that the same code runs.
  await build({
    configFile: false,
    base: "./",
    logLevel: "error",
    build: {
      target: "es2023",
      outDir: join(folder, "page"),
      copyPublicDir: false,
      chunkSizeWarningLimit: 700,
      rolldownOptions: { input: "bench/guest-page.html" },
    },
  });
  const server = await serveStatic({ root: join(folder, "page"), port: 0 });
  const slow = await serveStatic({ root: "dist", port: 0, latencyMs: LATENCY_MS });
  const site = await serveStatic({ root: "dist", port: 0 });
  const executablePath = chromiumPath();
  // A profile on disk: in memory IndexedDB would be flattered.
  const context = await chromium.launchPersistentContext(join(folder, "profile"), {
    args: chromiumArguments,
    ...(executablePath && { executablePath }),
  });
  try {
    if ("page size".includes(only)) await measurePage(context, slow.origin);
    if ("first frame".includes(only)) await measureStart(context, site.origin);
    const bench = new GuestRuns(context, `${server.origin}/bench/guest-page.html`, {
      url: `${site.origin}/appliances/linux.qcow2`,
      slowUrl: `${slow.origin}/appliances/linux.qcow2`,
    });
    if ("boot qcow2".includes(only)) await bench.compareBoot("boot qcow2 in memory", "qcow2-memory", 1.05);
    if ("boot http".includes(only)) await bench.compareBoot(`boot HTTP +${LATENCY_MS} ms`, "http", 1.25);
    if ("dd".includes(only)) await bench.compareWrites("dd 32 MiB onto IndexedDB", "indexeddb", 1.3);
  } finally {
    await context.close();
    await server.close();
    await site.close();
    await slow.close();
    rmSync(folder, { recursive: true, force: true });
  }
  for (const { name, measured, ratio, atMost } of results) {
    const verdict = ratio <= atMost ? "ok" : "MISSED";
    console.log(`${name.padEnd(28)} ${ratio.toFixed(3)} (at most ${atMost})  ${verdict}  ${measured}`);
  }
  if (results.some(({ ratio, atMost }) => ratio > atMost)) process.exitCode = 1;
}

/** Runs guests in a browser, two kinds of disk in turn. */
class GuestRuns {
  constructor(
    private readonly context: BrowserContext,
    private readonly pageUrl: string,
    private readonly urls: { url: string; slowUrl: string },
  ) {}

  async compareBoot(name: string, kind: DiskKind, atMost: number): Promise<void> {
    const pairs: [number, number][] = [];
    for (let i = 0; i < PAIRS; i++) {
      // The order turns, so that a drift within a pair does not favour one of them.
      const ours = i % 2 === 0 ? await this.bootOnce(kind) : undefined;
      const reference = await this.bootOnce("ram");
      pairs.push([ours ?? (await this.bootOnce(kind)), reference]);
    }
    record(name, pairs, atMost);
  }

  async compareWrites(name: string, kind: DiskKind, atMost: number): Promise<void> {
    const pages = new Map<DiskKind, Page>();
    for (const each of [kind, "ram"] as const) {
      const page = await this.open();
      await this.boot(page, each);
      // The first run also makes the file's blocks; the guest's own allocation is not what is compared.
      await page.evaluate(([k, line]) => window.bench.command(k, line), [each, DD] as const);
      await page.evaluate((k) => window.bench.pause(k), each);
      pages.set(each, page);
    }
    const run = async (each: DiskKind): Promise<number> => {
      const page = pages.get(each);
      if (!page) throw new Error(`${each} is not running`);
      await page.bringToFront();
      return page.evaluate(
        async ([k, line]) => {
          await window.bench.resume(k);
          await window.bench.command(k, "rm -f /root/bench; sync");
          const time = await window.bench.command(k, line);
          await window.bench.pause(k);
          return time;
        },
        [each, DD] as const,
      );
    };
    const pairs: [number, number][] = [];
    for (let i = 0; i < 2 * PAIRS; i++) {
      const ours = i % 2 === 0 ? await run(kind) : undefined;
      const reference = await run("ram");
      pairs.push([ours ?? (await run(kind)), reference]);
    }
    record(name, pairs, atMost);
    for (const page of pages.values()) await page.close();
  }

  private async bootOnce(kind: DiskKind): Promise<number> {
    const page = await this.open();
    const time = await this.boot(page, kind);
    await page.close();
    console.log(`  ${kind}: ${(time / 1000).toFixed(2)} s`);
    return time;
  }

  private boot(page: Page, kind: DiskKind): Promise<number> {
    return page.evaluate(([k, { url, slowUrl }]) => window.bench.boot(k, url, slowUrl), [
      kind,
      this.urls,
    ] as const);
  }

  private async open(): Promise<Page> {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(this.pageUrl);
    await page.waitForFunction(() => "bench" in window);
    return page;
  }
}

/** JavaScript that the page has loaded when the gallery stands, before any machine starts; gzipped. */
async function measurePage(context: BrowserContext, url: string): Promise<void> {
  const page = await context.newPage();
  const scripts: Promise<number>[] = [];
  page.on("response", (response) => {
    if (response.request().resourceType() === "script" || response.url().endsWith(".js"))
      scripts.push(response.body().then((body) => gzipSync(body).length));
  });
  await page.goto(url, { waitUntil: "networkidle" });
  await page.getByRole("button", { name: /start linux/i }).waitFor();
  const bytes = (await Promise.all(scripts)).reduce((sum, length) => sum + length, 0);
  await page.close();
  const atMostKib = 150;
  results.push({
    name: "page JavaScript",
    measured: `${(bytes / 1024).toFixed(1)} KiB gzipped of ${atMostKib} KiB, in ${scripts.length} files`,
    ratio: bytes / 1024 / atMostKib,
    atMost: 1,
  });
}

/** From the click to the machine's first frame, cached. */
async function measureStart(context: BrowserContext, url: string): Promise<void> {
  const times = await measureFirstFrames(context, url, 2 * PAIRS);
  const atMostMs = 1000;
  const all = times.map((time) => time.toFixed(0)).join(" ");
  results.push({
    name: "click to first frame",
    measured: `median ${median(times).toFixed(0)} ms of ${atMostMs} ms, cached; ${all}`,
    ratio: median(times) / atMostMs,
    atMost: 1,
  });
}

function record(name: string, pairs: readonly [number, number][], atMost: number): void {
  const ratio = median(pairs.map(([ours, reference]) => ours / reference));
  const seconds = (index: 0 | 1) => (median(pairs.map((pair) => pair[index])) / 1000).toFixed(2);
  const all = pairs.map(([ours, reference]) => (ours / reference).toFixed(2)).join(" ");
  results.push({
    name,
    measured: `median ${seconds(0)} s against ${seconds(1)} s; pairs ${all}`,
    ratio,
    atMost,
  });
}

await main(process.argv[2] ?? "");
