import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ByreError } from "../errors.ts";
import { createMemoryFile } from "../files/memory-file.ts";
import { type ColdFile, createColdFile } from "../testing/cold-file.ts";
import { Bench, hasQemu } from "../testing/qemu.ts";
import { createQcow2 } from "./create.ts";
import { openQcow2 } from "./open.ts";
import type { Qcow2Device } from "./qcow2-device.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import type { StateWriter } from "./state-writer.ts";

/** Operations of one history, and how many histories of each shape. More: STATES_RUNS. */
const OPERATIONS = 40;
const RUNS = Number(process.env.STATES_RUNS ?? 1);
/** QEMU looks at the image after so many operations, and at the end. */
const CHECK_EVERY = 8;
const STATE_CLUSTERS = 24;
const MOST_SNAPSHOTS = 5;

interface Saved {
  readonly disk: Uint8Array;
  /** By cluster; undefined reads as zeros. */
  readonly state: readonly (number | undefined)[];
}

const SHAPES = [
  { version: 3, clusterSizeBytes: 65536, transactional: true, seed: 1 },
  { version: 3, clusterSizeBytes: 65536, transactional: false, seed: 2 },
  { version: 3, clusterSizeBytes: 4096, transactional: true, seed: 3 },
  { version: 3, clusterSizeBytes: 512, transactional: false, seed: 4 },
  { version: 3, clusterSizeBytes: 16384, extendedL2: true, transactional: true, seed: 5 },
  { version: 2, clusterSizeBytes: 4096, transactional: true, seed: 6 },
  { version: 2, clusterSizeBytes: 65536, transactional: false, seed: 7 },
  { version: 3, clusterSizeBytes: 4096, refcountBits: 2, transactional: true, seed: 8 },
] as const;

/** A history of one image, beside what it is to read as. */
class History {
  readonly saved = new Map<string, Saved>();
  disk: Uint8Array;
  private named = 0;
  /** The state the machine was last at: what a save shares from. */
  private parent: string | undefined;

  constructor(
    public device: Qcow2Device,
    readonly file: ColdFile,
    private readonly random: (below: number) => number,
  ) {
    this.disk = new Uint8Array(device.sizeBytes);
  }

  /** @returns what was done; a change that narrow refcounts refuse leaves everything as it was. */
  async step(): Promise<string> {
    try {
      return await this.change();
    } catch (error) {
      if (this.device.info.refcountBits >= 16 || !(error instanceof ByreError)) throw error;
      if (error.code !== "UNSUPPORTED_FEATURE") throw error;
      return "refused";
    }
  }

  private async change(): Promise<string> {
    const kinds = [
      "write",
      "write",
      "zero",
      "save",
      "save",
      "replace",
      "load",
      "delete",
      "rename",
      "edit",
      "cancel",
      "reopen",
    ];
    const kind = kinds[this.random(kinds.length)] ?? "write";
    switch (kind) {
      case "write":
        await this.write();
        break;
      case "zero":
        await this.zero();
        break;
      case "save":
        if (this.saved.size < MOST_SNAPSHOTS) await this.save([]);
        break;
      case "replace":
        await this.save(this.pick(1 + this.random(2)));
        break;
      case "load":
        await this.load();
        break;
      case "delete": {
        const ids = this.pick(1 + this.random(2));
        await this.device.deleteSnapshots(ids);
        for (const id of ids) this.saved.delete(id);
        break;
      }
      case "rename":
        for (const id of this.pick(1)) await this.device.renameSnapshot(id, `renamed ${this.named++}`);
        break;
      case "edit":
        await this.edit();
        break;
      case "cancel": {
        const state = await this.device.beginState({ maxStateBytes: this.stateBytes });
        await this.writeState(state, this.find(this.parent));
        await this.write();
        await state.cancel();
        break;
      }
      default:
        await this.device.flush();
        this.device = await openQcow2(this.file);
    }
    return kind;
  }

  private get clusterBytes(): number {
    return this.device.header.clusterSizeBytes;
  }

  private get stateBytes(): number {
    return STATE_CLUSTERS * this.clusterBytes;
  }

  private pick(count: number): string[] {
    const ids = [...this.saved.keys()];
    const picked: string[] = [];
    while (picked.length < count && ids.length > 0) picked.push(...ids.splice(this.random(ids.length), 1));
    return picked;
  }

  private find(id: string | undefined): Qcow2Snapshot | undefined {
    return this.device.snapshots.find((snapshot) => snapshot.id === id);
  }

  private async write(): Promise<void> {
    const length = 1 + this.random(3 * this.clusterBytes);
    const offset = this.random(this.disk.length - length);
    const data = new Uint8Array(length).fill(1 + this.random(255));
    await this.device.write(offset, data);
    this.disk.set(data, offset);
  }

  private async zero(): Promise<void> {
    const length = 1 + this.random(5 * this.clusterBytes);
    const offset = this.random(this.disk.length - length);
    await this.device.writeZeroes(offset, length, { unmap: this.random(2) === 0 });
    this.disk.fill(0, offset, offset + length);
  }

  private async save(replaces: readonly string[]): Promise<void> {
    const disk = this.disk.slice();
    const state = await this.device.beginState({ maxStateBytes: this.stateBytes });
    const guest = (async () => {
      for (let i = 0; i < 3; i++) await this.write();
    })();
    const content = await this.writeState(state, this.find(this.parent));
    await guest;
    const { id } = await state.finish({
      name: `state ${this.named++}`,
      vmStateBytes: this.stateBytes,
      replaces,
    });
    for (const replaced of replaces) this.saved.delete(replaced);
    this.saved.set(id, { disk, state: content });
    this.parent = id;
  }

  /** Writes a whole state: some of it shared with the parent, packed, plain, zeros, or not written. */
  private async writeState(
    state: StateWriter,
    parent: Qcow2Snapshot | undefined,
  ): Promise<(number | undefined)[]> {
    const theirs = parent && this.saved.get(parent.id)?.state;
    const content: (number | undefined)[] = [];
    for (let index = 0; index < STATE_CLUSTERS; index++) {
      const what = this.random(8);
      if (parent && theirs && what < 4) {
        const shared = await state.share(index, parent);
        if (theirs[index] === undefined) expect(shared).toBe(false);
        if (shared) {
          content.push(theirs[index]);
          continue;
        }
      }
      const value = 1 + this.random(255);
      const bytes = new Uint8Array(this.clusterBytes).fill(value);
      const packed = what % 2 === 0 ? this.device.image.codec.compress(bytes) : undefined;
      if (what === 7) await state.writeZeros(index, 1);
      else if (packed) await state.writePacked(index, packed);
      else if (what !== 6) await state.writeCluster(index, bytes);
      content.push(what >= 6 && !packed ? undefined : value);
    }
    return content;
  }

  private async edit(): Promise<void> {
    for (const id of this.pick(1)) {
      const before = this.saved.get(id);
      if (!before) continue;
      const state = [...before.state];
      const writer = await this.device.editState(id);
      for (let i = 0; i < 3; i++) {
        const index = this.random(STATE_CLUSTERS);
        const value = 1 + this.random(255);
        const bytes = new Uint8Array(this.clusterBytes).fill(value);
        const packed = this.random(2) === 0 ? this.device.image.codec.compress(bytes) : undefined;
        if (packed) await writer.writePacked(index, packed);
        else await writer.writeCluster(index, bytes);
        state[index] = value;
        await this.write();
      }
      if (this.random(4) === 0) {
        await writer.cancel();
        continue;
      }
      const edited = await writer.finish({ name: `edited ${this.named++}`, vmStateBytes: this.stateBytes });
      expect(edited.id).toBe(id);
      this.saved.set(id, { disk: before.disk, state });
    }
  }

  private async load(): Promise<void> {
    for (const id of this.pick(1)) {
      const how = this.random(3);
      await this.device.applySnapshot(id, { withoutState: how === 0 });
      if (how === 1) await this.device.dropVmState(this.stateBytes);
      this.disk = this.saved.get(id)?.disk.slice() ?? this.disk;
      this.parent = id;
    }
  }

  /** Holds every disk and every state against what they are to be. */
  async check(bench: Bench, what: string): Promise<void> {
    await this.device.flush();
    bench.put("disk.qcow2", this.file.toBytes());
    try {
      bench.check("disk.qcow2");
    } catch (error) {
      throw new Error(`${what}: ${(error as { stderr?: string }).stderr}`);
    }
    expect(Buffer.compare(bench.guestBytes("disk.qcow2"), this.disk), `${what}: the disk`).toBe(0);
    expect(this.device.snapshots.map(({ id }) => id).sort()).toEqual([...this.saved.keys()].sort());
    for (const { id } of this.device.snapshots) {
      const saved = this.saved.get(id);
      if (!saved) continue;
      const disk = bench.guestBytes("disk.qcow2", ["-l", `snapshot.id=${id}`]);
      expect(Buffer.compare(disk, saved.disk), `${what}: disk of ${id}`).toBe(0);
      const reader = await this.device.openState(id);
      const bytes = new Uint8Array(this.clusterBytes);
      for (const [index, value = 0] of saved.state.entries()) {
        await reader.read(index * this.clusterBytes, bytes);
        expect(
          bytes.every((byte) => byte === value),
          `${what}: cluster ${index} of ${id}`,
        ).toBe(true);
      }
    }
  }
}

describe.skipIf(!hasQemu)("any history of saves, loads, deletes and edits", () => {
  let bench: Bench;
  beforeAll(() => {
    bench = new Bench();
  });
  afterAll(() => bench.remove());

  test.each(SHAPES)(
    "is clean to QEMU, and every disk and state is whole (version $version, clusters of $clusterSizeBytes, transactional: $transactional)",
    { timeout: 120_000 },
    async ({ transactional, seed, ...options }) => {
      for (let run = 0; run < RUNS; run++) {
        let number = seed + 1000 * run;
        const random = (below: number) => {
          number = (Math.imul(number, 1664525) + 1013904223) >>> 0;
          return Math.floor((number / 2 ** 32) * below);
        };
        const made = createMemoryFile();
        await createQcow2(made, { sizeBytes: 40 * options.clusterSizeBytes, ...options });
        const file = createColdFile(made.toBytes(), { transactional, capacityPieces: 300 });
        const history = new History(await openQcow2(file), file, random);
        const done: string[] = [];
        for (let i = 1; i <= OPERATIONS; i++) {
          try {
            done.push(await history.step());
          } catch (error) {
            throw new Error(`run ${run}, after ${done.join(" ")}`, { cause: error });
          }
          if (i % CHECK_EVERY === 0) await history.check(bench, `run ${run}, after ${done.join(" ")}`);
        }
        await history.check(bench, `run ${run}, at the end`);
        await history.device.deleteSnapshots([...history.saved.keys()]);
        history.saved.clear();
        await history.check(bench, `run ${run}, without snapshots`);
      }
    },
  );
});
