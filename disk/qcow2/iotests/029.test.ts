import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMemoryFile, type MemoryFile } from "../../files/memory-file.ts";
import { openDevice } from "../../open-device.ts";
import { Bench, hasQemu, qemuIo } from "../../testing/qemu.ts";
import { createQcow2 } from "../create.ts";
import { openQcow2 } from "../open.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** What iotest 029 is about: snapshots, and L1 tables that grow for VM state. */
describe.skipIf(!hasQemu)("snapshots and VM state (iotest 029)", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.remove());

  async function make(sizeBytes: number, clusterSizeBytes: number) {
    const file = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(file, { sizeBytes, clusterSizeBytes });
    return { file, device: await openQcow2(file) };
  }

  function put(file: MemoryFile): string {
    const path = bench.put("disk.qcow2", file.toBytes());
    bench.check("disk.qcow2");
    return path;
  }

  test.each([
    { sizeBytes: 64 * MIB, clusterSizeBytes: 64 * KIB, stateBytes: 4 * KIB },
    { sizeBytes: 16 * MIB, clusterSizeBytes: KIB, stateBytes: 4 * MIB },
  ])("a snapshot whose L1 table is smaller than the active one", async (shape) => {
    const { file, device } = await make(shape.sizeBytes, shape.clusterSizeBytes);
    const small = await device.createSnapshot({ name: "foo" });
    await device.writeVmState(0, new Uint8Array(shape.stateBytes).fill(1));
    expect(device.image.l1Entries).toBeGreaterThan(small.l1Entries);
    await device.applySnapshot("foo");
    put(file);
    const read = new Uint8Array(shape.stateBytes).fill(9);
    await device.readVmState(0, read);
    expect(read.every((byte) => byte === 0)).toBe(true);
  });

  test("VM state is kept by a snapshot, goes from the disk, and comes back with it", async () => {
    const { file, device } = await make(64 * MIB, 64 * KIB);
    const state = new Uint8Array(3 * MIB + 100).fill(0x11);
    await device.write(0, new Uint8Array(1000).fill(1));
    await device.writeVmState(0, state);
    await device.createSnapshot({ name: "state", vmStateBytes: state.length });
    put(file);
    await device.write(0, new Uint8Array(1000).fill(2));
    const read = new Uint8Array(state.length);
    await device.readVmState(0, read);
    expect(read.every((byte) => byte === 0)).toBe(true);
    await device.applySnapshot("state");
    await device.readVmState(0, read);
    expect(Buffer.compare(read, state)).toBe(0);
    // qemu-io reads the same state from the same place.
    qemuIo(put(file), ["read -b -P 0x11 0 3M"]);
    await device.deleteSnapshot("state");
    put(file);
  });

  test("a VM state too far out is refused, and the image is as it was", async () => {
    const { file, device } = await make(64 * MIB, 512);
    const before = file.toBytes();
    await expect(device.writeVmState(2 ** 40, new Uint8Array(4096))).rejects.toMatchObject({
      code: "TOO_LARGE",
    });
    expect(Buffer.compare(file.toBytes(), before)).toBe(0);
  });

  test("a VM state 1 TiB out", async () => {
    const { file, device } = await make(64 * MIB, 64 * KIB);
    await device.writeVmState(2 ** 40, new Uint8Array(4096).fill(0x11));
    await device.createSnapshot({ name: "foo" });
    await device.applySnapshot("foo");
    const read = new Uint8Array(4096);
    await device.readVmState(2 ** 40, read);
    expect(read.every((byte) => byte === 0x11)).toBe(true);
    await device.flush();
    qemuIo(put(file), ["read -b -P 0x11 1T 4k"]);
  });

  test("a snapshot's L1 table longer than the header's is read by its own length", async () => {
    const { file, device } = await make(64 * MIB, 512);
    await device.write(60 * MIB, new Uint8Array(512).fill(7));
    await device.createSnapshot({ name: "foo" });
    await device.flush();
    const again = createMemoryFile({ name: "disk.qcow2", content: file.toBytes() });
    // A smaller disk, with an L1 table to match: written over the header's fields.
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, 512n);
    again.write(24, new Uint8Array(view.buffer));
    view.setUint32(0, 1);
    again.write(36, new Uint8Array(view.buffer.slice(0, 4)));
    const snapshot = await openDevice(again, { snapshot: "foo" });
    expect(snapshot.sizeBytes).toBe(64 * MIB);
    const read = new Uint8Array(512);
    await snapshot.read(60 * MIB, read);
    expect(read.every((byte) => byte === 7)).toBe(true);
  });
});
