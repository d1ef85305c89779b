import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryFile } from "../../files/memory-file.ts";
import { createHostFile } from "../../files/node-file.ts";
import { createFaultyHostIo, type FaultyHostIo } from "../../testing/faulty-host-io.ts";
import { Bench, hasQemu } from "../../testing/qemu.ts";
import { createQcow2 } from "../create.ts";
import { openQcow2 } from "../open.ts";
import type { Qcow2Device } from "../qcow2-device.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

interface Scenario {
  readonly name: string;
  readonly clusterSizeBytes: number;
  readonly refcountBits?: number;
  readonly prepare?: (device: Qcow2Device) => Promise<void>;
  readonly work: (device: Qcow2Device) => Promise<void>;
}

const fill = (length: number) => new Uint8Array(length).fill(1);

/** What the iotest makes fail: every write on the way of an allocation, of a table's growth, of L1 growth. */
const SCENARIOS: Scenario[] = [
  {
    name: "a write that allocates",
    clusterSizeBytes: KIB,
    work: (device) => device.write(0, fill(128 * KIB)),
  },
  {
    name: "a write into a table that is there",
    clusterSizeBytes: KIB,
    prepare: (device) => device.write(0, fill(512)),
    work: (device) => device.write(0, fill(128 * KIB)),
  },
  {
    name: "a refcount table that grows",
    clusterSizeBytes: 512,
    refcountBits: 64,
    work: (device) => device.write(0, fill(3 * MIB)),
  },
  {
    name: "an L1 table that grows for VM state",
    clusterSizeBytes: KIB,
    work: (device) => device.writeVmState(0, fill(64 * KIB)),
  },
  {
    name: "a copy of what a snapshot shares",
    clusterSizeBytes: KIB,
    prepare: async (device) => {
      await device.write(0, fill(64 * KIB));
      await device.createSnapshot({ name: "shared" });
    },
    work: (device) => device.write(0, fill(128 * KIB)),
  },
];

const LATER = Number.POSITIVE_INFINITY;

describe.skipIf(!hasQemu)("errors on the way of a write (iotest 026)", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  async function make({ clusterSizeBytes, refcountBits = 16, prepare }: Scenario): Promise<Uint8Array> {
    const file = createMemoryFile({ name: "disk.qcow2" });
    await createQcow2(file, { sizeBytes: 1024 * MIB, clusterSizeBytes, refcountBits });
    const device = await openQcow2(file);
    await prepare?.(device);
    await device.flush();
    return file.toBytes();
  }

  /** Works and flushes; the code of the first error, or undefined. */
  async function attempt(device: Qcow2Device, work: Scenario["work"]): Promise<string | undefined> {
    try {
      await work(device);
      await device.flush();
      return undefined;
    } catch (error) {
      return (error as { code: string }).code;
    }
  }

  function open(host: FaultyHostIo): Promise<Qcow2Device> {
    return openQcow2(createHostFile(host, { name: "disk.qcow2", writable: true }));
  }

  function checkNothingWorseThanLeaks(host: FaultyHostIo, what: string): void {
    bench.put(
      "after.qcow2",
      host.afterCrash(() => true),
    );
    expect(bench.checkCounts("after.qcow2").corruptions, what).toBe(0);
  }

  describe.each(SCENARIOS)("in $name", { timeout: 60_000 }, (scenario) => {
    test.each([
      ["EIO", "STORAGE"],
      ["ENOSPC", "QUOTA_EXCEEDED"],
    ])("%s: told by name; tried again it succeeds, given up it leaves leaks at most", async (errno, code) => {
      const image = await make(scenario);
      const whole = createFaultyHostIo(image);
      await attempt(await open(whole), scenario.work);
      const step = Math.max(1, Math.floor(whole.operations / 12));
      for (let failFrom = 0; failFrom < whole.operations; failFrom += step) {
        // Once: what failed is tried again, and all is there.
        const once = createFaultyHostIo(image);
        once.failFrom = failFrom;
        once.failCode = errno;
        const device = await open(once);
        expect(await attempt(device, scenario.work)).toBe(code);
        once.failFrom = LATER;
        expect(await attempt(device, scenario.work)).toBeUndefined();
        bench.put(
          "after.qcow2",
          once.afterCrash(() => true),
        );
        bench.check("after.qcow2");
        // For ever: the program goes away, the disk stays as it is.
        const always = createFaultyHostIo(image);
        always.failFrom = failFrom;
        always.failCode = errno;
        expect(await attempt(await open(always), scenario.work)).toBe(code);
        checkNothingWorseThanLeaks(always, `failing from operation ${failFrom}`);
      }
    });
  });
});
