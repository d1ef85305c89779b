import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BlockDevice } from "../block-device.ts";

export interface BlockDeviceSuiteOptions {
  /**
   * Opens a device with this content. Called again with the content of `stored()` it must open what the last
   * one flushed.
   */
  open(content: Uint8Array, writable: boolean): Promise<BlockDevice>;
  /** Opens again what the device opened last has flushed. */
  reopen(): Promise<BlockDevice>;
}

const SIZE_BYTES = 300 * 1024;

/** What every device must do, whatever format is below it. */
export function describeBlockDevice(name: string, options: BlockDeviceSuiteOptions): void {
  const content = new Uint8Array(SIZE_BYTES);
  for (let i = 0; i < content.length; i++) content[i] = (i >> 9) ^ (i % 11);

  async function bytesOf(device: BlockDevice): Promise<Uint8Array> {
    const bytes = new Uint8Array(device.sizeBytes);
    await device.read(0, bytes);
    return bytes;
  }

  describe(name, () => {
    test("reads any range of what it holds", async () => {
      const device = await options.open(content, false);
      expect(device.sizeBytes).toBe(SIZE_BYTES);
      await fc.assert(
        fc.asyncProperty(fc.nat(SIZE_BYTES), fc.nat(200_000), async (offset, wanted) => {
          const length = Math.min(wanted, SIZE_BYTES - offset);
          const target = new Uint8Array(length);
          await device.read(offset, target);
          expect(Buffer.compare(target, content.subarray(offset, offset + length))).toBe(0);
        }),
        { numRuns: 50 },
      );
      await device.close();
    });

    test.each([
      [-1, 1],
      [SIZE_BYTES - 1, 2],
      [SIZE_BYTES + 1, 0],
      [0.5, 1],
      [Number.NaN, 1],
      [2 ** 53, 1],
    ])("refuses the range %d+%d outside its %#size", async (offset, length) => {
      const device = await options.open(content, true);
      await expect(device.read(offset, new Uint8Array(length))).rejects.toMatchObject({
        code: "OUT_OF_RANGE",
      });
      await expect(device.write(offset, new Uint8Array(length))).rejects.toMatchObject({
        code: "OUT_OF_RANGE",
      });
      expect(() => device.readNow(offset, new Uint8Array(length))).toThrow("not inside");
      expect(() => device.writeNow(offset, new Uint8Array(length))).toThrow("not inside");
      expect(Buffer.compare(await bytesOf(device), content)).toBe(0);
      await device.close();
    });

    test("opened read-only refuses a write", async () => {
      const device = await options.open(content, false);
      expect(device.writable).toBe(false);
      await expect(device.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: "READ_ONLY" });
      expect(Buffer.compare(await bytesOf(device), content)).toBe(0);
      await device.close();
    });

    test("keeps what was flushed", async () => {
      const device = await options.open(content, true);
      const model = content.slice();
      for (const [offset, length] of [
        [0, 512],
        [65_530, 12],
        [100_000, 150_000],
        [SIZE_BYTES - 7, 7],
      ] as const) {
        const data = new Uint8Array(length).fill(0xd0 + (offset % 7));
        await device.write(offset, data);
        model.set(data, offset);
        data.fill(0);
      }
      await device.flush();
      const again = await options.reopen();
      expect(Buffer.compare(await bytesOf(again), model)).toBe(0);
      await again.close();
      await device.close();
    });

    test("closed, refuses everything; closing twice is allowed", async () => {
      const device = await options.open(content, true);
      await device.close();
      await device.close();
      await expect(device.read(0, new Uint8Array(1))).rejects.toMatchObject({ code: "CLOSED" });
      await expect(device.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: "CLOSED" });
      await expect(device.flush()).rejects.toMatchObject({ code: "CLOSED" });
    });

    test("does what a plain array does", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(SIZE_BYTES - 1), fc.nat(30_000), fc.nat(255), fc.boolean()), {
            maxLength: 40,
          }),
          async (writes) => {
            const device = await options.open(content, true);
            const model = content.slice();
            for (const [offset, wanted, value, sync] of writes) {
              const data = new Uint8Array(Math.min(wanted, SIZE_BYTES - offset)).fill(value);
              if (!sync || !device.writeNow(offset, data)) await device.write(offset, data);
              model.set(data, offset);
            }
            expect(Buffer.compare(await bytesOf(device), model)).toBe(0);
            await device.close();
          },
        ),
        { numRuns: 20 },
      );
    });
  });
}
