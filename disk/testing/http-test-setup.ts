import type { TestProject } from "vitest/node";
import { startHttpTestServer } from "./http-test-server.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Origin of the HTTP test server, another one than the test page's own. */
    httpTestServer: string;
  }
}

/** Runs the HTTP test server for the length of a run, beside the tests, which may be in a browser. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startHttpTestServer();
  project.provide("httpTestServer", server.origin);
  return () => server.close();
}
