import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CheckOutcome,
  comparableLines,
  damage,
  ourCheck,
  putTwice,
  qemuCheck,
  seededRandom,
} from "../testing/check-differ.ts";
import { type CheckShape, makeCheckShapes } from "../testing/check-shapes.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";

/** More of them: BYRE_CHECK_CASES=2000 BYRE_CHECK_SEED=7 npx vitest run --project node check-differential */
const CASES = Number(process.env.BYRE_CHECK_CASES ?? 30);
const SEED = Number(process.env.BYRE_CHECK_SEED ?? 1);

/** QEMU could not free what it meant to, and says so in passing. */
const isQemuShort = ({ lines }: CheckOutcome) =>
  lines.some((line) => line.includes("qcow2_free_clusters failed"));

describe.skipIf(!hasQemu)("damaged images, checked by QEMU and by us", () => {
  const bench = new Bench();
  let shapes: CheckShape[] = [];
  beforeAll(() => {
    shapes = makeCheckShapes(bench);
  });
  afterAll(() => bench.remove());

  const shapeOf = (index: number): CheckShape => {
    const shape = shapes[index % shapes.length];
    if (!shape) throw new Error("no shapes were made");
    return shape;
  };

  test("sound images of every shape have equal results", async () => {
    for (const { bytes, name } of shapes) {
      const { ours } = putTwice(bench, bytes);
      expect(await ourCheck(ours), name).toEqual(qemuCheck(ours));
    }
  });

  test(
    "random damage is counted and told of alike",
    async () => {
      for (let index = 0; index < CASES; index++) {
        const seed = SEED * 1_000_003 + index;
        const shape = shapeOf(index);
        const { bytes, how } = damage(shape, seededRandom(seed), true);
        const { ours } = putTwice(bench, bytes);
        const theirs = qemuCheck(ours);
        const mine = await ourCheck(ours);
        const context = `seed ${seed}, ${shape.name}: ${how.join("; ")}\n${theirs.lines.join("\n")}`;
        expect({ exit: mine.exitCode, counts: mine.counts }, context).toEqual({
          exit: theirs.exitCode,
          counts: theirs.counts,
        });
        if (theirs.counts)
          expect(comparableLines(mine.lines), context).toEqual(comparableLines(theirs.lines));
      }
    },
    60_000 + CASES * 1000,
  );

  test.each(["all", "leaks"] as const)(
    "after -r %s the image is as sound as QEMU makes it",
    async (repair) => {
      const cases = repair === "all" ? CASES : Math.ceil(CASES / 4);
      for (let index = 0; index < cases; index++) {
        const seed = SEED * 2_000_003 + index;
        const shape = shapeOf(index);
        const { bytes, how } = damage(shape, seededRandom(seed), false);
        const { ours, theirs } = putTwice(bench, bytes);
        const qemu = qemuCheck(theirs, repair);
        const mine = await ourCheck(ours, repair);
        const context = `seed ${seed}, ${shape.name}: ${how.join("; ")}\n${qemu.lines.join("\n")}`;
        // Where QEMU gives up half-way we may go on; where it grows the file for a refcount block we do not.
        const grown = qemu.lines.some((line) => line.includes("is outside image"));
        const left = ({ exitCode, counts }: CheckOutcome) => (grown ? { exitCode } : { exitCode, counts });
        if (qemu.counts && !isQemuShort(qemu)) expect(left(mine), context).toEqual(left(qemu));
        const after = qemuCheck(ours);
        if (mine.exitCode === 0) expect(after.exitCode, context).toBe(0);
        if (!isQemuShort(qemu) && qemuCheck(theirs).exitCode === 0) expect(after.exitCode, context).toBe(0);
      }
    },
    60_000 + CASES * 2000,
  );
});
