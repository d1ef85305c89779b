import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import { type CheckOutcome, comparableLines, ourCheck, qemuCheck } from "./check-differ.ts";
import { Bench, qemuImg } from "./qemu.ts";

/** Where qemu-img 7.2 puts the tables of a small new image with 64 KiB clusters. */
export const NewImage = {
  REFCOUNT_TABLE: 0x10000,
  REFCOUNT_BLOCK: 0x20000,
  L1: 0x30000,
  L2: 0x40000,
  DATA: 0x50000,
} as const;

/** A bench for one image that is damaged by hand. */
export class DamageBench extends Bench {
  readonly image = this.path("image.qcow2");

  create(size: string, options?: string): void {
    qemuImg("create", "-q", "-f", "qcow2", ...(options ? ["-o", options] : []), this.image, size);
  }

  /** Writes bytes over the image; a bigint is a 64-bit field, a number a 16-bit one. */
  poke(offsetBytes: number, value: bigint | number | readonly number[] | Uint8Array): void {
    const bytes = readFileSync(this.image);
    const length = typeof value === "bigint" ? 8 : typeof value === "number" ? 2 : value.length;
    const longer = Buffer.alloc(Math.max(bytes.length, offsetBytes + length));
    bytes.copy(longer);
    if (typeof value === "bigint") longer.writeBigUInt64BE(BigInt.asUintN(64, value), offsetBytes);
    else if (typeof value === "number") longer.writeUInt16BE(value, offsetBytes);
    else longer.set(value, offsetBytes);
    writeFileSync(this.image, longer);
  }

  peek64(offsetBytes: number): number {
    return Number(readFileSync(this.image).readBigUInt64BE(offsetBytes));
  }

  peek32(offsetBytes: number): number {
    return readFileSync(this.image).readUInt32BE(offsetBytes);
  }

  cutTo(lengthBytes: number): void {
    truncateSync(this.image, lengthBytes);
  }

  /** Incompatible features of the header: 1 dirty, 2 corrupt. */
  get features(): number {
    return this.peek64(72);
  }

  /** Both check the image: same counts, same exit code, same lines. */
  async expectSameCheck(): Promise<CheckOutcome> {
    const theirs = qemuCheck(this.image);
    const ours = await ourCheck(this.image);
    expect({ exit: ours.exitCode, counts: ours.counts }).toEqual({
      exit: theirs.exitCode,
      counts: theirs.counts,
    });
    expect(comparableLines(ours.lines)).toEqual(comparableLines(theirs.lines));
    return ours;
  }

  /**
   * Each repairs a copy: same counts, same lines, and QEMU finds ours as it finds its own.
   *
   * @param differs what is known to differ: "end" the end of the image, "lines" the report.
   */
  async expectSameRepair(
    repair: "leaks" | "all",
    differs: readonly ("end" | "lines")[] = [],
  ): Promise<CheckOutcome> {
    const copy = this.path("theirs.qcow2");
    copyFileSync(this.image, copy);
    const theirs = qemuCheck(copy, repair);
    const ours = await ourCheck(this.image, repair);
    const told = ({ exitCode, counts }: CheckOutcome) => ({
      exitCode,
      counts: differs.includes("end") ? { ...counts, "image-end-offset": 0 } : counts,
    });
    expect(told(ours)).toEqual(told(theirs));
    if (!differs.includes("lines"))
      expect(comparableLines(ours.lines)).toEqual(comparableLines(theirs.lines));
    expect(qemuCheck(this.image).exitCode).toBe(qemuCheck(copy).exitCode);
    return ours;
  }
}
