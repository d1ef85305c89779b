/** Whether a part of some bytes has zeros only. Data mostly shows itself in the first words. */
export function isAllZero(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
  let at = start;
  // Words, where they lie on their boundaries: four bytes in one look.
  const lead = Math.min(end, start + ((4 - ((bytes.byteOffset + start) % 4)) % 4));
  for (; at < lead; at++) if (bytes[at] !== 0) return false;
  const wordCount = Math.floor((end - at) / 4);
  if (wordCount > 0 && !areZero(new Int32Array(bytes.buffer, bytes.byteOffset + at, wordCount))) return false;
  for (at += wordCount * 4; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}

function areZero(words: Int32Array): boolean {
  const fours = words.length - (words.length % 4);
  for (let i = 0; i < fours; i += 4) {
    const any = (words[i] ?? 0) | (words[i + 1] ?? 0) | (words[i + 2] ?? 0) | (words[i + 3] ?? 0);
    if (any !== 0) return false;
  }
  for (let i = fours; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}
