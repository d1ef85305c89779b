import { afterEach, expect, test } from "vitest";
import { createMemoryFile, openRawDevice } from "../disk/index.ts";
import wasmUrl from "../node_modules/v86/build/v86.wasm?url";
import biosUrl from "../node_modules/v86-firmware/bios/seabios.bin?url";
import vgaBiosUrl from "../node_modules/v86-firmware/bios/vgabios.bin?url";
import { type Machine, startMachine } from "./index.ts";
import { TINY_GUEST_BANNER, tinyGuestImage } from "./testing/tiny-guest.ts";

let machine: Machine | undefined;
let screenElement: HTMLElement | undefined;
afterEach(async () => {
  await machine?.close();
  screenElement?.remove();
});

const load = async (url: string) => (await fetch(url)).arrayBuffer();

async function boot() {
  screenElement = document.createElement("div");
  document.body.append(screenElement);
  const [bios, vgaBios, wasm] = await Promise.all([load(biosUrl), load(vgaBiosUrl), load(wasmUrl)]);
  machine = await startMachine({
    disks: { hda: openRawDevice(createMemoryFile({ content: tinyGuestImage(1024 * 1024) })) },
    configuration: { memoryMiB: 16, vgaMemoryMiB: 1 },
    firmware: { bios, vgaBios },
    wasm,
    screenElement,
  });
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

test("a machine runs in the page, its text is read and its picture is a PNG that is not blank", async () => {
  const { machine, screenElement } = await boot();
  expect(machine.screen.text()).toMatch(/^SeaBIOS/);
  const picture = await createImageBitmap(await machine.screen.screenshot());
  expect([picture.width, picture.height]).toEqual([720, 400]);
  const context = new OffscreenCanvas(720, 400).getContext("2d");
  context?.drawImage(picture, 0, 0);
  const pixels = context?.getImageData(0, 0, 720, 400).data ?? new Uint8ClampedArray();
  expect(new Set(new Uint32Array(pixels.buffer)).size).toBeGreaterThan(1);
  expect(screenElement.querySelectorAll("canvas")).toHaveLength(1);
});

test("keys pressed in the page reach the guest only while the keyboard is enabled", async () => {
  const { machine } = await boot();
  const press = () => {
    const init = { code: "KeyA", key: "a", keyCode: 65, bubbles: true, cancelable: true };
    const event = new KeyboardEvent("keydown", init);
    document.body.dispatchEvent(event);
    document.body.dispatchEvent(new KeyboardEvent("keyup", init));
    return event.defaultPrevented;
  };
  expect(press()).toBe(false);
  machine.keyboard.setEnabled(true);
  expect(press()).toBe(true);
  machine.keyboard.setEnabled(false);
  expect(press()).toBe(false);
});

test("pause, resume, power-off and close work in a page, and close takes the screen out of it", async () => {
  const { machine, screenElement } = await boot();
  await machine.pause();
  await machine.resume();
  machine.serial.send("Estill here\n");
  await output(machine, "still here\n");
  await machine.powerOff();
  expect(machine.state).toBe("stopped");
  await machine.close();
  expect(screenElement.childElementCount).toBe(0);
});
