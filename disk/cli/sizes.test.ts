import { describe, expect, it } from "vitest";
import { hasQemu } from "../testing/qemu.ts";
import { fixedDecimals, humanSize, parseSize } from "./sizes.ts";
import { qemu } from "./testing/twins.ts";

const EXBIBYTE = 2n ** 60n;

it("rounds to the even one only what lies exactly between two", () => {
  const values = [3.125, 9.375, 15.625, 0.875, 0.025, 0.015, 1.005, 12.5, 100, 0];
  const written = ["3.12", "9.38", "15.62", "0.88", "0.03", "0.01", "1.00", "12.50", "100.00", "0.00"];
  expect(values.map((value) => fixedDecimals(value, 2))).toEqual(written);
});

describe("sizes", () => {
  it.each<[string, bigint | string]>([
    ["0", 0n],
    ["512", 512n],
    ["512b", 512n],
    ["1k", 1024n],
    ["1K", 1024n],
    ["1.5M", 1572864n],
    ["1.M", 1048576n],
    ["3G", 3n * 2n ** 30n],
    ["2T", 2n * 2n ** 40n],
    ["5P", 5n * 2n ** 50n],
    ["7E", 7n * EXBIBYTE],
    ["7.5E", (15n * EXBIBYTE) / 2n],
    ["0x1000", 4096n],
    ["9223372036854775807", 2n ** 63n - 1n],
    ["9007199254740993", 9007199254740993n],
    ["8E", "range"],
    ["99999999999999999999", "range"],
    ["", "invalid"],
    ["k", "invalid"],
    ["1.5", "invalid"],
    ["1kb", "invalid"],
    ["-1", "invalid"],
    ["1e3", "invalid"],
    ["1 k", "invalid"],
    ["0x", "invalid"],
    ["ten", "invalid"],
  ])("reads %o", (text, expected) => {
    expect(parseSize(text)).toBe(expected);
  });

  it.skipIf(!hasQemu)("are read as qemu-img measure reads them", () => {
    for (const text of [
      "1.5k",
      "0.1G",
      "1.999M",
      "0x20",
      "+5k",
      " 6k",
      "1.0",
      "0.5b",
      "1.000001T",
      "3.3P",
      ".5M",
      "5.M",
    ]) {
      const theirs = qemu("qemu-img", ["measure", "--output=json", "-O", "raw", "--size", text]);
      const size = parseSize(text);
      if (theirs.code !== 0) expect(size, text).toBe("invalid");
      else {
        const { required } = JSON.parse(theirs.out) as { required: number };
        expect(typeof size === "bigint" ? Number(((size + 511n) / 512n) * 512n) : size, text).toBe(required);
      }
    }
  });

  it.each<[number, string]>([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "0.977 KiB"],
    [1023, "0.999 KiB"],
    [1024, "1 KiB"],
    [721408, "704 KiB"],
    [722432, "706 KiB"],
    [1536, "1.5 KiB"],
    [1023 * 1024, "0.999 MiB"],
    [999 * 1024, "999 KiB"],
    [10 * 2 ** 20, "10 MiB"],
    [10.25 * 2 ** 20, "10.2 MiB"],
    [2 ** 50, "1 PiB"],
    [2 ** 60, "1 EiB"],
  ])("prints %d", (bytes, expected) => {
    expect(humanSize(bytes)).toBe(expected);
  });
});
