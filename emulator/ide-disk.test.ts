import { expect, test, vi } from "vitest";
import { ByreError, createMemoryFile, openRawDevice } from "../disk/index.ts";
import { IdeDisk } from "./ide-disk.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";

const MIB = 1024 * 1024;

async function openDisk(immediate: boolean) {
  const file = createMemoryFile({ name: "disk", content: new Uint8Array(64 * 1024).fill(0x11) });
  const device = createScriptedDevice(openRawDevice(file), { immediate });
  const events = { onFailure: vi.fn(), onCrash: vi.fn() };
  const disk = await IdeDisk.open(device, events);
  return { file, device, disk, events };
}

const filled = (byte: number) => new Uint8Array(512).fill(byte);
const networkError = new ByreError("NETWORK", "The server went away.");

test("a read that hits completes in the same call", async () => {
  const { disk } = await openDisk(true);
  let first = 0;
  disk.get(512, 512, (data) => {
    first = data[0] ?? 0;
  });
  expect(first).toBe(0x11);
  expect(disk.stats).toMatchObject({ requests: 1, cacheHits: 1, bytesRead: 512 });
});

test("a read that misses completes later, with the data", async () => {
  const { disk } = await openDisk(false);
  const done = vi.fn();
  disk.get(512, 1024, (data) => done([...data.slice(0, 2), data.length]));
  expect(done).not.toHaveBeenCalled();
  await disk.settled();
  expect(done).toHaveBeenCalledWith([0x11, 0x11, 1024]);
  expect(disk.stats.cacheHits).toBe(0);
});

test("a write keeps its own copy of data that changes after the call", async () => {
  const { disk, file } = await openDisk(false);
  const data = filled(1);
  disk.set(0, data, () => undefined);
  data.fill(2);
  await disk.settled();
  expect(file.toBytes()[0]).toBe(1);
});

test("requests run in the order they came", async () => {
  const { disk, device } = await openDisk(false);
  device.hold("write");
  const seen: string[] = [];
  disk.set(1024, filled(7), () => seen.push("write"));
  disk.get(1024, 512, (data) => seen.push(`read ${data[0]}`));
  disk.flush(() => seen.push("flush"));
  await device.requested("write", 1);
  expect(seen).toEqual([]);
  device.release("write");
  await disk.settled();
  expect(seen).toEqual(["write", "read 7", "flush"]);
  expect(device.log.slice(1)).toEqual(["write 1024+512", "read 1024+512", "flush"]);
});

test("a failed read calls nobody back until a retry succeeds", async () => {
  const { disk, device, events } = await openDisk(false);
  device.fail("read", networkError);
  const done = vi.fn();
  disk.get(512, 512, (data) => done(data[0]));
  await disk.settled();
  expect(events.onFailure).toHaveBeenCalledExactlyOnceWith(networkError);
  await disk.retry();
  expect(disk.failure).toBe(networkError);
  expect(done).not.toHaveBeenCalled();
  device.fail("read", undefined);
  await disk.retry();
  expect(disk.failure).toBeUndefined();
  expect(done).toHaveBeenCalledExactlyOnceWith(0x11);
});

test("an error that the fast path throws is a failure too", async () => {
  const { disk, device, events } = await openDisk(true);
  const corrupt = new ByreError("CORRUPT", "Bad table.");
  device.readNow = () => {
    throw corrupt;
  };
  device.fail("read", corrupt);
  const done = vi.fn();
  disk.get(512, 512, done);
  await disk.settled();
  expect(done).not.toHaveBeenCalled();
  expect(events.onFailure).toHaveBeenCalledWith(corrupt);
});

test("a cancelled request calls nobody back, and a later one waits for a write that had begun", async () => {
  const { disk, device } = await openDisk(false);
  device.hold("write");
  const dead = vi.fn();
  const read = vi.fn();
  disk.set(512, filled(3), dead);
  disk.get(0, 512, dead);
  await device.requested("write", 1);
  disk.cancel();
  disk.get(512, 512, (data) => read(data[0]));
  device.release("write");
  await disk.settled();
  expect(dead).not.toHaveBeenCalled();
  expect(read).toHaveBeenCalledWith(3);
});

test.each(["read", "flush"] as const)(
  "a cancelled %s is waited for by nobody, until the device is closed",
  async (kind) => {
    const { disk, device } = await openDisk(false);
    device.hold(kind);
    const dead = vi.fn();
    if (kind === "read") disk.get(512, 512, dead);
    else disk.flush(dead);
    disk.set(512, filled(3), dead);
    await device.requested(kind, kind === "read" ? 2 : 1);
    const settled = disk.settled();
    disk.cancel();
    await settled;
    expect(disk.busy).toBe(false);
    const released = vi.fn();
    const releasing = disk.released().then(released);
    const done = vi.fn();
    disk.set(1024, filled(4), done);
    await disk.settled();
    expect([done, released].map(({ mock }) => mock.calls.length)).toEqual([1, 0]);
    device.fail(kind, networkError);
    device.release(kind);
    await releasing;
    expect(dead).not.toHaveBeenCalled();
    expect(disk.failure).toBeUndefined();
    expect(device.log.filter((entry) => entry.startsWith("write"))).toEqual(["write 1024+512"]);
  },
);

test("when the guest is switched off what it was writing is still written, and fails if it does", async () => {
  const { disk, device, file } = await openDisk(false);
  device.hold("read");
  const read = vi.fn();
  disk.get(0, 512, read);
  disk.set(512, filled(5), () => undefined);
  await device.requested("read", 2);
  device.fail("write", networkError);
  disk.cancelReads();
  await disk.settled();
  expect(disk.failure).toBe(networkError);
  device.fail("write", undefined);
  await disk.retry();
  device.release("read");
  await disk.released();
  expect([disk.failure, file.toBytes()[512], read.mock.calls.length]).toEqual([undefined, 5, 0]);
});

test("cancelling forgets a failure", async () => {
  const { disk, device } = await openDisk(false);
  device.fail("read", networkError);
  disk.get(512, 512, () => undefined);
  await disk.settled();
  device.fail("read", undefined);
  disk.cancel();
  expect(disk.busy).toBe(false);
  const done = vi.fn();
  disk.get(512, 512, done);
  await disk.settled();
  expect(done).toHaveBeenCalledOnce();
});

test("past 32 MiB of dirty data a write waits for a flush, and a failed flush does not write twice", async () => {
  const { disk, device, events } = await openDisk(true);
  device.pretendDirty(33 * MIB);
  device.fail("flush", new ByreError("QUOTA_EXCEEDED", "Full."));
  const done = vi.fn();
  disk.set(512, filled(9), done);
  await disk.settled();
  expect(done).not.toHaveBeenCalled();
  expect(events.onFailure).toHaveBeenCalledOnce();
  device.fail("flush", undefined);
  await disk.retry();
  expect(done).toHaveBeenCalledOnce();
  expect(device.log.filter((entry) => entry.startsWith("write"))).toEqual([]);

  device.pretendDirty(0);
  disk.set(512, filled(9), done);
  expect(done).toHaveBeenCalledTimes(2);
});

test("with its write cache off every write is flushed before it completes", async () => {
  const { disk, device } = await openDisk(true);
  disk.writeCache = false;
  device.hold("flush");
  const done = vi.fn();
  disk.set(512, filled(9), done);
  await device.requested("flush", 1);
  expect(done).not.toHaveBeenCalled();
  device.release("flush");
  await disk.settled();
  expect(done).toHaveBeenCalledOnce();
});

test("a result the emulator cannot take is reported", async () => {
  const { disk, events } = await openDisk(false);
  disk.get(512, 512, () => {
    throw new RangeError("offset is out of bounds");
  });
  await disk.settled();
  expect(events.onCrash).toHaveBeenCalledOnce();
});

test("refuses what is no disk: under a sector, over 2 TiB", async () => {
  const events = { onFailure: vi.fn(), onCrash: vi.fn() };
  const small = openRawDevice(createMemoryFile({ content: new Uint8Array(100) }));
  await expect(IdeDisk.open(small, events)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  const large = { ...small, name: "large", sizeBytes: 2 ** 41 + 512 };
  await expect(IdeDisk.open(large, events)).rejects.toMatchObject({ code: "TOO_LARGE" });
});
