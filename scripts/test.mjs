// @ts-check
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { stripVTControlCharacters } from "node:util";
import {
  ensureAppliance,
  ensureDependencies,
  ensureLibrary,
  ensurePage,
  exitCode,
  hasCommand,
  projectFolder,
  run,
  StepFailed,
  say,
} from "./steps.mjs";

/**
 * `npm test`: sets up what is missing, then runs lint, types and every test, and closes with one line that
 * counts them all.
 */

const MAX_MESSAGE_LENGTH = 2000;

const inCi = process.env.CI === "true";

/** Commands that tests need, with the Debian package that has each. */
const TOOLS = [
  { command: "chromium", package: "chromium", needed: true },
  { command: "qemu-img", package: "qemu-utils", needed: inCi },
];

const counts = { passed: 0, failed: 0, skipped: 0 };
/** What failed, by name, with the beginning of its message: the end of a long log is what is kept of it. */
const failures = [];

try {
  await ensureDependencies();
  await ensureTools();
  const hasAppliance = await ensureAppliance();
  if (!hasAppliance && inCi) throw new StepFailed("The demo appliance could not be built, which CI needs.");
  await ensurePage();
  await ensureLibrary();

  if ((await exitCode("npm", ["run", "--silent", "check"])) === 0) count({ passed: 1 });
  else {
    count({ failed: 1 });
    failures.push({ name: "npm run check", message: "Lint or types: see above." });
  }
  await runVitest();
  await runPlaywright();
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  console.error(`byre: ${error.message}`);
  counts.failed++;
}
process.exitCode = counts.failed > 0 ? 1 : 0;
for (const { name, message } of failures) console.log(`failed: ${name}\n${shorten(message)}`);
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);

async function ensureTools() {
  const missing = TOOLS.filter(({ command }) => !hasCommand(command));
  if (missing.length === 0) return;
  const packages = missing.map((tool) => tool.package);
  const isRoot = process.getuid?.() === 0;
  if (isRoot && hasCommand("apt-get")) {
    say(`installing ${packages.join(" and ")}`);
    const quiet = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    // Lists of other vendors may fail without harm: what matters is whether the packages can be installed.
    await exitCode("apt-get", ["update", "-qq"], quiet);
    await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], quiet);
    return;
  }
  for (const tool of missing) {
    const how = `${tool.command} is missing: sudo apt-get install ${tool.package}`;
    if (tool.needed) throw new StepFailed(how);
    say(`${how}; the tests that compare with QEMU are skipped`);
  }
}

async function runVitest() {
  const reportPath = freshReport("vitest.json");
  const code = await exitCode(
    process.execPath,
    [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--reporter=dot",
      "--reporter=json",
      `--outputFile.json=${reportPath}`,
    ],
    { ...process.env, NODE_ENV: "test" },
  );
  const report = readReport(reportPath);
  if (!report) {
    count({ failed: 1 });
    return;
  }
  count({
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  });
  for (const file of report.testResults) {
    const path = relative(projectFolder, file.name);
    if (file.status === "failed" && file.assertionResults.length === 0)
      failures.push({ name: path, message: file.message });
    for (const { fullName, status, failureMessages } of file.assertionResults)
      if (status === "failed")
        failures.push({ name: `${path}: ${fullName}`, message: failureMessages.map(named).join("\n") });
  }
  // A suite that could not even be collected, or an error outside any test.
  if (code !== 0 && report.numFailedTests === 0) count({ failed: 1 });
}

async function runPlaywright() {
  const reportPath = freshReport("playwright.json");
  const code = await exitCode(
    process.execPath,
    ["node_modules/@playwright/test/cli.js", "test", "--reporter=list,json"],
    { ...process.env, PLAYWRIGHT_JSON_OUTPUT_FILE: reportPath },
  );
  const report = readReport(reportPath);
  if (!report) {
    count({ failed: 1 });
    return;
  }
  const { expected, unexpected, flaky, skipped } = report.stats;
  // A flaky test is a bug to find, not one that passed.
  count({ passed: expected, failed: unexpected + flaky, skipped });
  for (const suite of report.suites) collectFailures(suite);
  if (code !== 0 && unexpected + flaky === 0) count({ failed: 1 });
}

/**
 * Playwright's report is a tree: files, describes in them, tests in those.
 *
 * @param {any} suite
 */
function collectFailures(suite) {
  for (const { title, file, line, ok, tests } of suite.specs ?? []) {
    if (ok && !tests.some(({ status }) => status === "flaky")) continue;
    const errors = tests.flatMap(({ results }) => results.map(({ error }) => error?.message)).filter(Boolean);
    failures.push({ name: `${file}:${line} ${title}`, message: errors.join("\n") });
  }
  for (const inner of suite.suites ?? []) collectFailures(inner);
}

/**
 * Vitest's report has the stack of a test that took too long, and no message.
 *
 * @param {string} message
 */
function named(message) {
  return message.replace(/^Error: STACK_TRACE_ERROR$/m, "Error: it took longer than it may.");
}

/** @param {string} message */
function shorten(message) {
  return stripVTControlCharacters(message)
    .slice(0, MAX_MESSAGE_LENGTH)
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");
}

/** @param {{ passed?: number, failed?: number, skipped?: number }} more */
function count({ passed = 0, failed = 0, skipped = 0 }) {
  counts.passed += passed;
  counts.failed += failed;
  counts.skipped += skipped;
}

/** @param {string} name */
function freshReport(name) {
  const folder = join(projectFolder, ".cache/reports");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  rmSync(path, { force: true });
  return path;
}

/** @param {string} path */
function readReport(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}
