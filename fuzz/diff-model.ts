import type { Random } from "./random.ts";

/** What both images are made as. */
export interface DiffShape {
  readonly version: 2 | 3;
  readonly clusterSizeBytes: number;
  readonly refcountBits: number;
  readonly compression: "zlib" | "zstd";
  readonly extendedL2: boolean;
  readonly lazyRefcounts: boolean;
  readonly preallocation: "off" | "metadata";
  readonly encrypted: boolean;
  readonly sizeBytes: number;
  /** The backing file's format and length; undefined without one. */
  readonly backing: { readonly format: "raw" | "qcow2"; readonly sizeBytes: number } | undefined;
}

/** Where the bytes of a write come from: one value, or a pattern file again and again. */
export type WriteSource = { readonly value: number } | { readonly pattern: number };

/** One step of a script. Offsets and lengths in bytes. */
export type DiffStep =
  | { readonly kind: "write"; readonly offset: number; readonly length: number; readonly source: WriteSource }
  | { readonly kind: "zero"; readonly offset: number; readonly length: number; readonly unmap: boolean }
  | { readonly kind: "discard"; readonly offset: number; readonly length: number }
  | {
      readonly kind: "compressed";
      readonly offset: number;
      readonly length: number;
      readonly source: WriteSource;
    }
  | { readonly kind: "snapshot"; readonly name: string }
  | { readonly kind: "apply"; readonly name: string }
  | { readonly kind: "delete"; readonly name: string }
  | { readonly kind: "resize"; readonly sizeBytes: number };

/** Length of a pattern file. Odd, so that its start never meets the same place of a cluster twice. */
export const PATTERN_BYTES = 65_521;
export const PATTERNS = 3;

const KIB = 1024;

export function pickShape(random: Random): DiffShape {
  const version = random.chance(0.2) ? 2 : 3;
  const clusterSizeBytes = random.pick([
    512, 512, 512, 1024, 1024, 4096, 4096, 4096, 4096, 16384, 16384, 16384, 65536, 65536, 65536, 262144,
    2097152,
  ]);
  const is3 = version === 3;
  const extendedL2 = is3 && clusterSizeBytes >= 16384 && random.chance(0.5);
  const encrypted = random.chance(0.08);
  // Some tens of clusters; few enough that a step over all of them is quick.
  const clusters = clusterSizeBytes >= 262144 ? random.between(2, 5) : random.between(8, 120);
  const full = Math.min(clusters * clusterSizeBytes, 4096 * KIB + clusterSizeBytes);
  const sizeBytes = random.chance(0.4) ? full - 512 * random.between(1, Math.min(100, full / 512 - 1)) : full;
  const backing = random.chance(0.45)
    ? {
        format: random.pick(["raw", "qcow2"] as const),
        sizeBytes: Math.max(512, Math.floor((sizeBytes * random.pick([0.3, 0.7, 1, 1.4])) / 512) * 512),
      }
    : undefined;
  return {
    version,
    clusterSizeBytes,
    refcountBits: is3 ? random.pick([1, 2, 4, 8, 16, 16, 16, 32, 64]) : 16,
    compression: is3 && random.chance(0.5) ? "zstd" : "zlib",
    extendedL2,
    lazyRefcounts: is3 && random.chance(0.2),
    // What QEMU gave room for and never encrypted, it decrypts to noise; we say zeros.
    preallocation: random.chance(0.15) && (!backing || extendedL2) && !encrypted ? "metadata" : "off",
    encrypted,
    sizeBytes,
    backing,
  };
}

/** What the guest would see, and what each snapshot holds. */
export class DiffModel {
  readonly snapshots = new Map<string, Uint8Array>();
  content: Uint8Array;
  private names = 0;

  constructor(
    readonly shape: DiffShape,
    private readonly patterns: readonly Uint8Array[],
    private readonly backing: Uint8Array | undefined,
  ) {
    this.content = new Uint8Array(shape.sizeBytes);
    if (backing) this.content.set(backing.subarray(0, shape.sizeBytes));
  }

  get sizeBytes(): number {
    return this.content.length;
  }

  /** Thinks of something that can be done now. */
  pickStep(random: Random): DiffStep {
    const { shape, sizeBytes } = this;
    const names = [...this.snapshots.keys()];
    const roll = random.below(100);
    // A cluster is counted by each snapshot, by the disk, and once more while QEMU applies a snapshot.
    if (roll < 10 && shape.refcountBits > 1 && names.length < Math.min(6, 2 ** shape.refcountBits - 3))
      return { kind: "snapshot", name: `s${this.names++}` };
    if (roll < 16 && names.length > 0) return { kind: "apply", name: random.pick(names) };
    if (roll < 22 && names.length > 0) return { kind: "delete", name: random.pick(names) };
    // Version 2 keeps no disk size in a snapshot, so QEMU refuses to change it.
    if (roll < 30 && !(shape.version === 2 && names.length > 0))
      return { kind: "resize", sizeBytes: this.pickSize(random) };
    const { offset, length } = this.pickRange(random);
    if (roll < 45) return { kind: "zero", offset, length, unmap: random.chance(0.5) };
    if (roll < 57) return { kind: "discard", offset, length };
    if (roll < 72 && !shape.encrypted && sizeBytes >= shape.clusterSizeBytes) {
      const start = offset - (offset % shape.clusterSizeBytes);
      const clusters = random.between(1, 4);
      const end = Math.min(start + clusters * shape.clusterSizeBytes, sizeBytes);
      return { kind: "compressed", offset: start, length: end - start, source: this.pickSource(random) };
    }
    return { kind: "write", offset, length, source: this.pickSource(random) };
  }

  /** Makes the change that a step makes; `data` is what its write writes. */
  apply(step: DiffStep): void {
    const { shape, content } = this;
    switch (step.kind) {
      case "write":
      case "compressed":
        content.set(this.dataOf(step), step.offset);
        break;
      case "zero":
        content.fill(0, step.offset, step.offset + step.length);
        break;
      case "discard": {
        if (shape.version === 2 && this.backing) break;
        const { clusterSizeBytes } = shape;
        const end = step.offset + step.length;
        const first = Math.ceil(step.offset / clusterSizeBytes) * clusterSizeBytes;
        const last = end === content.length ? end : end - (end % clusterSizeBytes);
        if (first < last) content.fill(0, first, last);
        break;
      }
      case "snapshot":
        this.snapshots.set(step.name, content.slice());
        break;
      case "apply":
        this.content = this.snapshots.get(step.name)?.slice() ?? content;
        break;
      case "delete":
        this.snapshots.delete(step.name);
        break;
      case "resize": {
        const resized = new Uint8Array(step.sizeBytes);
        resized.set(content.subarray(0, step.sizeBytes));
        this.content = resized;
        break;
      }
    }
  }

  /** The bytes that a write writes. */
  dataOf({ length, source }: { length: number; source: WriteSource }): Uint8Array {
    const data = new Uint8Array(length);
    if ("value" in source) return data.fill(source.value);
    const pattern = this.patterns[source.pattern] ?? new Uint8Array(1);
    for (let at = 0; at < length; at += pattern.length) data.set(pattern.subarray(0, length - at), at);
    return data;
  }

  private pickSource(random: Random): WriteSource {
    return random.chance(0.5)
      ? { value: random.between(1, 255) }
      : { pattern: random.below(this.patterns.length) };
  }

  private pickSize(random: Random): number {
    const { sizeBytes, shape } = this;
    // Often inside the last cluster, or just past it.
    if (random.chance(0.25)) return Math.max(512, sizeBytes + 512 * random.between(-4, 8));
    const most = Math.min(2 * shape.sizeBytes, 6144 * KIB);
    const wanted = random.chance(0.3)
      ? sizeBytes - (sizeBytes % shape.clusterSizeBytes) + random.between(-1, 1) * shape.clusterSizeBytes
      : random.below(most / 512) * 512;
    // Hardly ever tiny: nothing much happens on such a disk.
    return Math.max(random.chance(0.1) ? 512 : Math.floor(shape.sizeBytes / 2048) * 512, wanted, 512);
  }

  /** A range inside the disk, often at the edges of clusters, sectors or the disk. */
  private pickRange(random: Random): { offset: number; length: number } {
    const { sizeBytes, shape } = this;
    const unit = random.pick([
      512,
      512,
      shape.clusterSizeBytes,
      shape.clusterSizeBytes,
      shape.clusterSizeBytes / 32,
    ]);
    const grain = Math.max(1, unit);
    let offset = random.below(sizeBytes);
    if (random.chance(0.7)) offset -= offset % grain;
    let length = random.chance(0.5)
      ? random.between(1, 4) * grain
      : 1 + random.below(Math.min(sizeBytes, 6 * shape.clusterSizeBytes));
    if (random.chance(0.1)) length = sizeBytes - offset;
    length = Math.max(1, Math.min(length, sizeBytes - offset));
    return { offset, length };
  }
}
