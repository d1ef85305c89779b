import { afterEach, expect, test } from "vitest";
import { createMemoryFile, createQcow2, openQcow2, type Qcow2Device } from "../disk/index.ts";
import wasmUrl from "../node_modules/v86/build/v86.wasm?url";
import biosUrl from "../node_modules/v86-firmware/bios/seabios.bin?url";
import vgaBiosUrl from "../node_modules/v86-firmware/bios/vgabios.bin?url";
import { createWorkerPacker, type Machine, type MachineConfiguration, startMachine } from "./index.ts";
import type { StatePacker } from "./state-packer.ts";
import { fillWithNoise, memoryOf, SPARE_ADDRESS } from "./testing/saved-machine.ts";
import { TINY_GUEST_BANNER, tinyGuestImage } from "./testing/tiny-guest.ts";

const MIB = 1024 * 1024;

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const load = async (url: string) => (await fetch(url)).arrayBuffer();

async function guestDisk(compression: "zlib" | "zstd" = "zlib"): Promise<Qcow2Device> {
  const file = createMemoryFile({ name: "hda.qcow2" });
  await createQcow2(file, { sizeBytes: 4 * MIB, compression });
  const device = await openQcow2(file);
  await device.write(0, tinyGuestImage(MIB));
  return device;
}

function workerPacker(): StatePacker {
  const create = () => new Worker(new URL("./state-packer-worker.ts", import.meta.url), { type: "module" });
  const packer = createWorkerPacker(create, 2);
  closers.push(() => packer.close());
  return packer;
}

async function boot(
  hda: Qcow2Device,
  configuration: Partial<MachineConfiguration> = {},
  packer: StatePacker = workerPacker(),
) {
  const screenElement = document.createElement("div");
  document.body.append(screenElement);
  closers.push(() => screenElement.remove());
  const [bios, vgaBios, wasm] = await Promise.all([load(biosUrl), load(vgaBiosUrl), load(wasmUrl)]);
  const machine = await startMachine({
    disks: { hda },
    configuration: { memoryMiB: 16, vgaMemoryMiB: 1, ...configuration },
    firmware: { bios, vgaBios },
    wasm,
    screenElement,
    packer,
  });
  closers.push(() => machine.close());
  await output(machine, TINY_GUEST_BANNER);
  return { machine, screenElement };
}

function output(machine: Machine, text: string): Promise<void> {
  return new Promise((resolve) => {
    const remove = machine.serial.onOutput(() => look());
    const look = () => {
      if (!machine.serial.text().includes(text)) return;
      remove();
      resolve();
    };
    look();
  });
}

test.each(["zlib", "zstd"] as const)(
  "a machine is saved and loaded with workers (%s)",
  async (compression) => {
    const hda = await guestDisk(compression);
    const saving = (await boot(hda)).machine;
    const memoryAt = (machine: Machine) => memoryOf(machine).subarray(SPARE_ADDRESS, SPARE_ADDRESS + 4 * MIB);
    fillWithNoise(memoryAt(saving).subarray(0, MIB));
    memoryAt(saving).fill(0x5a, 2 * MIB);
    const before = memoryAt(saving).slice();
    await saving.save("one");
    await saving.close();
    // Another machine has nothing of it in memory.
    const { machine } = await boot(hda);
    let total = 0;
    await machine.load("one", {
      onProgress: ({ totalBytes }) => {
        total = totalBytes;
      },
    });
    expect(total).toBeGreaterThanOrEqual(3 * MIB);
    expect(memoryAt(machine).every((byte, at) => byte === before[at])).toBe(true);
    machine.serial.send("Eon\n");
    await output(machine, "on\n");
  },
);

test("a saved machine has a small picture of its screen", async () => {
  const { machine } = await boot(await guestDisk());
  await machine.save("one");
  const { thumbnail } = await machine.describeSnapshot("one");
  expect(thumbnail?.type).toBe("image/webp");
  const blob = new Blob(thumbnail ? [thumbnail.bytes] : [], { type: thumbnail?.type ?? "" });
  const picture = await createImageBitmap(blob);
  expect([picture.width, picture.height]).toEqual([240, 133]);
  const context = new OffscreenCanvas(240, 133).getContext("2d");
  context?.drawImage(picture, 0, 0);
  const pixels = context?.getImageData(0, 0, 240, 133).data ?? new Uint8ClampedArray();
  expect(new Set(new Uint32Array(pixels.buffer)).size).toBeGreaterThan(1);
});

test("a load of another configuration keeps screen, keyboard and serial port what they are", async () => {
  const hda = await guestDisk();
  const first = await boot(hda);
  await first.machine.save("small");
  await first.machine.close();
  const { machine, screenElement } = await boot(hda, { memoryMiB: 24 });
  machine.keyboard.setEnabled(true);
  machine.screen.setScale(2);
  const { screen, serial } = machine;
  await machine.load("small");
  expect(machine.configuration.memoryMiB).toBe(16);
  expect(screenElement.querySelectorAll("canvas")).toHaveLength(1);
  expect(screen.text()).toMatch(/^SeaBIOS/);
  expect((await createImageBitmap(await screen.screenshot())).width).toBe(720);
  serial.send("Estill here\n");
  await output(machine, "still here\n");
  const init = { code: "KeyA", key: "a", keyCode: 65, bubbles: true, cancelable: true };
  const pressed = new KeyboardEvent("keydown", init);
  document.body.dispatchEvent(pressed);
  expect(pressed.defaultPrevented).toBe(true);
});

test("a worker that cannot be started fails the save, and the machine goes on as it was", async () => {
  const hda = await guestDisk();
  const broken = createWorkerPacker(() => new Worker("data:text/javascript,throw new Error('no')"), 1);
  closers.push(() => broken.close());
  const { machine } = await boot(hda, {}, broken);
  await expect(machine.save("one")).rejects.toMatchObject({ code: "INTERNAL" });
  expect(hda.snapshots).toEqual([]);
  machine.serial.send("Eon\n");
  await output(machine, "on\n");
});
