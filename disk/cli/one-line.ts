/**
 * A stranger's text, for one line of a terminal: line ends, control characters and marks that turn the direction of
 * writing are escaped.
 */
export function inOneLine(value: string): string {
  return value.replace(/[\\\p{Cc}\p{Zl}\p{Zp}]|(?!\u200d)\p{Cf}/gu, (character) => {
    const short = { "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r" }[character];
    return short ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
