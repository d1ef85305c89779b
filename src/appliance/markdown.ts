import { type Inline, parseInline } from "./markdown-inline.ts";
import { withoutEnd } from "./plain-text.ts";

export type Block =
  | { readonly kind: "heading"; readonly level: number; readonly children: readonly Inline[] }
  | { readonly kind: "paragraph"; readonly children: readonly Inline[] }
  | { readonly kind: "code"; readonly text: string }
  | ListBlock
  /** What was too much to read as Markdown. */
  | { readonly kind: "plain"; readonly text: string };

export interface ListBlock {
  readonly kind: "list";
  /** The first item's number; undefined where items have none. */
  readonly start: number | undefined;
  readonly items: readonly ListItem[];
}

export interface ListItem {
  readonly children: readonly Inline[];
  readonly lists: readonly ListBlock[];
}

/** What follows is shown as it is: a page made of hundreds of thousands of elements would stand still. */
export const MAX_MARKDOWN_CHARACTERS = 64 * 1024;
export const MAX_MARKDOWN_PARTS = 2000;
const MAX_LIST_DEPTH = 3;
const MAX_HEADING_LEVEL = 6;

const HEADING = /^ {0,3}(#{1,6})[ \t]+/;
/** May name a language, which changes nothing. */
const FENCE = /^ {0,3}```[\w+-]*[ \t]*$/;
const FENCE_END = /^ {0,3}```[ \t]*$/;
const ITEM = /^([ \t]*)(?:([-*+])|(\d{1,9})[.)])[ \t]+(.*)$/;

/**
 * Reads the Markdown subset of docs/metadata.md. Never fails and takes time in proportion to the text: whatever
 * is no Markdown is text.
 *
 * @param text line ends are `\n`.
 */
export function parseMarkdown(text: string): Block[] {
  const cut = cutAt(text);
  const reader: Reader = { lines: text.slice(0, cut).split("\n"), at: 0, parts: 0, headingLevel: 0 };
  const blocks: Block[] = [];
  while (reader.at < reader.lines.length && reader.parts < MAX_MARKDOWN_PARTS) {
    if (line(reader).trim() === "") reader.at++;
    else blocks.push(readBlock(reader));
  }
  const rest = [...reader.lines.slice(reader.at), ...(cut < text.length ? [text.slice(cut)] : [])].join("\n");
  return rest.trim() === "" ? blocks : [...blocks, { kind: "plain", text: rest }];
}

interface Reader {
  readonly lines: readonly string[];
  at: number;
  /** Elements made so far. */
  parts: number;
  headingLevel: number;
}

/** Where to stop reading: the last line's end before the limit, else the last word's. */
function cutAt(text: string): number {
  if (text.length <= MAX_MARKDOWN_CHARACTERS) return text.length;
  const lineEnd = text.lastIndexOf("\n", MAX_MARKDOWN_CHARACTERS);
  const wordEnd = text.lastIndexOf(" ", MAX_MARKDOWN_CHARACTERS);
  const end = lineEnd >= 0 ? lineEnd : wordEnd;
  return end >= 0 ? end + 1 : MAX_MARKDOWN_CHARACTERS;
}

function line(reader: Reader): string {
  return reader.lines[reader.at] ?? "";
}

function readBlock(reader: Reader): Block {
  reader.parts++;
  const heading = HEADING.exec(line(reader));
  if (heading) {
    const text = withoutEnd(withoutEnd(line(reader).slice(heading[0].length), "#"), " \t");
    reader.at++;
    // At most one deeper than the one before: a page's outline has no gaps, whatever the author skipped.
    const level = Math.min(heading[1]?.length ?? 1, reader.headingLevel + 1, MAX_HEADING_LEVEL);
    reader.headingLevel = level;
    return { kind: "heading", level, children: inline(reader, text) };
  }
  if (FENCE.test(line(reader))) return readCode(reader);
  const item = itemAt(reader);
  if (item) return readList(reader, item, 1);
  return { kind: "paragraph", children: inline(reader, readText(reader)) };
}

function readCode(reader: Reader): Block {
  reader.at++;
  const start = reader.at;
  while (reader.at < reader.lines.length && !FENCE_END.test(line(reader))) reader.at++;
  const text = reader.lines.slice(start, reader.at).join("\n");
  reader.at++;
  return { kind: "code", text };
}

/** Lines up to a blank one or the beginning of another block. */
function readText(reader: Reader, first = line(reader)): string {
  const lines = [first];
  for (reader.at++; reader.at < reader.lines.length; reader.at++) {
    const next = line(reader);
    if (next.trim() === "" || HEADING.test(next) || FENCE.test(next) || ITEM.test(next)) break;
    lines.push(next.trimStart());
  }
  return lines.join("\n");
}

interface ItemStart {
  readonly indent: number;
  readonly number: number | undefined;
  readonly text: string;
}

function itemAt(reader: Reader): ItemStart | undefined {
  const match = ITEM.exec(line(reader));
  if (!match) return undefined;
  const [, space = "", , number, text = ""] = match;
  const indent = space.replaceAll("\t", "    ").length;
  return { indent, number: number === undefined ? undefined : Number(number), text };
}

/** A list of items that are indented alike, or less than two spaces apart. */
function readList(reader: Reader, first: ItemStart, depth: number): ListBlock {
  const items: { children: Inline[]; lists: ListBlock[] }[] = [];
  while (reader.parts < MAX_MARKDOWN_PARTS) {
    skipBlankBeforeItem(reader);
    const item = itemAt(reader);
    if (!item || item.indent <= first.indent - 2) break;
    const last = items.at(-1);
    reader.parts++;
    if (last && depth < MAX_LIST_DEPTH && item.indent >= first.indent + 2) {
      last.lists.push(readList(reader, item, depth + 1));
      continue;
    }
    if (
      last &&
      (item.number === undefined) !== (first.number === undefined) &&
      item.indent < first.indent + 2
    )
      break;
    items.push({ children: inline(reader, readText(reader, item.text)), lists: [] });
  }
  return { kind: "list", start: first.number, items };
}

/** Items may stand apart from each other; a blank line before anything else ends the list. */
function skipBlankBeforeItem(reader: Reader): void {
  let next = reader.at;
  while (next < reader.lines.length && reader.lines[next]?.trim() === "") next++;
  if (ITEM.test(reader.lines[next] ?? "")) reader.at = next;
}

function inline(reader: Reader, text: string): Inline[] {
  const { children, parts } = parseInline(text, MAX_MARKDOWN_PARTS - reader.parts);
  reader.parts += parts;
  return children;
}
