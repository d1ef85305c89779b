import { expect, test } from "vitest";
import { cdp } from "vitest/browser";
import { expectError, expectSameBytes } from "../testing/block-file-suite.ts";
import { openTestDatabase } from "../testing/indexeddb-file-cases.ts";
import { randomBytes } from "../testing/random-bytes.ts";
import { openIndexedDbFile } from "./indexeddb-file.ts";

test("a full quota loses nothing, and a flush after there is room stores all", async () => {
  // Before the database is opened: Chromium remembers for a while how much room an open one had.
  await overrideQuota(1024 * 1024);
  const database = await openTestDatabase();
  const file = await openIndexedDbFile({ database, fileId: "a", create: true, commitAfterMs: 0 });
  const content = randomBytes(4 * 1024 * 1024);
  try {
    file.write(0, content);
    await expectError("QUOTA_EXCEEDED", () => file.flush());
    expect(file.dirtyBytes).toBe(content.length);
  } finally {
    await overrideQuota(undefined);
  }
  await file.flush();
  await file.close();
  const again = await openIndexedDbFile({ database, fileId: "a" });
  const read = new Uint8Array(content.length);
  await again.read(0, read);
  expectSameBytes(read, content);
  await again.close();
  database.close();
});

async function overrideQuota(quotaSize: number | undefined): Promise<void> {
  // Typed by the provider only where its client types are installed.
  const session = cdp() as unknown as { send(method: string, parameters: object): Promise<unknown> };
  await session.send("Storage.overrideQuotaForOrigin", {
    origin: location.origin,
    ...(quotaSize === undefined ? {} : { quotaSize }),
  });
}
