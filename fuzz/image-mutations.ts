import type { ImageField } from "./image-fields.ts";
import type { Random } from "./random.ts";

/** One change to an image, as plain data, so that a case can be saved, told and made smaller. */
export type Mutation =
  | { readonly what: string; readonly offsetBytes: number; readonly bytes: readonly number[] }
  | { readonly what: string; readonly sizeBytes: number };

/** Applies changes to a copy. */
export function applyMutations(image: Uint8Array, mutations: readonly Mutation[]): Uint8Array<ArrayBuffer> {
  let bytes = new Uint8Array(image);
  for (const mutation of mutations) {
    if ("sizeBytes" in mutation) {
      const resized = new Uint8Array(mutation.sizeBytes);
      resized.set(bytes.subarray(0, mutation.sizeBytes));
      bytes = resized;
    } else if (mutation.offsetBytes < bytes.length)
      bytes.set(mutation.bytes.slice(0, bytes.length - mutation.offsetBytes), mutation.offsetBytes);
  }
  return bytes;
}

/** Thinks of a few changes: mostly one, to one field. */
export function planMutations(
  image: Uint8Array,
  fields: readonly ImageField[],
  random: Random,
): readonly Mutation[] {
  const count = random.chance(0.65) ? 1 : random.chance(0.6) ? 2 : random.between(3, 8);
  return Array.from({ length: count }, () => planOne(image, fields, random));
}

function planOne(image: Uint8Array, fields: readonly ImageField[], random: Random): Mutation {
  if (random.chance(0.03)) return planResize(image, random);
  if (random.chance(0.02)) {
    const offsetBytes = random.below(image.length);
    return { what: `byte ${offsetBytes}`, offsetBytes, bytes: [random.below(256)] };
  }
  // The header decides more than any entry of a table, and would seldom be hit among them all.
  const header = fields.filter(({ name }) => !name.includes("["));
  const field = random.pick(random.chance(0.35) ? header : fields);
  return field.kind === "number" ? planNumber(image, field, fields, random) : planBytes(image, field, random);
}

/** A file cut short, or with something behind it. */
function planResize(image: Uint8Array, random: Random): Mutation {
  const near = [
    511,
    512,
    4095,
    4096,
    image.length - 1,
    image.length - 512,
    image.length + 1,
    image.length + 65536,
  ];
  const sizeBytes = random.chance(0.5) ? random.below(image.length) : Math.max(0, random.pick(near));
  return { what: `length of the file = ${sizeBytes}`, sizeBytes };
}

function planNumber(
  image: Uint8Array,
  field: ImageField,
  fields: readonly ImageField[],
  random: Random,
): Mutation {
  const { name, offsetBytes, lengthBytes } = field;
  const bits = BigInt(lengthBytes * 8);
  const max = (1n << bits) - 1n;
  const old = readNumber(image, field);
  const value = BigInt.asUintN(Number(bits), oddValue(old, bits, image, fields, random));
  const bytes: number[] = [];
  for (let shift = bits - 8n; shift >= 0n; shift -= 8n) bytes.push(Number((value >> shift) & 0xffn));
  return {
    what: `${name} = 0x${(value & max).toString(16)} (was 0x${old.toString(16)})`,
    offsetBytes,
    bytes,
  };
}

function oddValue(
  old: bigint,
  bits: bigint,
  image: Uint8Array,
  fields: readonly ImageField[],
  random: Random,
): bigint {
  const cluster = 1n << BigInt(Math.min(21, image[23] ?? 16));
  switch (random.below(9)) {
    case 0:
      return BigInt(random.pick([0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 21, 22, 64, 72, 103, 104, 112, 255, 512]));
    case 1: {
      const power = 1n << BigInt(random.below(Number(bits)));
      return power + BigInt(random.between(-1, 1));
    }
    case 2:
      return (1n << bits) - BigInt(random.pick([1, 2, 8, 9, 512, 65536]));
    case 3:
      return old ^ (1n << BigInt(random.below(Number(bits))));
    case 4:
      return old + random.pick([1n, -1n, 8n, -8n, 512n, cluster, -cluster, cluster * 2n, -cluster * 2n]);
    case 5:
      return old * random.pick([2n, 3n, 256n, 65536n]) + BigInt(random.below(2));
    case 6: {
      // Points to where another field points, or is as large as another: loops and overlaps.
      const other = readNumber(image, random.pick(fields));
      return random.chance(0.5) ? other : (old & ~0xff_ffff_ffff_fe00n) | (other & 0xff_ffff_ffff_fe00n);
    }
    case 7: {
      // Some cluster of the file, or just past its end, with the flags it had or others.
      const clusters = BigInt(Math.ceil(image.length / Number(cluster)));
      const at = (BigInt(random.below(Number(clusters) + 2)) * cluster) & 0xff_ffff_ffff_fe00n;
      const flags = random.pick([old & ~0xff_ffff_ffff_fe00n, 0n, 1n << 63n, 1n << 62n, 3n << 62n, 1n]);
      return at | flags;
    }
    default: {
      let value = 0n;
      for (let i = 0n; i < bits; i += 8n) value = (value << 8n) | BigInt(random.below(256));
      return value;
    }
  }
}

function planBytes(image: Uint8Array, field: ImageField, random: Random): Mutation {
  const { name, offsetBytes, lengthBytes } = field;
  const old = image.subarray(offsetBytes, offsetBytes + lengthBytes);
  const at = random.below(lengthBytes);
  const few = Math.min(lengthBytes - at, random.pick([1, 1, 2, 4, 8, 16]));
  const made = (what: string, start: number, bytes: Iterable<number>): Mutation => ({
    what: `${name}+${start} ${what}`,
    offsetBytes: offsetBytes + start,
    bytes: [...bytes],
  });
  switch (random.below(5)) {
    case 0:
      return made("bit flipped", at, [(old[at] ?? 0) ^ (1 << random.below(8))]);
    case 1:
      return made(`${few} random bytes`, at, random.fill(new Uint8Array(few)));
    case 2:
      return made("all bits one", 0, new Uint8Array(lengthBytes).fill(0xff));
    case 3:
      return made("all zero", 0, new Uint8Array(lengthBytes));
    default: {
      const from = random.below(image.length);
      return made(`copied from ${from}`, at, image.subarray(from, from + Math.min(64, lengthBytes - at)));
    }
  }
}

function readNumber(image: Uint8Array, { offsetBytes, lengthBytes }: ImageField): bigint {
  let value = 0n;
  for (let i = 0; i < Math.min(8, lengthBytes); i++)
    value = (value << 8n) | BigInt(image[offsetBytes + i] ?? 0);
  return value;
}
