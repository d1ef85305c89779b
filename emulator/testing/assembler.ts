/** Just enough of an assembler for 16-bit code: bytes, labels and the jumps between them. */
export interface Assembler {
  /** Names the place of the next byte. */
  label(name: string): void;
  bytes(...bytes: number[]): void;
  text(text: string): void;
  word(value: number): void;
  /** Zeros up to this many bytes from the first. */
  padTo(sizeBytes: number): void;
  /** The 16-bit address of a label. */
  address(label: string): void;
  call(label: string): void;
  jump(label: string): void;
  /** Jumps when the condition (a Jcc's low four bits) holds. */
  jumpIf(condition: Condition, label: string): void;
  /** The code, padded with zeros to `sizeBytes`. */
  assemble(sizeBytes: number): Uint8Array<ArrayBuffer>;
}

export const Condition = { BELOW: 0x2, ZERO: 0x4, NOT_ZERO: 0x5 } as const;
export type Condition = (typeof Condition)[keyof typeof Condition];

interface Fixup {
  at: number;
  label: string;
  relative: boolean;
}

/** @param origin where the first byte is loaded. */
export function createAssembler(origin: number): Assembler {
  const code: number[] = [];
  const labels = new Map<string, number>();
  const fixups: Fixup[] = [];
  const refer = (label: string, relative: boolean) => {
    fixups.push({ at: code.length, label, relative });
    code.push(0, 0);
  };
  return {
    label(name) {
      if (labels.has(name)) throw new Error(`Label ${name} is there twice.`);
      labels.set(name, code.length);
    },
    bytes(...bytes) {
      code.push(...bytes);
    },
    text(text) {
      code.push(...new TextEncoder().encode(text));
    },
    word(value) {
      code.push(value & 0xff, (value >> 8) & 0xff);
    },
    padTo(sizeBytes) {
      while (code.length < sizeBytes) code.push(0);
    },
    address(label) {
      refer(label, false);
    },
    call(label) {
      code.push(0xe8);
      refer(label, true);
    },
    jump(label) {
      code.push(0xe9);
      refer(label, true);
    },
    jumpIf(condition, label) {
      code.push(0x0f, 0x80 | condition);
      refer(label, true);
    },
    assemble(sizeBytes) {
      if (code.length > sizeBytes) throw new Error(`${code.length} bytes of code do not fit ${sizeBytes}.`);
      const image = new Uint8Array(sizeBytes);
      image.set(code);
      const view = new DataView(image.buffer);
      for (const { at, label, relative } of fixups) {
        const target = labels.get(label);
        if (target === undefined) throw new Error(`There is no label ${label}.`);
        view.setUint16(at, (relative ? target - (at + 2) : origin + target) & 0xffff, true);
      }
      return image;
    },
  };
}
