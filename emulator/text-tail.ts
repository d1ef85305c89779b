/** The last part of a long text, kept without copying all of it for each addition. */
export interface TextTail {
  append(text: string): void;
  /** At most the last `limit` characters. */
  text(): string;
}

/** Characters of a chunk: what one drop from the front takes at least. */
const CHUNK_CHARACTERS = 8192;

export function createTextTail(limit: number): TextTail {
  const chunks: string[] = [];
  let total = 0;
  return {
    append(text) {
      const last = chunks.length - 1;
      const open = chunks[last];
      if (open !== undefined && open.length < CHUNK_CHARACTERS) chunks[last] = open + text;
      else chunks.push(text);
      total += text.length;
      for (let first = chunks[0]; first !== undefined && total - first.length >= limit; first = chunks[0]) {
        total -= first.length;
        chunks.shift();
      }
    },
    text() {
      const joined = chunks.join("");
      return joined.length > limit ? joined.slice(-limit) : joined;
    },
  };
}
