import type { BlockDevice } from "../disk/index.ts";
import { type Floppy, FloppyImage, openFloppy } from "./floppy.ts";
import type { InsertOptions, Medium } from "./machine-devices.ts";
import type { V86FloppyDrive } from "./v86-internals.ts";

/** The floppy drive of a machine. It outlives the emulator it is attached to. */
export interface FloppyDrive {
  readonly floppy: Floppy | undefined;
  readonly medium: Medium | undefined;
  /** Takes this emulator's drive from now on, and puts in it what belongs in it. */
  attach(drive: V86FloppyDrive): void;
  /** A saved state has brought what was in the drive then: what is in it now stays in it. */
  refresh(): void;
  /** As `MachineMedia.insertFloppy`; `flush` makes durable what is taken out. */
  insert(device: BlockDevice, options: InsertOptions, flush: FlushFloppy): Promise<void>;
  eject(flush: FlushFloppy): Promise<void>;
  /** Lets go of it, without a flush. */
  close(): void;
}

export type FlushFloppy = (floppy: Floppy) => Promise<void>;

export function createFloppyDrive(first: Floppy | undefined): FloppyDrive {
  let drive: V86FloppyDrive | undefined;
  let floppy = first;
  let onEjected: InsertOptions["onEjected"];
  /** Out of the drive, and not yet flushed. */
  let leaving: Floppy | undefined;

  const inDrive = () => (floppy === leaving ? undefined : floppy);
  const load = () => {
    if (!drive) return;
    drive.eject_disk();
    const inside = inDrive();
    if (inside) drive.insert_disk(inside.image, !inside.device.writable);
  };
  const takeOut = async (flush: FlushFloppy) => {
    if (!floppy) return;
    // Out of the drive first, so that the guest writes nothing after the flush.
    leaving = floppy;
    load();
    try {
      await flush(floppy);
    } catch (error) {
      leaving = undefined;
      load();
      throw error;
    }
    leaving = undefined;
    floppy = undefined;
    const ejected = onEjected;
    onEjected = undefined;
    ejected?.();
  };
  return {
    get floppy() {
      return floppy;
    },
    get medium() {
      if (!floppy) return undefined;
      const { name, sizeBytes, writable } = floppy.device;
      return { name, sizeBytes, writable };
    },
    attach(next) {
      drive = next;
      const { buffer } = next;
      const inside = inDrive();
      if (inside && buffer instanceof FloppyImage && buffer.isOf(inside.device)) inside.image = buffer;
      else load();
      if (inside) next.read_only = !inside.device.writable;
    },
    refresh() {
      if (!drive) return;
      const inside = inDrive();
      if (inside && drive.buffer === inside.image && inside.image.restored) {
        inside.image.restored = false;
        drive.read_only = !inside.device.writable;
        inside.replaced();
      } else load();
    },
    async insert(device, options, flush) {
      const next = await openFloppy(device);
      await takeOut(flush);
      floppy = next;
      onEjected = options.onEjected;
      load();
    },
    eject: takeOut,
    close() {
      onEjected?.();
      onEjected = undefined;
    },
  };
}
