/**
 * What a stranger's text is cleaned of: controls, and marks that cannot be seen or that turn the direction of
 * writing. The joiners that scripts and emoji need (U+200C, U+200D) stay.
 */
const UNSEEN =
  /[\p{Cc}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;

/**
 * A stranger's text as one line: a name, a title, a sentence.
 *
 * @param maxLength in characters; what is longer ends in "…".
 */
export function oneLine(text: string, maxLength: number): string {
  // Cut before it is looked through: the text may be a megabyte, mostly of space.
  const line = text
    .slice(0, maxLength * 16)
    .replace(/[\s\p{Zl}\p{Zp}]+/gu, " ")
    .replace(UNSEEN, "")
    .trim();
  const characters = [...line];
  return characters.length <= maxLength ? line : `${characters.slice(0, maxLength - 1).join("")}…`;
}

/** Of a stranger's words in a message. */
const MAX_QUOTED_LENGTH = 80;

/** A stranger's words as a message quotes them. */
export function quoted(text: string): string {
  return oneLine(text, MAX_QUOTED_LENGTH);
}

/** A stranger's text of several lines: every line end becomes one `\n`, tabs stay. */
export function severalLines(text: string): string {
  return text
    .replace(/\r\n?|[\p{Zl}\p{Zp}]/gu, "\n")
    .replace(UNSEEN, (character) => (character === "\n" || character === "\t" ? character : ""))
    .trim();
}

/** A text without the marks at its end. A regular expression would look on from every place where such marks begin. */
export function withoutEnd(text: string, marks: string): string {
  let end = text.length;
  while (end > 0 && marks.includes(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}
