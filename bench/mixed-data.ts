/** One piece of the data that benchmarks copy. */
export const PIECE_BYTES = 1024 * 1024;

const WORD_COUNT = 4096;

/**
 * A mebibyte of what disks hold, the same at every run: of eight pieces three are like text, two are random
 * (as what is compressed already), one repeats itself, and two are zeros.
 */
export function mixedBytes(index: number): Uint8Array {
  const bytes = new Uint8Array(PIECE_BYTES);
  const kind = index % 8;
  const random = xorshift(index + 1);
  if (kind < 3) fillText(bytes, random);
  else if (kind < 5) fillRandom(bytes, random);
  else if (kind === 5) fillRepeated(bytes, index);
  return bytes;
}

function fillText(bytes: Uint8Array, random: () => number): void {
  let at = 0;
  while (at < bytes.length) {
    // Squared, so that some words are much more frequent, as in any language.
    const share = (random() >>> 0) / 2 ** 32;
    const word = WORDS[Math.floor(share * share * WORD_COUNT)];
    if (!word) continue;
    const length = Math.min(word.length, bytes.length - at);
    bytes.set(word.subarray(0, length), at);
    at += length;
  }
}

function fillRandom(bytes: Uint8Array, random: () => number): void {
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i++) words[i] = random();
}

function fillRepeated(bytes: Uint8Array, index: number): void {
  const line = new TextEncoder().encode(`${index}: a line of a log that says the same again and again\n`);
  for (let at = 0; at < bytes.length; at += line.length) bytes.set(line.subarray(0, bytes.length - at), at);
}

function xorshift(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const WORDS: readonly Uint8Array[] = makeWords();

function makeWords(): Uint8Array[] {
  const random = xorshift(7);
  const encoder = new TextEncoder();
  return Array.from({ length: WORD_COUNT }, () => {
    const length = 2 + (random() % 9);
    let word = "";
    for (let i = 0; i < length; i++) word += String.fromCharCode(97 + (random() % 26));
    return encoder.encode(`${word}${random() % 12 === 0 ? ".\n" : " "}`);
  });
}
