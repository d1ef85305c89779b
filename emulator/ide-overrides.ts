import { IdeDisk } from "./ide-disk.ts";
import type { V86IdeInterface } from "./v86-internals.ts";

const SET_FEATURES = 0xef;
const FEATURE_ENABLE_WRITE_CACHE = 0x02;
const FEATURE_DISABLE_WRITE_CACHE = 0x82;
const FLUSH_CACHE = 0xe7;
const FLUSH_CACHE_EXT = 0xea;

const STATUS_BUSY = 0x80;
/** Drive ready, seek complete. */
const STATUS_READY = 0x50;

/** IDENTIFY DEVICE words, ATA-6 table 27: command sets supported, and the same enabled. Bit 5: write cache. */
const IDENTIFY_SUPPORTED_BYTE = 82 * 2;
const IDENTIFY_ENABLED_BYTE = 85 * 2;
const WRITE_CACHE_BIT = 1 << 5;

/** v86's value of `current_command` when a drive has nothing to do. */
const NO_COMMAND = -1;

const overridden = new WeakSet<object>();

/**
 * Teaches v86's IDE drives six things, for our disks only; any other drive goes on as v86 has it:
 *
 * - IDENTIFY announces a write cache, without which Linux never sends a flush;
 * - FLUSH CACHE and FLUSH CACHE EXT keep the drive busy until what was written is durable (v86 acknowledges
 *   them at once);
 * - a PIO write keeps the drive busy until it is taken, as a DMA write does (v86 raises the interrupt first,
 *   so that a slow disk would collect writes without bound and a failed one would look done);
 * - a reset drops what was in flight (v86 drops reads only);
 * - a CD that the guest ejects is given back;
 * - a guest that reads a CD by PIO stands still until the bytes are there.
 *
 * Interface objects are sealed, so their prototype is changed: once for each copy of the v86 module.
 */
export function overrideIde(drive: V86IdeInterface): void {
  const prototype = Object.getPrototypeOf(drive) as V86IdeInterface;
  if (overridden.has(prototype)) return;
  overridden.add(prototype);

  const original = {
    create_identify_packet: prototype.create_identify_packet,
    ata_command: prototype.ata_command,
    do_write: prototype.do_write,
    cancel_io_operations: prototype.cancel_io_operations,
    atapi_handle: prototype.atapi_handle,
    atapi_read: prototype.atapi_read,
  };

  prototype.create_identify_packet = function () {
    original.create_identify_packet.call(this);
    const disk = hardDisk(this);
    if (!disk) return;
    setBit(this.data, IDENTIFY_SUPPORTED_BYTE, true);
    setBit(this.data, IDENTIFY_ENABLED_BYTE, disk.writeCache);
  };

  prototype.ata_command = function (command) {
    const disk = hardDisk(this);
    const feature = this.features_reg & 0xff;
    if (disk && (command === FLUSH_CACHE || command === FLUSH_CACHE_EXT)) {
      this.current_command = command;
      flush(this, disk);
    } else if (disk && command === SET_FEATURES && feature === FEATURE_DISABLE_WRITE_CACHE) {
      disk.writeCache = false;
      this.current_command = command;
      flush(this, disk);
    } else {
      if (disk && command === SET_FEATURES && feature === FEATURE_ENABLE_WRITE_CACHE) disk.writeCache = true;
      original.ata_command.call(this, command);
    }
  };

  prototype.do_write = function () {
    const disk = hardDisk(this);
    if (!disk) {
      original.do_write.call(this);
      return;
    }
    const command = this.current_command;
    const data = this.data.subarray(0, this.data_length);
    this.status_reg = STATUS_BUSY;
    disk.set(this.write_dest, data, () => {
      this.ata_advance(command, data.length / 512);
      this.status_reg = STATUS_READY;
      this.push_irq();
    });
    this.report_write(data.length);
  };

  prototype.atapi_handle = function () {
    const disc = this.buffer instanceof IdeDisk ? this.buffer : undefined;
    original.atapi_handle.call(this);
    if (disc && !this.buffer) disc.guestEjected?.();
  };

  prototype.atapi_read = function (packet) {
    original.atapi_read.call(this, packet);
    if (this.buffer instanceof IdeDisk && this.buffer.busy) this.buffer.holdGuest();
  };

  prototype.cancel_io_operations = function () {
    original.cancel_io_operations.call(this);
    const disk = this.buffer instanceof IdeDisk ? this.buffer : undefined;
    disk?.cancel();
  };
}

function hardDisk(drive: V86IdeInterface): IdeDisk | undefined {
  return !drive.is_atapi && drive.buffer instanceof IdeDisk ? drive.buffer : undefined;
}

function flush(drive: V86IdeInterface, disk: IdeDisk): void {
  drive.error_reg = 0;
  drive.status_reg = STATUS_BUSY;
  disk.flush(() => {
    drive.status_reg = STATUS_READY;
    drive.current_command = NO_COMMAND;
    drive.push_irq();
  });
}

function setBit(data: Uint8Array, byte: number, on: boolean): void {
  const value = data[byte] ?? 0;
  data[byte] = on ? value | WRITE_CACHE_BIT : value & ~WRITE_CACHE_BIT;
}
