import { expect, test } from "vitest";
import { expectError, testBlockFile } from "../testing/block-file-suite.ts";
import { createMemoryFile } from "./memory-file.ts";

testBlockFile("memory file", {
  create: async (content) => ({ file: createMemoryFile({ content }) }),
  writable: true,
  propertyRuns: 200,
});

testBlockFile("memory file, read-only", {
  create: async (content) => ({ file: createMemoryFile({ content, writable: false }) }),
  writable: false,
});

test("gives its content whole", async () => {
  const file = createMemoryFile({ name: "disk.raw" });
  file.write(3, Uint8Array.of(1, 2));
  expect([...file.toBytes()]).toEqual([0, 0, 0, 1, 2]);
  await file.close();
  await expectError("CLOSED", async () => file.toBytes());
});
