import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createIso, createMemoryFile, openRawDevice, type Qcow2Device } from "../../disk/index.ts";
import type { NetworkChoice } from "../../emulator/index.ts";
import { type HeadlessMachine, startHeadlessMachine } from "../../emulator/node.ts";
import { createFakeRelays, createHub, type RelayEnd } from "../../emulator/testing/fake-relay.ts";
import { serveWisp } from "../../emulator/testing/fake-wisp-server.ts";
import { SNAPSHOT_NAME } from "../ready-state.ts";
import { BOOT_TIMEOUT_MS, IMAGE, makeOverlay, run } from "./testing.ts";

/** Each boots for some 10 s; many in a row are tried with the tiny guest. */
const RESETS = 2;

/** More than a card's memory, a window and a piece. */
const LARGE = new Uint8Array(300_000).map((_, i) => (i * 7919) >> 3);
const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");

async function startReady(network: NetworkChoice): Promise<HeadlessMachine> {
  const { device } = await makeOverlay(SNAPSHOT_NAME);
  onTestFinished(() => device.close());
  const startFrom = { device: device.backing as Qcow2Device, snapshot: SNAPSHOT_NAME };
  const machine = await startHeadlessMachine({ disks: { hda: device }, startFrom, network });
  onTestFinished(() => machine.close());
  return machine;
}

async function webServer(): Promise<number> {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (piece: Buffer) => {
      body += piece.toString();
    });
    request.on("end", () => {
      if (request.url === "/large") response.end(LARGE);
      else response.end(`${request.method} ${request.url} ${body}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** All connections to relays come here. */
function relays(accept: (end: RelayEnd) => boolean): void {
  vi.stubGlobal("WebSocket", createFakeRelays(accept).WebSocket);
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
}

describe.skipIf(!existsSync(IMAGE) && process.env.CI !== "true")("the Linux appliance", () => {
  const timeout = 2 * BOOT_TIMEOUT_MS;

  test("goes online by the browser's fetch, off and on again, before and after a load", {
    timeout,
  }, async () => {
    const port = await webServer();
    const machine = await startReady({ kind: "fetch" });
    expect(machine.network.state).toBe("on");
    expect(await run(machine, "network")).toContain("192.168.86.100");
    const get = (path: string) =>
      run(machine, `http_proxy=http://192.168.86.1 timeout 9 wget -q -O - http://127.0.0.1:${port}/${path}`);
    expect(await get("hello")).toContain("GET /hello");
    expect(
      await run(
        machine,
        `http_proxy=http://192.168.86.1 wget -q -O - http://127.0.0.1:${port}/large | md5sum`,
      ),
    ).toContain(md5(LARGE));
    const { networkBytesIn, networkBytesOut } = machine.stats();
    expect(networkBytesIn).toBeGreaterThan(LARGE.length);
    expect(networkBytesOut).toBeGreaterThan(1000);

    await machine.network.set({ kind: "off" });
    expect(await get("nothing; echo failed=$?")).toMatch(/^failed=[1-9]/m);
    expect(machine.stats().networkBytesIn).toBe(networkBytesIn);
    await machine.network.set({ kind: "fetch" });
    expect(await get("again")).toContain("GET /again");
    await machine.save("online");
    await machine.load("online");
    expect(await get("loaded")).toContain("GET /loaded");
  });

  test("reaches names and ports through a Wisp relay, whole both ways", { timeout }, async () => {
    const asked: string[] = [];
    let received = 0;
    relays((end) => {
      serveWisp(end, 4, (stream) => {
        asked.push(`${stream.host}:${stream.port}`);
        stream.onData = (bytes) => {
          received += bytes.length;
          if (stream.port !== 80) return;
          stream.send(new TextEncoder().encode("HTTP/1.0 200 OK\r\n\r\n"));
          for (let at = 0; at < LARGE.length; at += 10_000) stream.send(LARGE.subarray(at, at + 10_000));
          stream.close();
        };
      });
      return true;
    });
    const machine = await startReady({ kind: "relay", url: "wisps://relay.example/" });
    expect(await run(machine, "network")).toContain("192.168.86.100");
    expect(machine.network.state).toBe("on");
    expect(await run(machine, "wget -q -O - http://cow.example/file | md5sum")).toContain(md5(LARGE));
    received = 0;
    await run(machine, "head -c 200000 /dev/zero | nc -w 3 Byre.Example 7000");
    expect(received).toBe(200_000);
    await run(machine, "echo | nc -w 3 10.1.2.3 22");
    expect(asked).toEqual(["cow.example:80", "byre.example:7000", "10.1.2.3:22"]);
  });

  test("meets another from the same saved state on a wire of Ethernet frames", { timeout }, async () => {
    relays(createHub());
    const url = "wss://hub.example/";
    const machines = [await startReady({ kind: "relay", url }), await startReady({ kind: "relay", url })];
    for (const [index, machine] of machines.entries())
      await run(
        machine,
        `modprobe ne2k-pci; ip link set eth0 up; ip addr add 10.0.0.${index + 1}/24 dev eth0`,
      );
    const [first] = machines;
    if (!first) throw new Error("There is no machine.");
    expect(await run(first, "ping -c 3 -W 5 10.0.0.2")).toContain("3 packets received");
  });

  test("reboots and is reset with a disc in, the network on, after a load", {
    timeout: (2 * RESETS + 4) * BOOT_TIMEOUT_MS,
  }, async () => {
    const port = await webServer();
    const machine = await startReady({ kind: "fetch" });
    await run(machine, "network");
    const disc = createIso([
      { path: "cow.txt", content: new TextEncoder().encode("the cow is in\n"), mtimeMs: 0 },
    ]);
    await machine.media.insertCdrom(openRawDevice(disc));
    await machine.save("all on");
    await machine.load("all on");
    for (let count = 0; count < 2 * RESETS; count++) {
      const from = machine.serial.text().length;
      if (count % 2) await machine.reset();
      else machine.serial.send("reboot\n");
      await machine.waitForText(/built-in shell[\s\S]*linux:~# /, {
        timeoutMs: BOOT_TIMEOUT_MS,
        fromCharacter: from,
      });
      expect(await run(machine, "mount /dev/sr0 /mnt; cat /mnt/cow.txt")).toContain("the cow is in");
      await run(machine, "network");
      expect(
        await run(machine, `http_proxy=http://192.168.86.1 wget -q -O - http://127.0.0.1:${port}/${count}`),
      ).toContain(`GET /${count} `);
    }
  });

  test("hands a file out through its second serial port, byte for byte", { timeout }, async () => {
    const machine = await startReady({ kind: "off" });
    await run(machine, "head -c 100000 /dev/urandom >file; cat file >/dev/ttyS1");
    const sum = await run(machine, "md5sum file");
    expect(machine.output.sizeBytes).toBe(100_000);
    expect(sum).toContain(md5(machine.output.bytes()));
  });

  test("finds a disc and a floppy that are put in while it runs, and loses them", { timeout }, async () => {
    const machine = await startReady({ kind: "off" });
    expect(await run(machine, "mount /dev/sr0 /mnt")).toMatch(/No medium/i);
    for (const word of ["first", "second"]) {
      const disc = createIso([{ path: "word.txt", content: new TextEncoder().encode(word), mtimeMs: 0 }]);
      await machine.media.insertCdrom(openRawDevice(disc));
      expect(
        await run(machine, "mount -t iso9660 /dev/sr0 /mnt && cat /mnt/word.txt; umount /mnt"),
      ).toContain(word);
    }
    await machine.media.ejectCdrom();
    expect(await run(machine, "mount /dev/sr0 /mnt")).toMatch(/No medium/i);
    expect(await atFloppy(machine)).toContain("moo");
  });
});

/** Writes to a floppy that was just put in, and reads it from outside once it is out. */
async function atFloppy(machine: HeadlessMachine): Promise<string> {
  const file = createMemoryFile({ name: "a.img", content: new Uint8Array(1440 * 1024) });
  await machine.media.insertFloppy(openRawDevice(file));
  await run(machine, "modprobe floppy; echo moo | dd of=/dev/fd0 bs=512 conv=sync; sync");
  await machine.media.ejectFloppy();
  return new TextDecoder().decode(file.toBytes().subarray(0, 16));
}
