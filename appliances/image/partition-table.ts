export interface Partition {
  /** 0x0c is FAT32 with LBA, 0x0e FAT16 with LBA, 0x83 Linux. */
  type: number;
  firstSector: number;
  sectors: number;
  active?: boolean;
}

export const SECTOR_BYTES = 512;
const BOOT_CODE_BYTES = 440;
const TABLE_OFFSET = 446;
const ENTRY_BYTES = 16;

/** The geometry that BIOSes assume for disks of this size; the cylinder limit of the format is 1023. */
const HEADS = 255;
const SECTORS_PER_TRACK = 63;
const MAX_CYLINDER = 1023;

/**
 * A master boot record: boot code, disk signature and up to four partitions.
 * @param bootCode at most 440 bytes
 */
export function writePartitionTable(
  bootCode: Uint8Array,
  signature: number,
  partitions: readonly Partition[],
): Uint8Array {
  if (bootCode.length > BOOT_CODE_BYTES) {
    throw new RangeError(
      `Boot code of ${bootCode.length} bytes does not fit the ${BOOT_CODE_BYTES} of an MBR.`,
    );
  }
  if (partitions.length > 4) throw new RangeError("An MBR holds at most four partitions.");
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  sector.set(bootCode);
  view.setUint32(BOOT_CODE_BYTES, signature, true);
  partitions.forEach((partition, index) => {
    const at = TABLE_OFFSET + index * ENTRY_BYTES;
    sector[at] = partition.active === true ? 0x80 : 0;
    sector.set(cylinderHeadSector(partition.firstSector), at + 1);
    sector[at + 4] = partition.type;
    sector.set(cylinderHeadSector(partition.firstSector + partition.sectors - 1), at + 5);
    view.setUint32(at + 8, partition.firstSector, true);
    view.setUint32(at + 12, partition.sectors, true);
  });
  view.setUint16(SECTOR_BYTES - 2, 0xaa55, true);
  return sector;
}

function cylinderHeadSector(linearSector: number): [number, number, number] {
  const cylinder = Math.floor(linearSector / (HEADS * SECTORS_PER_TRACK));
  if (cylinder > MAX_CYLINDER) return [0xfe, 0xff, 0xff];
  const head = Math.floor(linearSector / SECTORS_PER_TRACK) % HEADS;
  const sector = (linearSector % SECTORS_PER_TRACK) + 1;
  return [head, sector | ((cylinder >> 2) & 0xc0), cylinder & 0xff];
}
