import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "@playwright/test";
import { build } from "vite";
import { createMemoryFile, createQcow2, openQcow2, WriteStage } from "../disk/index.ts";
import { openNodeFile } from "../disk/node.ts";
import { chromiumArguments, chromiumPath } from "../disk/testing/chromium.ts";
import { startHeadlessMachine } from "../emulator/node.ts";
import { serveStatic } from "../scripts/serve-static.mjs";
import { median } from "./median.ts";
import { measureStates, type Pair, PROMPT, type StateMeasurements } from "./vmstate-measure.ts";

/**
 * `npm run bench:vmstate`: what saving, loading and starting from a state cost, with the 128 MiB Linux guest. Each
 * figure is a ratio against its reference in the same run, pair by pair, since the speed of a machine drifts.
 * `npm run bench:vmstate -- link` runs only the parts that the word matches: page, node, link.
 */

const PAIRS = Number(process.env.BENCH_PAIRS ?? 5);
/** A cold boot takes a while. */
const VISITS = Math.min(PAIRS, 3);

/** Limits of the table. */
const MOST = {
  stopped: 1.5,
  written: 0.2,
  load: 2,
  /** Only shown: v86 has nothing to compare with. */
  storedLoad: Number.POSITIVE_INFINITY,
  blockedMs: 50,
  link: { ratio: 0.25, ms: 3000 },
  secondVisit: { ratio: 0.12, ms: 1500 },
} as const;

/** Asks for the default amount of memory but for a little: then the state does not fit, and the disk is booted. */
const COLD = "&memory=136";

interface Row {
  readonly work: string;
  readonly atMost: string;
  readonly measured: string;
  readonly ok: boolean;
  readonly pairs: string;
}

const rows: Row[] = [];
const appliance = join("public", "appliances", "linux.qcow2");

async function main(only: string): Promise<void> {
  const made = spawnSync(process.execPath, ["scripts/start.mjs", "appliance"], { stdio: "inherit" });
  if (made.status !== 0) throw new Error("the appliance could not be built");
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${PAIRS} pairs`);
  const folder = mkdtempSync(join(tmpdir(), "byre-bench-"));
  try {
    if ("page".includes(only)) await measurePage(folder);
    if ("node".includes(only)) await measureNode();
    if ("link".includes(only)) await measureLinks(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`\n${table()}`);
  if (rows.some(({ ok }) => !ok)) process.exitCode = 1;
}

/** Saves and loads in a page, onto IndexedDB. */
async function measurePage(folder: string): Promise<void> {
  await build({
    configFile: false,
    base: "./",
    logLevel: "error",
    worker: { format: "es" },
    build: {
      target: "es2023",
      outDir: join(folder, "page"),
      copyPublicDir: false,
      chunkSizeWarningLimit: 700,
      rolldownOptions: { input: "bench/vmstate-page.html" },
    },
  });
  const server = await serveStatic({ root: join(folder, "page"), port: 0 });
  const images = await serveStatic({ root: join("public", "appliances"), port: 0 });
  const context = await openProfile(join(folder, "states"));
  try {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(error));
    page.on("console", (message) => console.log(`  page: ${message.text()}`));
    await page.goto(`${server.origin}/bench/vmstate-page.html`);
    await page.waitForFunction(() => "stateBench" in window);
    const measured = await page.evaluate(([url, pairs]) => window.stateBench.states(url, pairs), [
      `${images.origin}/linux.qcow2`,
      PAIRS,
    ] as const);
    record("page", measured);
    const blocked = median(measured.blocked);
    rows.push({
      work: "page: main thread blocked at a stretch",
      atMost: `${MOST.blockedMs} ms`,
      measured: `${blocked.toFixed(0)} ms (without a save ${median(measured.blockedIdle).toFixed(0)} ms)`,
      ok: blocked <= MOST.blockedMs,
      pairs: measured.blocked.map((ms) => ms.toFixed(0)).join(" "),
    });
  } finally {
    await context.close();
    await server.close();
    await images.close();
  }
}

/** The same in the headless host, in memory. */
async function measureNode(): Promise<void> {
  let writtenBytes = 0;
  const start = async () => {
    const baseFile = () => openNodeFile(appliance, { writable: false });
    const base = await openQcow2(await baseFile());
    const overlay = createMemoryFile();
    await createQcow2(overlay, {
      sizeBytes: base.sizeBytes,
      backing: { name: "linux.qcow2", format: "qcow2" },
    });
    const { write } = overlay;
    overlay.write = (offsetBytes, data, stage = WriteStage.DATA) => {
      writtenBytes += data.length;
      write.call(overlay, offsetBytes, data, stage);
    };
    const hda = await openQcow2(overlay, {
      resolveBacking: async () => ({ file: await baseFile(), snapshot: "ready" }),
    });
    const machine = await startHeadlessMachine({
      disks: { hda },
      startFrom: { device: base, snapshot: "ready" },
    });
    return {
      machine,
      async close() {
        await machine.close();
        await hda.close();
        await base.close();
      },
    };
  };
  const reference = await start();
  await reference.machine.pause();
  const own = await start();
  try {
    const measured = await measureStates(own.machine, reference.machine, {
      pairs: PAIRS,
      writtenBytes: () => writtenBytes,
      onStep: (what) => console.log(`  node: ${what}`),
    });
    record("node", measured);
  } finally {
    await own.close();
    await reference.close();
  }
}

function record(where: string, measured: StateMeasurements): void {
  recordPairs(
    `${where}: guest stopped by a save : v86's save_state`,
    measured.stops,
    MOST.stopped,
    milliseconds,
  );
  recordPairs(
    `${where}: second save after 10 s of idling : the first`,
    measured.written,
    MOST.written,
    mebibytes,
  );
  recordPairs(`${where}: load : v86's restore_state`, measured.loads, MOST.load, milliseconds);
  recordPairs(
    `${where}: load of an older state, from storage`,
    measured.storedLoads,
    MOST.storedLoad,
    milliseconds,
  );
  console.log(
    `  ${where}: whole saves ${measured.saves.map((ms) => `${(ms / 1000).toFixed(1)} s`).join(" ")}`,
  );
}

/** Links to the appliance, in the page as it is built: from the navigation to a prompt that answers. */
async function measureLinks(folder: string): Promise<void> {
  const site = join(folder, "site");
  await build({ logLevel: "error", build: { outDir: site, emptyOutDir: true } });
  const server = await serveStatic({ root: site, port: 0 });
  const link = `${server.origin}/#/run?image=${encodeURIComponent("appliances/linux.qcow2")}`;
  const first: Pair[] = [];
  const again: Pair[] = [];
  const resumed: Pair[] = [];
  try {
    for (let i = 0; i < VISITS; i++) {
      const cold = await openProfile(join(folder, `cold-${i}`));
      const booted = await visit(cold, `${link}${COLD}`);
      await cold.close();
      const profile = await openProfile(join(folder, `visits-${i}`));
      const visits = [
        await visit(profile, link),
        await visit(profile, link, (page) => page.evaluate(() => window.byre.machine?.suspend())),
        await visit(profile, link),
      ];
      await profile.close();
      for (const { boot } of visits)
        if (boot !== visits[0]?.boot || boot === booted.boot)
          throw new Error(`${link} was to go on from its saved state, and has booted its disk`);
      const coldMs = booted.ms;
      const [firstMs = Number.NaN, againMs = Number.NaN, resumedMs = Number.NaN] = visits.map(({ ms }) => ms);
      first.push([firstMs, coldMs]);
      again.push([againMs, coldMs]);
      resumed.push([resumedMs, coldMs]);
      console.log(
        `  link: cold ${seconds(coldMs)}, first ${seconds(firstMs)}, second ${seconds(againMs)}, resumed ${seconds(resumedMs)}`,
      );
    }
  } finally {
    await server.close();
  }
  recordPairs("link with a fresh profile : cold boot", first, MOST.link.ratio, milliseconds, MOST.link.ms);
  const { ratio, ms } = MOST.secondVisit;
  recordPairs("second visit : cold boot", again, ratio, milliseconds, ms);
  recordPairs("second visit, suspended before : cold boot", resumed, ratio, milliseconds, ms);
}

/**
 * Opens a link in a new tab and waits for an answer to what is typed at the prompt.
 *
 * @returns milliseconds from the navigation on, and when the shell was started, in ticks since the guest's boot: no
 *   two boots come to it at the same time.
 */
async function visit(
  context: BrowserContext,
  link: string,
  andThen: (page: Page) => Promise<unknown> = async () => {},
): Promise<Answer> {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(error));
  // What an earlier visit printed is there again when it was suspended.
  const token = crypto.randomUUID();
  // No function with a name in it: tsx would have it call a helper that the page has not.
  await page.addInitScript(
    ([promptText, mark]) => {
      let asked = false;
      const timer = setInterval(() => {
        const machine = window.byre?.machine;
        const text = machine?.state === "running" ? machine.serial.text() : "";
        if (!asked && text.includes(promptText)) {
          asked = true;
          machine?.serial.send(`echo ${mark} $(cut -d' ' -f22 /proc/$$/stat) .\n`);
        }
        const [, boot] = new RegExp(`${mark} ([0-9]+) [.]`).exec(text) ?? [];
        if (!boot || !asked) return;
        clearInterval(timer);
        window.answer = { ms: performance.now(), boot };
      }, 5);
    },
    [PROMPT, token] as const,
  );
  await page.goto(link);
  await page.waitForFunction(() => window.answer, undefined, { timeout: 240_000 });
  const answer = await page.evaluate(() => window.answer);
  if (!answer) throw new Error("the answer is gone");
  await andThen(page);
  await page.close();
  return answer;
}

interface Answer {
  readonly ms: number;
  readonly boot: string;
}

declare global {
  interface Window {
    answer?: Answer;
  }
}

function openProfile(path: string): Promise<BrowserContext> {
  const executablePath = chromiumPath();
  // On disk: in memory IndexedDB would be flattered.
  return chromium.launchPersistentContext(path, {
    args: chromiumArguments,
    ...(executablePath && { executablePath }),
  });
}

function recordPairs(
  work: string,
  pairs: readonly Pair[],
  atMost: number,
  show: (value: number) => string,
  atMostMs = Number.POSITIVE_INFINITY,
): void {
  const ratio = median(pairs.map(([ours, reference]) => ours / reference));
  const ours = median(pairs.map(([value]) => value));
  const reference = median(pairs.map(([, value]) => value));
  rows.push({
    work,
    atMost: [
      Number.isFinite(atMost) ? atMost : "-",
      ...(Number.isFinite(atMostMs) ? [milliseconds(atMostMs)] : []),
    ].join(", "),
    measured: `${ratio.toFixed(2)} (${show(ours)} : ${show(reference)})`,
    ok: ratio <= atMost && ours <= atMostMs,
    pairs: pairs.map(([one, other]) => (one / other).toFixed(2)).join(" "),
  });
}

function table(): string {
  const lines = [
    ["work", "at most", "measured", "pairs"],
    ...rows.map(({ work, atMost, measured, ok, pairs }) => [
      work,
      atMost,
      `${measured}${atMost === "-" ? "" : ok ? " met" : " MISSED"}`,
      pairs,
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")).join("\n");
}

const milliseconds = (ms: number) => (ms < 1000 ? `${ms.toFixed(0)} ms` : seconds(ms));
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

await main(process.argv[2] ?? "");
