import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";
import { createMemoryFile, openQcow2 } from "../disk/index.ts";
import { type HeadlessMachine, startHeadlessMachine } from "../emulator/node.ts";
import { expect, exportedDisk, openLink, test, waitForSerial, waitForState } from "./byre-test.ts";

const APPLIANCE = "public/appliances/linux.qcow2";
/** A command takes moments; a boot about 20 s on a quiet machine with two cores. */
const ANSWER_MS = 60_000;
const BOOT_MS = 90_000;

const missing = !existsSync(APPLIANCE);
test.skip(missing && process.env.CI !== "true", "the demo appliance is not built: npm run appliance");
test.setTimeout(3 * BOOT_MS);

const ROUND_TRIPS = 20;
/** The numbers 1, 2, 3 ... a line each; how many, or what is not so. */
const COUNT_LINES =
  'awk \'NR != $1 { print "line " NR " is " $0; bad = 1; exit } END { if (!bad) print NR }\' /root/log';

/** Counts in the guest's memory, five times a second, where `cat /tmp/count` finds it: written over, never cut. */
const COUNT = "(i=0; while sleep 0.2; do i=$((i+1)); printf '%09d\\n' $i 1<>/tmp/count; done) & :";

/**
 * A command between two marks that the guest computes: what is typed is echoed, once or twice and wrapped, and must
 * not look like them.
 */
const between = (command: string) => `echo "<$((6*7))"; ${command}; echo "$((6*7))>"\n`;
const PRINTED = /<42\r?(\n[\s\S]*?)42>/;

/** Runs a command in the guest's shell and gives what it printed. */
async function run(page: Page, command: string): Promise<string> {
  const from = await page.evaluate(() => window.byre.machine?.serial.text().length ?? 0);
  await page.evaluate((line) => window.byre.machine?.serial.send(line), between(command));
  const answer = await page.waitForFunction(
    ([start, pattern]) =>
      new RegExp(pattern).exec(window.byre.machine?.serial.text().slice(start) ?? "")?.[1],
    [from, PRINTED.source] as const,
    { timeout: ANSWER_MS },
  );
  return plain(await answer.jsonValue());
}

async function runInNode(machine: HeadlessMachine, command: string): Promise<string> {
  const fromCharacter = machine.serial.text().length;
  machine.serial.send(between(command));
  const text = await machine.waitForText(PRINTED, { timeoutMs: ANSWER_MS, fromCharacter });
  return plain(PRINTED.exec(text.slice(fromCharacter))?.[1]);
}

function plain(text = ""): string {
  return text.replaceAll("\r", "").trim();
}

test("a link to the appliance answers at its prompt without a boot, each time until it is written to", async ({
  page,
}) => {
  await page.goto("/");
  const link = "#/run?image=appliances/linux.qcow2";
  for (let visit = 0; visit < 2; visit++) {
    await page.goto("about:blank");
    const start = Date.now();
    await page.goto(`/${link}`);
    await waitForState(page, "running");
    expect(await run(page, "echo alive")).toBe("alive");
    test
      .info()
      .annotations.push({ type: `visit ${visit + 1} to an answer`, description: `${Date.now() - start} ms` });
    const text = await page.evaluate(() => window.byre.machine?.serial.text());
    expect(text).not.toContain("Linux version");
  }
});

test(`a counter, a file being written and an open editor go on exactly, ${ROUND_TRIPS} times in a row`, async ({
  page,
}) => {
  test.setTimeout(ROUND_TRIPS * BOOT_MS);
  await openLink(page, "#/run?image=appliances/linux.qcow2");
  const type = (text: string) => page.evaluate((keys) => window.byre.machine?.keyboard.sendText(keys), text);
  const screenShows = (text: string) =>
    page.waitForFunction((wanted) => window.byre.machine?.screen.text().includes(wanted), text, {
      timeout: ANSWER_MS,
    });
  const counted = "cat /dev/shm/count";
  await run(
    page,
    // The count is ahead of the log, and whole whenever it is read.
    `(n=0; while :; do n=$((n + 1)); printf '%09d\\n' $n 1<>/dev/shm/count; echo $n >>/root/log; usleep 50000; done) & :`,
  );
  await type("vi /root/letter\n");
  await screenShows("- /root/letter");
  await type("iDear cow,");
  let letter = "Dear cow,";
  await screenShows(letter);
  let linesBefore = 0;
  // One that comes in between would be a state more.
  await page.evaluate(() => window.byre.machine?.setAutosaveMinutes(0));
  for (let trip = 1; trip <= ROUND_TRIPS; trip++) {
    await page.evaluate(() => window.byre.machine?.save("trip"));
    // Memory, disk and screen become what they were not.
    await type(" gone");
    await screenShows(`${letter} gone`);
    await run(page, "rm /root/log; dd if=/dev/urandom of=/dev/shm/noise bs=64k count=16 2>/dev/null; sync");
    await page.evaluate(() => window.byre.machine?.load("trip"));
    const first = await page.evaluate(() => window.byre.machine?.screen.text().split("\n")[0]);
    expect(first).toBe(letter);
    expect(await run(page, "ls /dev/shm")).not.toContain("noise");
    const lines = Number(await run(page, COUNT_LINES));
    expect(lines).toBeGreaterThan(linesBefore);
    linesBefore = lines;
    expect(Number(await run(page, counted))).toBeGreaterThanOrEqual(lines);
    await type(` ${trip}`);
    letter += ` ${trip}`;
    await screenShows(letter);
  }
  expect(await page.evaluate(() => window.byre.machine?.snapshots().map(({ name }) => name))).toEqual([
    "trip",
  ]);
});

test("a machine saved in the page goes on in Node, and one saved there goes on in the page", async ({
  page,
  images,
}) => {
  const base = await readFile(APPLIANCE);
  images.files.set("linux.qcow2", { bytes: base });
  await openLink(page, `#/run?image=${images.url("linux.qcow2")}`);
  await run(page, COUNT);
  await run(page, "where=page; echo first > /root/note; sync");
  await page.waitForFunction(() => window.byre.machine?.state === "running");
  await page.evaluate(() => window.byre.machine?.save("here"));
  await run(page, "where=gone; rm /root/note; sync");

  const file = createMemoryFile({ name: "mine.qcow2", content: await exportedDisk(page) });
  const hda = await openQcow2(file, {
    writable: true,
    resolveBacking: async () => createMemoryFile({ name: "linux.qcow2", content: new Uint8Array(base) }),
  });
  const startFrom = { device: hda, snapshot: "here" };
  const machine = await startHeadlessMachine({ disks: { hda }, startFrom });
  expect(await runInNode(machine, "echo $where; cat /root/note")).toBe("page\nfirst");
  const count = Number(await runInNode(machine, "cat /tmp/count"));
  expect(count).toBeGreaterThan(0);
  expect(
    await runInNode(machine, `while [ $(cat /tmp/count) -le ${count} ]; do sleep 0.1; done; echo counts`),
  ).toBe("counts");
  await runInNode(machine, "where=node; echo second >> /root/note");
  await machine.save("there");
  await machine.powerOff();
  await machine.close();
  await hda.flush();

  images.files.set("mine.qcow2", { bytes: Buffer.from(file.toBytes()) });
  await openLink(page, `#/run?image=${images.url("mine.qcow2")}&snapshot=there`);
  expect(await run(page, "echo $where; cat /root/note")).toBe("node\nfirst\nsecond");
  expect(Number(await run(page, "cat /tmp/count"))).toBeGreaterThan(count);
});

test("a Linux machine is suspended in the middle of an editor, and goes on in it", async ({ page }) => {
  await openLink(page, "#/run?image=appliances/linux.qcow2");
  await page.evaluate(() => window.byre.machine?.serial.send("vi /root/letter\n"));
  await waitForSerial(page, "- /root/letter", { timeout: ANSWER_MS });
  await page.evaluate(() => window.byre.machine?.serial.send("iDear reader,"));
  await waitForSerial(page, "Dear reader,", { timeout: ANSWER_MS });
  await page.evaluate(() => window.byre.machine?.suspend());
  await page.reload();
  await waitForState(page, "running");
  await page.evaluate(() => window.byre.machine?.serial.send(" hello\u001b"));
  await waitForSerial(page, "- /root/letter [Modified]", { timeout: ANSWER_MS });
  await page.evaluate(() => window.byre.machine?.serial.send(":wq\n"));
  await waitForSerial(page, "1L, 19C", { timeout: ANSWER_MS });
  expect(await run(page, "cat /root/letter")).toBe("Dear reader, hello");
});
