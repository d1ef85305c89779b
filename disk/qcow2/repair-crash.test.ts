import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { ByreError } from "../errors.ts";
import { createHostFile } from "../files/node-file.ts";
import { qemuCheck } from "../testing/check-differ.ts";
import { createFaultyHostIo } from "../testing/faulty-host-io.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { checkQcow2 } from "./check.ts";

/** A repair that stops anywhere must leave an image that is no worse, and that a second repair mends. */
describe.skipIf(!hasQemu)("a repair cut off by a crash", () => {
  const bench = new Bench();
  afterAll(() => bench.remove());

  const make = (damage: (view: DataView) => void): Uint8Array<ArrayBuffer> => {
    const path = bench.path("image");
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "1M");
    qemuIo(path, ["write -P 1 0 40k"]);
    qemuImg("snapshot", "-c", "one", path);
    qemuIo(path, ["write -P 2 8k 8k"]);
    const bytes = bench.bytes("image");
    damage(new DataView(bytes.buffer));
    return bytes;
  };
  const u64 = (view: DataView, at: number) => Number(view.getBigUint64(at) & 0x00ffffffffffffffn);
  const block = (view: DataView) => u64(view, u64(view, 48));

  const cases: [string, (view: DataView) => void][] = [
    [
      "refcounts that are too low and too high",
      (view) => {
        view.setUint16(block(view) + 5 * 2, 9);
        view.setUint16(block(view) + 6 * 2, 1);
        view.setUint16(block(view) + 20 * 2, 3);
      },
    ],
    ["a lost refcount table", (view) => view.setBigUint64(u64(view, 48), 0n)],
    ["a used cluster that counts as free", (view) => view.setUint16(block(view) + 4 * 2, 0)],
    [
      "an incomplete snapshot table and the dirty bit",
      (view) => {
        view.setUint32(u64(view, 64) + 36, 8);
        view.setBigUint64(72, 1n);
      },
    ],
  ];

  test.each(cases)(
    "of %s",
    async (_, damage) => {
      const bytes = make(damage);
      writeFileSync(bench.path("before"), bytes);
      const before = qemuCheck(bench.path("before"));
      const whole = createFaultyHostIo(bytes);
      await checkQcow2(createHostFile(whole, { name: "image", writable: true }), { repair: "all" });
      for (let failFrom = 0; failFrom < whole.operations; failFrom++)
        for (const survivors of [0, 1, 2]) {
          const host = createFaultyHostIo(bytes);
          host.failFrom = failFrom;
          await checkQcow2(createHostFile(host, { name: "image", writable: true }), { repair: "all" }).catch(
            (error: unknown) => {
              if (!(error instanceof ByreError)) throw error;
            },
          );
          // Nothing that was not synced, all of it, or every other sector.
          const left = host.afterCrash((i) => survivors === 1 || (survivors === 2 && i % 2 === 0));
          writeFileSync(bench.path("after"), left);
          const after = qemuCheck(bench.path("after"));
          expect(after.counts?.corruptions ?? 0, `stopped at ${failFrom}`).toBeLessThanOrEqual(
            before.counts?.corruptions ?? 0,
          );
          // A count past the end of a file that did not grow any more becomes a leak when it does.
          const again = createHostFile(createFaultyHostIo(left), { name: "image", writable: true });
          const second = await checkQcow2(again, { repair: "all" });
          expect(second, `stopped at ${failFrom}`).toMatchObject({ corruptions: 0, checkErrors: 0 });
          const third = await checkQcow2(again, { repair: "leaks" });
          expect(third, `stopped at ${failFrom}`).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
        }
      writeFileSync(
        bench.path("whole"),
        whole.afterCrash(() => true),
      );
      bench.check("whole");
      qemuIo(bench.path("whole"), ["read -P 2 8k 8k", "read -P 1 16k 24k"]);
    },
    60_000,
  );
});
