import { afterEach, expect, inject, test, vi } from "vitest";
import { createBlobFile, createMemoryFile, openRawDevice } from "../disk/index.ts";
import wasmUrl from "../node_modules/v86/build/v86.wasm?url";
import biosUrl from "../node_modules/v86-firmware/bios/seabios.bin?url";
import vgaBiosUrl from "../node_modules/v86-firmware/bios/vgabios.bin?url";
import { type Machine, type NetworkChoice, startMachine } from "./index.ts";
import { partsOf } from "./testing/saved-machine.ts";
import { TINY_GUEST_BANNER, tinyGuestImage } from "./testing/tiny-guest.ts";

/** How long a thing takes depends on what else the machine does. */
const PATIENTLY = { timeout: 20_000 };

let machine: Machine | undefined;
let screenElement: HTMLElement | undefined;
afterEach(async () => {
  await machine?.close();
  screenElement?.remove();
  vi.restoreAllMocks();
});

const load = async (url: string) => (await fetch(url)).arrayBuffer();

async function boot(network?: NetworkChoice) {
  screenElement = document.createElement("div");
  document.body.append(screenElement);
  const [bios, vgaBios, wasm] = await Promise.all([load(biosUrl), load(vgaBiosUrl), load(wasmUrl)]);
  machine = await startMachine({
    disks: { hda: openRawDevice(createMemoryFile({ content: tinyGuestImage(1024 * 1024) })) },
    configuration: { memoryMiB: 16, vgaMemoryMiB: 1 },
    firmware: { bios, vgaBios },
    wasm,
    screenElement,
    ...(network && { network }),
  });
  await banner(machine, 1);
  return { machine, screenElement };
}

/** Waits for the guest to have booted so often. */
function banner(machine: Machine, count: number): Promise<void> {
  return new Promise((resolve) => {
    const remove = machine.serial.onOutput(() => look());
    const look = () => {
      if (machine.serial.text().split(TINY_GUEST_BANNER).length <= count) return;
      remove();
      resolve();
    };
    look();
  });
}

/** Sends a command and waits for its line of answer. */
function ask(machine: Machine, command: string): Promise<string> {
  const from = machine.serial.text().length;
  return new Promise((resolve) => {
    const remove = machine.serial.onOutput(() => {
      const line = /^(.*)\n/.exec(machine.serial.text().slice(from))?.[1];
      if (line === undefined) return;
      remove();
      resolve(line);
    });
    machine.serial.send(command);
  });
}

test("volume and mute are those of the sound that leaves the page, also in the next emulator", async () => {
  const gains: GainNode[] = [];
  const create = AudioContext.prototype.createGain;
  vi.spyOn(AudioContext.prototype, "createGain").mockImplementation(function (this: AudioContext) {
    const gain = create.call(this);
    gains.push(gain);
    return gain;
  });
  const { machine } = await boot();
  const last = () => gains.at(-1)?.gain.value;
  expect(last()).toBe(1);
  machine.sound.setVolume(0.25);
  expect(last()).toBe(0.25);
  machine.sound.setMuted(true);
  expect(last()).toBe(0);
  const before = gains.at(-1);
  await machine.reset({ configuration: { memoryMiB: 32 } });
  await banner(machine, 2);
  expect(gains.at(-1)).not.toBe(before);
  expect(last()).toBe(0);
  machine.sound.setMuted(false);
  expect(last()).toBe(0.25);
  await machine.sound.resume();
});

test("the mouse is where it is over the picture, scaled, nested and scrolled, once it is the guest's", async () => {
  const { machine, screenElement } = await boot();
  Object.assign(screenElement.style, { position: "absolute", top: "1500px", left: "40px" });
  const canvas = screenElement.querySelector("canvas");
  if (!canvas) throw new Error("There is no picture.");
  // Narrower than what it is in.
  Object.assign(canvas.style, { width: "300px", height: "200px", marginLeft: "25px" });
  window.scrollTo(0, 1450);
  const parts = partsOf(machine);
  const { vmware } = parts.emulator.v86.cpu.devices;
  // As a guest's driver does.
  vmware.bus.send("mouse-enable", true);
  Object.assign(vmware, { enabled: true, absolute: true });
  const heard = vi.fn();
  machine.pointer.onChange(heard);
  vmware.bus.send("vmware-absolute-mouse", true);
  expect([machine.pointer.absolute, heard.mock.calls.length]).toEqual([true, 1]);
  const box = canvas.getBoundingClientRect();
  const move = () =>
    canvas.dispatchEvent(
      new MouseEvent("mousemove", {
        bubbles: true,
        clientX: box.left + box.width / 4,
        clientY: box.top + box.height / 2,
      }),
    );
  move();
  expect(vmware.queue).toEqual([]);
  machine.pointer.setEnabled(true);
  move();
  const [, x = 0, y = 0] = vmware.queue;
  expect(Math.abs(x / 0xffff - 0.25)).toBeLessThan(0.01);
  expect(Math.abs(y / 0xffff - 0.5)).toBeLessThan(0.01);
  vmware.queue.length = 0;
  machine.pointer.setEnabled(false);
  move();
  expect(vmware.queue).toEqual([]);
  await machine.reset();
  expect(machine.pointer.absolute).toBe(false);
  window.scrollTo(0, 0);
});

test("the network card reaches a relay, and hears from it", async () => {
  const url = inject("echoRelay");
  const { machine } = await boot({ kind: "relay", url });
  await vi.waitFor(() => expect(machine.network.state).toBe("on"), PATIENTLY);
  const { net } = partsOf(machine).emulator.v86.cpu.devices;
  // Started, promiscuous; then a frame of 64 bytes from page 40h of its memory.
  for (const [port, value] of [
    ["0300", "22"],
    ["030C", "10"],
    ["0304", "40"],
    ["0305", "40"],
    ["0306", "00"],
  ])
    await ask(machine, `o${port}${value}`);
  net.memory.fill(0xab, 0x4000, 0x4040);
  await ask(machine, "o030026");
  await vi.waitFor(() => expect(machine.stats().networkBytesIn).toBe(64), PATIENTLY);
  expect(machine.stats().networkBytesOut).toBe(64);
  await machine.network.set({ kind: "relay", url: "ws://127.0.0.1:9/" });
  await vi.waitFor(() => expect(machine.network.state).toBe("failed"), PATIENTLY);
  expect(machine.network.problem).toContain("127.0.0.1:9");
});

test("a disc is read from a file of the person's", async () => {
  const { machine } = await boot();
  const content = new Uint8Array(16 * 2048).fill(0x5a);
  await machine.media.insertCdrom(
    openRawDevice(createBlobFile(new File([content], "a.iso"), { name: "a.iso" })),
  );
  const packet = async (...bytes: number[]) => {
    for (const [port, value] of [
      ["0176", 0xa0],
      ["0171", 0],
      ["0174", 0],
      ["0175", 8],
      ["0177", 0xa0],
    ] as const)
      await ask(machine, `o${port}${value.toString(16).padStart(2, "0").toUpperCase()}`);
    for (let i = 0; i < 12; i++)
      await ask(machine, `o0170${(bytes[i] ?? 0).toString(16).padStart(2, "0").toUpperCase()}`);
  };
  // It answers first that there was none, and then that there is another.
  for (let i = 0; i < 2; i++) await packet(0);
  await packet(0x28, 0, 0, 0, 0, 5, 0, 0, 1);
  expect(await ask(machine, "i0170")).toBe("=0000005A");
  expect(machine.stats().bytesRead).toBeGreaterThanOrEqual(2048);
});
