import type { Page } from "@playwright/test";
import { violations } from "./accessibility-check.ts";
import { ask, expect, test, waitForSerial } from "./byre-test.ts";
import type { ImageServer } from "./image-server.ts";
import { BANNER, fromMenu, openGuest } from "./panel-steps.ts";

test.use({ permissions: ["clipboard-read", "clipboard-write"] });

function button(page: Page, name: string) {
  return page.getByRole("button", { name, exact: true });
}

/** Boots the tiny guest and has it listen to its keyboard, which waits for being asked. */
async function openListening(page: Page, images: ImageServer): Promise<void> {
  await openGuest(page, images);
  // The BIOS would take the keys with every interrupt of the keyboard.
  await ask(page, "o0021AA");
  await ask(page, "o0060F4");
  expect(await scanCodes(page)).toBe("FA");
}

/** What the guest's keyboard controller holds, in the order it came. */
async function scanCodes(page: Page): Promise<string> {
  const codes: string[] = [];
  for (;;) {
    const status = Number.parseInt((await ask(page, "i0064")).slice(1), 16);
    if ((status & 1) === 0) return codes.join(" ");
    codes.push((await ask(page, "i0060")).slice(-2));
  }
}

test("keys that a browser keeps reach the guest from a menu", async ({ page, images }) => {
  await openListening(page, images);
  await button(page, "Send keys").click();
  await page.getByRole("menuitem", { name: "Ctrl-Alt-Del" }).click();
  await expect.poll(() => scanCodes(page)).toBe("1D 38 E0 53 E0 D3 B8 9D");

  // Others are in menus of the menu, with the keyboard too.
  await button(page, "Send keys").press("Enter");
  await page.keyboard.type("ctrl-alt-f");
  await page.keyboard.press("ArrowRight");
  await expect(page.getByRole("menuitem", { name: "Ctrl-Alt-F1", exact: true })).toBeFocused();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect.poll(() => scanCodes(page)).toBe("1D 38 3C BC B8 9D");
});

test("modifiers that are down when the keys leave the guest are let go in it", async ({ page, images }) => {
  await openListening(page, images);
  const screen = page.getByRole("application");
  await screen.focus();
  await page.keyboard.down("Control");
  await page.keyboard.down("Alt");
  await page.keyboard.press("g");
  await expect(screen).not.toBeFocused();
  await page.keyboard.up("Alt");
  await page.keyboard.up("Control");
  // Down, and up again; v86 lets Alt go by itself too.
  await expect
    .poll(async () => (await scanCodes(page)).split(" ").sort().filter(isOnce))
    .toEqual(["1D", "38", "9D", "B8"]);
});

function isOnce(code: string, index: number, codes: readonly string[]): boolean {
  return codes.indexOf(code) === index;
}

test("a keyboard on the screen types, with modifiers that stay down for one key", async ({
  page,
  images,
}) => {
  await openListening(page, images);
  await button(page, "Send keys").click();
  await page.getByRole("menuitem", { name: "Show a keyboard" }).click();
  const keyboard = page.getByRole("region", { name: "Keyboard" });
  await keyboard.getByRole("button", { name: "Ctrl", exact: true }).click();
  await expect(keyboard.getByRole("button", { name: "Ctrl", exact: true })).toHaveAttribute(
    "aria-pressed",
    "true",
  );
  await keyboard.getByRole("button", { name: "c", exact: true }).click();
  await expect.poll(() => scanCodes(page)).toBe("1D 2E AE 9D");

  // Twice: for all that follow. What is on the keys follows too.
  await keyboard.getByRole("button", { name: "Shift" }).dblclick();
  await keyboard.getByRole("button", { name: "A", exact: true }).click();
  await keyboard.getByRole("button", { name: "!", exact: true }).press("Enter");
  await keyboard.getByRole("button", { name: "Shift, locked" }).click();
  await expect.poll(() => scanCodes(page)).toBe("2A 1E 9E 02 82 AA");

  await keyboard.getByRole("button", { name: /other keys/ }).click();
  await keyboard.getByRole("button", { name: "F10" }).click();
  await keyboard.getByRole("button", { name: "Up", exact: true }).click();
  await expect.poll(() => scanCodes(page)).toBe("44 C4 E0 48 E0 C8");
});

test("on a touch screen the keyboard has a button, and comes with the screen", async ({
  browser,
  images,
}) => {
  const phone = await browser.newContext({
    hasTouch: true,
    isMobile: true,
    viewport: { width: 360, height: 640 },
  });
  const page = await phone.newPage();
  await openListening(page, images);
  await button(page, "Keyboard").tap();
  const keyboard = page.getByRole("region", { name: "Keyboard" });
  await keyboard.getByRole("button", { name: "q", exact: true }).tap();
  await expect.poll(() => scanCodes(page)).toBe("10 90");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  for (const key of await keyboard.getByRole("button").all()) {
    const box = await key.boundingBox();
    expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThanOrEqual(24);
  }

  // On the full screen too, where nothing but the screen's part of the page is seen.
  await fromMenu(page, "Full screen");
  await expect(page.locator("section:fullscreen")).toBeVisible();
  await keyboard.getByRole("button", { name: "w", exact: true }).tap();
  await expect.poll(() => scanCodes(page)).toBe("11 91");
  await button(page, "Send keys").tap();
  await page.getByRole("menuitem", { name: "Alt-Tab" }).tap();
  await expect.poll(() => scanCodes(page)).toBe("38 0F 8F B8");
  await phone.close();
});

test("text is typed into the machine; what its keyboard lacks is said", async ({ page, images }) => {
  await openListening(page, images);
  await page.evaluate(() => navigator.clipboard.writeText("aB\t1ö"));
  await button(page, "Type text").click();
  const panel = page.getByRole("complementary", { name: "Type text" });
  await panel.getByRole("button", { name: "Paste here" }).click();
  await expect(panel.getByLabel("Text", { exact: true })).toHaveValue("aB\t1ö");
  await expect(panel.getByText("1 left out: the keyboard has no such keys")).toBeVisible();
  await panel.getByRole("button", { name: "Type it" }).click();
  await expect(panel.getByText("All of it is typed.")).toBeVisible();
  expect(await scanCodes(page)).toBe("1E 9E 2A 30 B0 AA 0F 8F 02 82");

  await panel.getByLabel("Text", { exact: true }).fill("x".repeat(5000));
  await panel.getByRole("button", { name: "Type it" }).click();
  await panel.getByRole("button", { name: "Stop" }).click();
  await expect(panel.getByText(/^\d+ of 5000 characters are typed\.$/)).toBeVisible();
});

test("the screen is saved and copied as a picture", async ({ page, images }) => {
  await openGuest(page, images);
  await button(page, "Picture").click();
  const [saved] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("menuitem", { name: "Save the picture" }).click(),
  ]);
  expect(saved.suggestedFilename()).toMatch(/^guest \d{4}-\d\d-\d\d \d\d-\d\d-\d\d\.png$/);
  await button(page, "Picture").click();
  await page.getByRole("menuitem", { name: "Copy the picture" }).click();
  await expect(page.getByText("Picture copied")).toBeVisible();
  const types = await page.evaluate(async () => (await navigator.clipboard.read()).map(({ types }) => types));
  expect(types).toEqual([["image/png"]]);
});

test("the screen fills its place when it is asked to, and the next time too", async ({ page, images }) => {
  await openGuest(page, images);
  const canvas = page.getByRole("application", { name: /Guest screen/ }).locator("canvas");
  const sizes = () =>
    canvas.evaluate((element) => {
      const { width, height } = element.getBoundingClientRect();
      const box = element.closest<HTMLElement>("[role=application]");
      return {
        scale: width / (element as HTMLCanvasElement).width,
        height,
        room: box?.clientWidth ?? 0,
        width,
      };
    });
  expect((await sizes()).scale).toBe(1);
  await button(page, "Size").click();
  await page.getByRole("menuitemradio", { name: "Fill" }).click();
  await expect.poll(async () => (await sizes()).room - (await sizes()).width).toBeLessThan(20);
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect.poll(async () => (await sizes()).room - (await sizes()).width).toBeLessThan(20);
});

test("the terminal is copied, pasted into, cleared, and its letters made larger", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  const rows = page.locator(".xterm-rows");
  await expect(rows).toContainText(BANNER);
  await button(page, "Copy everything").click();
  await expect(page.getByText("All of it copied")).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(BANNER);

  await page.evaluate(() => navigator.clipboard.writeText("Epasted\n"));
  await button(page, "Paste").click();
  // A terminal sends Enter for the end of a line, and this guest waits for the other sign.
  await page.evaluate(() => window.byre.machine?.serial.send("\n"));
  await waitForSerial(page, "pasted");
  await button(page, "Clear the terminal").click();
  await expect(rows).not.toContainText(BANNER);

  await page.evaluate(() => window.byre.machine?.serial.send("Eselected\n"));
  const word = await rows.getByText("selected").boundingBox();
  await page.mouse.dblclick((word?.x ?? 0) + 20, (word?.y ?? 0) + 5);
  await page.keyboard.press("Control+Shift+KeyC");
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe("selected");

  const heightOfRow = () =>
    rows
      .locator("div")
      .first()
      .evaluate((row) => row.getBoundingClientRect().height);
  const before = await heightOfRow();
  for (let times = 0; times < 5; times++) await button(page, "Larger letters").click();
  await expect.poll(heightOfRow).toBeGreaterThan(before);
  const larger = await heightOfRow();
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect.poll(heightOfRow).toBe(larger);
});

test("the machine's sound is muted and made quieter, for the next time too", async ({ page, images }) => {
  await openGuest(page, images);
  const sound = () =>
    page.evaluate(() => {
      const { muted, volume } = window.byre.machine?.sound ?? {};
      return { muted, volume };
    });
  await button(page, "Sound").click();
  await page.getByRole("slider", { name: "Volume" }).fill("40");
  expect(await sound()).toEqual({ muted: false, volume: 0.4 });
  await button(page, "Mute").click();
  expect(await sound()).toEqual({ muted: true, volume: 0.4 });
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.reload();
  await waitForSerial(page, BANNER);
  await expect(button(page, "Sound: off")).toBeVisible();
  expect(await sound()).toEqual({ muted: true, volume: 0.4 });
});

test("a machine that listens to its mouse gets it with a click, and Escape gives it back", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  const give = button(page, "Give the mouse to the machine");
  await expect(give).toHaveCount(0);
  // What a driver does: "to the mouse", then "report".
  for (const command of ["o0064D4", "o0060F4"]) await ask(page, command);
  await expect(page.getByText("Mouse: click the screen")).toBeVisible();
  const screen = page.getByRole("application", { name: /Guest screen/ });
  const locked = () => page.evaluate(() => document.pointerLockElement !== null);
  // A text screen: a click is for the keyboard alone.
  await screen.click();
  await expect(page.getByText("Keys: screen")).toBeVisible();
  expect(await locked()).toBe(false);
  await give.click();
  await expect(page.getByText("Mouse: machine. Esc leaves")).toBeVisible();
  expect(await locked()).toBe(true);
  await page.evaluate(() => document.exitPointerLock());
  await expect(page.getByText("Mouse: click the screen")).toBeVisible();

  await showPicture(page);
  await screen.click();
  await expect.poll(locked).toBe(true);
});

test("a guest that takes positions gets the mouse's own, without a lock, wherever the picture stands", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  for (const command of ["o0064D4", "o0060F4"]) await ask(page, command);
  // What a driver of VMware's mouse does: "enable", the version it gets for that, "absolute".
  await ask(page, "V454145520029");
  expect(await ask(page, "V000000010027")).toBe("=3442554A");
  await ask(page, "V534241520029");
  await expect(page.getByText("Mouse: click the screen")).toHaveCount(0);
  await expect(button(page, "Give the mouse to the machine")).toHaveCount(0);
  const screen = page.getByRole("application", { name: /Guest screen/ });
  const canvas = screen.locator("canvas");
  for (const size of [/^Fill/, /^Sharp/]) {
    await button(page, "Size").click();
    await page.getByRole("menuitemradio", { name: size }).click();
    const { x, y, width, height } = (await canvas.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
    for (const [right, down] of [
      [0.25, 0.75],
      [0.9, 0.1],
    ] as const) {
      await page.mouse.move(x + width * right, y + height * down);
      await page.mouse.down();
      await page.mouse.up();
      const packets = await mousePackets(page);
      expect(packets.map(({ buttons }) => buttons)).toEqual([0, 0x20, 0]);
      for (const packet of packets) {
        expect(packet.x).toBeCloseTo(right, 2);
        expect(packet.y).toBeCloseTo(down, 2);
      }
    }
  }
  expect(await page.evaluate(() => document.pointerLockElement)).toBeNull();

  // A finger is followed too. It scrolls the page where the screen is text, of which a mouse is rarely a part.
  const drag = () =>
    canvas.evaluate((target) => {
      const { left, top, width, height } = target.getBoundingClientRect();
      const changedTouches = [
        new Touch({ identifier: 1, target, clientX: left + width / 2, clientY: top + height / 4 }),
      ];
      const send = (type: string) =>
        target.dispatchEvent(new TouchEvent(type, { bubbles: true, cancelable: true, changedTouches }));
      send("touchstart");
      const scrolls = send("touchmove");
      send("touchend");
      return scrolls;
    });
  expect(await drag()).toBe(true);
  const [touched, ...more] = await mousePackets(page);
  expect(more).toEqual([]);
  expect(touched?.x).toBeCloseTo(0.5, 2);
  expect(touched?.y).toBeCloseTo(0.25, 2);
  await showPicture(page);
  expect(await drag()).toBe(false);
});

/** Switches to graphics: bit 0 of the attribute controller's mode. */
async function showPicture(page: Page): Promise<void> {
  for (const command of ["i03DA", "o03C010", "o03C041", "o03C020"]) await ask(page, command);
  await page.waitForFunction(() => window.byre.machine?.screen.text() === "");
}

/** What the driver of VMware's mouse is given, with positions as parts of the screen. */
async function mousePackets(page: Page): Promise<{ buttons: number; x: number; y: number }[]> {
  const packets: { buttons: number; x: number; y: number }[] = [];
  while ((await ask(page, "V000000000028")) !== "=00000000") {
    const buttons = Number.parseInt((await ask(page, "V000000040027")).slice(1), 16);
    const place = await ask(page, "v");
    const part = (digits: string) => Number.parseInt(digits, 16) / 0xffff;
    packets.push({ buttons, x: part(place.slice(5)), y: part(place.slice(1, 5)) });
  }
  return packets;
}

test("what a machine is set to show is shown alone, with a way to the other", async ({ page, images }) => {
  await openGuest(page, images);
  const screen = page.getByRole("region", { name: "Screen", exact: true });
  const terminal = page.getByRole("region", { name: "Serial terminal" });
  await expect(screen).toBeVisible();
  await expect(terminal).toBeVisible();
  await page.evaluate(() => window.byre.machine?.setSettings({ display: "terminal" }));
  await expect(screen).toBeHidden();
  await expect(terminal).toBeVisible();
  await page.getByRole("radio", { name: "Screen" }).click();
  await expect(screen).toBeVisible();
  await expect(terminal).toBeHidden();
});

test("lights tell when the disk is read and written; the network says where it leads", async ({
  page,
  images,
}) => {
  await openGuest(page, images);
  const disk = page.getByRole("img", { name: /^Disk/ });
  await expect(disk).toHaveAccessibleName("Disk: idle");
  // A light that is on for a moment is not missed by whoever is told of every change.
  await disk.evaluate((light) => {
    const seen: (string | null)[] = [];
    Object.assign(window, { seen });
    const look = new MutationObserver(() => seen.push(light.getAttribute("aria-label")));
    look.observe(light, { attributes: true, attributeFilter: ["aria-label"] });
  });
  const seen = () => page.evaluate(() => (window as unknown as { seen: string[] }).seen);
  await ask(page, "W000000645A");
  // Perhaps with what the start has read a moment before.
  await expect
    .poll(async () => (await seen()).slice(-2))
    .toEqual([expect.stringMatching(/writes$/), "Disk: idle"]);
  const before = (await seen()).length;
  await ask(page, "R00000064");
  await expect.poll(async () => (await seen()).slice(before)).toEqual(["Disk: reads", "Disk: idle"]);

  await expect(button(page, "Network off")).toBeVisible();
  await expect(page.getByRole("img", { name: /^Network/ })).toHaveCount(0);
  await page.evaluate(() => window.byre.machine?.network.set({ kind: "fetch" }));
  await expect(page.getByRole("img", { name: "Network: idle" })).toBeVisible();
  const network = page.getByRole("button", { name: "Network on through the browser" });
  expect(await violations(page)).toEqual([]);
  await network.click();
  await expect(page.getByRole("complementary", { name: "Settings" })).toBeVisible();
});

test("what the status line says moves no button of it from under a mouse", async ({ page, images }) => {
  await openGuest(page, images);
  const network = button(page, "Network off");
  for (const width of [320, 768, 1024, 1440]) {
    await page.setViewportSize({ width, height: 700 });
    if (width < 600) await page.getByRole("radio", { name: "Terminal" }).click();
    const terminal = page.getByRole("textbox", { name: /^Serial terminal/ });
    await terminal.focus();
    await expect(page.getByText("Keys: terminal")).toBeVisible();
    const before = await network.boundingBox();
    await terminal.blur();
    await expect(page.getByText("Keys: terminal")).toBeHidden();
    expect(await network.boundingBox()).toEqual(before);
    // The terminal loses the keys when the button is pressed down, and the button is still there for the rest.
    await terminal.focus();
    await network.click();
    await expect(page.getByRole("complementary", { name: "Settings" })).toBeVisible();
    await button(page, "Close settings").click();
  }
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme}`, () => {
    test.use({ colorScheme });

    test("the tools of screen and terminal have no axe violations and fit 320 pixels", async ({
      page,
      images,
    }) => {
      await openGuest(page, images);
      await page.setViewportSize({ width: 320, height: 640 });
      // There is room for a name of some length.
      expect((await page.getByTitle("guest").boundingBox())?.x).toBeLessThan(60);
      expect((await button(page, "Pause").boundingBox())?.x).toBeGreaterThan(170);
      await button(page, "Send keys").click();
      await page.getByRole("menuitem", { name: "SysRq, for Linux" }).click();
      await expect(page.getByRole("menuitem", { name: "Alt-SysRq-B" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");
      await page.keyboard.press("Escape");
      await button(page, "Send keys").click();
      await page.getByRole("menuitem", { name: "Show a keyboard" }).click();
      await expect(page.getByRole("region", { name: "Keyboard" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await button(page, "Size").click();
      await expect(page.getByRole("menuitemradio", { name: "Fill" })).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");
      await page.getByRole("radio", { name: "Terminal" }).click();
      await expect(button(page, "Larger letters")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await fromMenu(page, "Type text");
      await page.getByLabel("Text", { exact: true }).fill("ö");
      await expect(page.getByText(/left out/)).toBeVisible();
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    });
  });
}
