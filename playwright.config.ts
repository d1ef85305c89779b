import { defineConfig, devices } from "@playwright/test";
import { chromiumArguments, chromiumPath } from "./disk/testing/chromium.ts";

/** Not the port of `npm start`, so that both can be up; E2E_PORT for a second run beside the first. */
const PORT = Number(process.env.E2E_PORT ?? 5318);
const executablePath = chromiumPath();

export default defineConfig({
  testDir: "e2e",
  outputDir: "test-results",
  // A machine keeps one core busy, and its page a little of the other.
  workers: 2,
  fullyParallel: true,
  forbidOnly: process.env.CI === "true",
  reporter: "list",
  // Only for what never comes: the tiny guest boots in a second or two. Tests with Linux set their own.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  use: {
    ...devices["Desktop Chrome"],
    baseURL: `http://127.0.0.1:${PORT}`,
    viewport: { width: 1440, height: 900 },
    trace: "retain-on-failure",
    launchOptions: { args: chromiumArguments, ...(executablePath && { executablePath }) },
  },
  webServer: {
    // What people get: the built page, from the server that `npm start` uses.
    command:
      "node node_modules/vite/bin/vite.js build --logLevel error && node scripts/serve-static.mjs dist",
    env: { PORT: String(PORT) },
    url: `http://127.0.0.1:${PORT}`,
    reuseExistingServer: false,
    timeout: 120_000,
  },
});
