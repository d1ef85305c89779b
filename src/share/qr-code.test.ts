import { expect, it } from "vitest";
import { modulesOf } from "./qr-code.tsx";

/** Row by row, of the marks in three corners by which readers find a code. */
const FINDER = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"];

function corner(modules: readonly (readonly boolean[])[], x: number, y: number): string[] {
  return modules.slice(y, y + 7).map((row) =>
    row
      .slice(x, x + 7)
      .map((dark) => (dark ? "1" : "0"))
      .join(""),
  );
}

it("is a square code of the size that the text needs, without a margin of its own", () => {
  const modules = modulesOf("https://byre.example/#/run?image=https://images.example/notes.qcow2") ?? [];
  // 66 bytes fit version 4 with the lowest correction: 33 modules a side.
  expect(modules).toHaveLength(33);
  expect(modules.every((row) => row.length === 33)).toBe(true);
  for (const [x, y] of [
    [0, 0],
    [26, 0],
    [0, 26],
  ] as const)
    expect(corner(modules, x, y)).toEqual(FINDER);
});

it("is none for more text than a code holds", () => {
  expect(modulesOf("x".repeat(2953))).toHaveLength(177);
  expect(modulesOf("x".repeat(2954))).toBeUndefined();
});
