import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { chromiumArguments, chromiumPath } from "./disk/testing/chromium.ts";

const executablePath = chromiumPath();

/** Only for a test that hangs: how long one takes depends on what else the machine does. */
const patience = { testTimeout: 120_000, hookTimeout: 120_000 };
const expectations = { poll: { timeout: 20_000 } };

/**
 * Two projects: `node` for what runs anywhere, `browser` for what only a browser can show (IndexedDB that
 * reaches a disk, fetch that obeys CORS). A test says which it is by its name, `*.browser.test.ts`.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          ...patience,
          expect: expectations,
          environment: "node",
          include: ["**/*.test.{ts,tsx}"],
          exclude: ["**/node_modules/**", "**/*.browser.test.{ts,tsx}", "e2e/**", "dist/**"],
          globalSetup: ["disk/testing/http-test-setup.ts"],
        },
      },
      {
        // Found by the scanner only once a test has run otherwise, which reloads the page under it.
        optimizeDeps: {
          include: [
            "@hpcc-js/wasm-zstd",
            "axe-core",
            "fast-check",
            "idb",
            "idb-keyval",
            "lucide-react",
            "pako",
            "react",
            "react-aria-components/Button",
            "react-aria-components/FileTrigger",
            "react-dom/client",
            "react/jsx-dev-runtime",
            "v86",
            "wouter",
            "wouter/use-hash-location",
          ],
        },
        test: {
          name: "browser",
          ...patience,
          expect: expectations,
          include: ["**/*.browser.test.{ts,tsx}"],
          exclude: ["**/node_modules/**", "e2e/**", "dist/**"],
          globalSetup: ["disk/testing/http-test-setup.ts", "emulator/testing/relay-server.ts"],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: { args: chromiumArguments, ...(executablePath && { executablePath }) },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
