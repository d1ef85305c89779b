import { expect, test, vi } from "vitest";
import { createMemoryFile, openRawDevice } from "../disk/index.ts";
import { openCdDrive } from "./cd-drive.ts";
import { createScriptedDevice } from "./testing/scripted-device.ts";

test("a CD ejected in a read that does not end is waited for by nobody, and given back when it has ended", async () => {
  const file = createMemoryFile({ name: "a.iso", content: new Uint8Array(8 * 2048) });
  const device = createScriptedDevice(openRawDevice(file), { immediate: false });
  const cd = await openCdDrive(undefined, { onFailure: vi.fn(), onCrash: vi.fn() }, vi.fn());
  const told = vi.fn();
  const given = new Promise<void>((resolve) => {
    told.mockImplementation(resolve);
  });
  await cd.insert(device, { onEjected: told });
  device.hold("read");
  const read = vi.fn();
  cd.disk?.get(2048, 2048, read);
  // The first was of its first sector.
  await device.requested("read", 2);
  const settled = cd.disk?.settled();
  cd.eject();
  await settled;
  expect([cd.disk, told.mock.calls.length]).toEqual([undefined, 0]);
  device.release("read");
  await given;
  expect(read).not.toHaveBeenCalled();
});
