import { expect, test } from "vitest";
import { writePartitionTable } from "./partition-table.ts";

test("boot code, signature and partitions are where a BIOS looks for them", () => {
  const sector = Buffer.from(
    writePartitionTable(new Uint8Array(440).fill(0x90), 0x12345678, [
      { type: 0x0e, firstSector: 2048, sectors: 129024, active: true },
      { type: 0x83, firstSector: 131072, sectors: 1966080 },
    ]),
  );
  expect(sector.subarray(0, 440).every((byte) => byte === 0x90)).toBe(true);
  expect(sector.readUInt32LE(440)).toBe(0x12345678);
  // Sector 2048 is cylinder 0, head 32, sector 33; sector 131071 is cylinder 8, head 40, sector 32.
  expect(sector.subarray(446, 454).toString("hex")).toBe("802021000e282008");
  expect([sector.readUInt32LE(454), sector.readUInt32LE(458)]).toEqual([2048, 129024]);
  expect([sector.readUInt32LE(470), sector.readUInt32LE(474)]).toEqual([131072, 1966080]);
  expect(sector.subarray(478, 510).every((byte) => byte === 0)).toBe(true);
  expect(sector.subarray(510).toString("hex")).toBe("55aa");
});

test("beyond the format's last cylinder the old addresses say so", () => {
  const sector = writePartitionTable(new Uint8Array(), 0, [
    { type: 0x83, firstSector: 1 << 25, sectors: 2048 },
  ]);
  expect([...sector.subarray(447, 450)]).toEqual([0xfe, 0xff, 0xff]);
});

test("boot code that would overwrite the table is refused", () => {
  expect(() => writePartitionTable(new Uint8Array(441), 0, [])).toThrow(RangeError);
});
