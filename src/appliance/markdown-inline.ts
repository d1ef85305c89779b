import { withoutEnd } from "./plain-text.ts";
import { webAddress } from "./web-address.ts";

export type Inline =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "break" }
  | { readonly kind: "emphasis" | "strong"; readonly children: readonly Inline[] }
  /** `url` is http or https, and as a browser would go to it. */
  | { readonly kind: "link"; readonly url: string; readonly children: readonly Inline[] };

/** Emphasis and links inside each other; deeper marks are text. Keeps a pile of marks from taking a pile of time. */
const MAX_DEPTH = 8;

type Kind = "root" | "emphasis" | "strong" | "link";

/** Something begun, whose end may or may not come. */
interface Open {
  readonly kind: Kind;
  /** As it was written: what it becomes when its end does not come. */
  readonly mark: string;
  readonly children: Inline[];
}

/**
 * Reads what stands inside a paragraph, in one pass: each character is looked at a fixed number of times.
 *
 * @param maxParts how many elements it may become; past them the rest is text.
 */
export function parseInline(text: string, maxParts: number): { children: Inline[]; parts: number } {
  const root: Open = { kind: "root", mark: "", children: [] };
  const state: State = {
    text,
    stack: [root],
    parts: 0,
    plain: "",
    lastBacktick: text.lastIndexOf("`"),
    addressAt: 0,
  };
  let at = 0;
  while (at < text.length) {
    if (state.parts >= maxParts) {
      state.plain += text.slice(at);
      break;
    }
    at = step(state, at);
  }
  while (state.stack.length > 1) giveUp(state);
  flush(state);
  return { children: root.children, parts: state.parts };
}

interface State {
  readonly text: string;
  readonly stack: Open[];
  parts: number;
  /** Characters read that are in no element yet. */
  plain: string;
  readonly lastBacktick: number;
  /** Where the next bare address can begin: none is looked for in one that was refused. */
  addressAt: number;
}

/** Characters with a meaning; all between them is text. */
const SPECIAL = /[\\`*_[\]<\n!h]/g;
const AUTOLINK = /<(https?:\/\/[^\s<>]{1,2000})>/iy;
const BARE_LINK = /https?:\/\/[^\s<>"`]{1,2000}/iy;
const SENTENCE_MARKS = ".,;:!?'\")]*_";
const LINK_TARGET = /\]\(([^\s()<>]{0,2000})\)/y;

/** Reads one mark, or the text up to the next. Returns where to go on. */
function step(state: State, at: number): number {
  const { text } = state;
  const character = text[at] ?? "";
  switch (character) {
    case "\\":
      return escaped(state, at);
    case "`":
      return code(state, at);
    case "\n":
      return lineEnd(state, at);
    case "*":
    case "_":
      return emphasis(state, at, character);
    case "[":
      return openLink(state, at);
    case "!":
      // A picture is not loaded; what is said of it becomes a link.
      if (text[at + 1] === "[") return at + 1;
      break;
    case "]":
      return closeLink(state, at);
    case "<":
    case "h":
      return autolink(state, at, character);
  }
  SPECIAL.lastIndex = at + 1;
  const next = SPECIAL.exec(text)?.index ?? text.length;
  state.plain += text.slice(at, next);
  return next;
}

function escaped(state: State, at: number): number {
  const next = state.text[at + 1] ?? "";
  if (next === "\n") return lineEnd(state, at + 1, true);
  const isMark = /[!-/:-@[-`{-~]/.test(next);
  state.plain += isMark ? next : "\\";
  return at + (isMark ? 2 : 1);
}

function code(state: State, at: number): number {
  const end = state.lastBacktick > at ? state.text.indexOf("`", at + 1) : -1;
  if (end <= at + 1) {
    state.plain += "`";
    return at + 1;
  }
  add(state, { kind: "code", text: state.text.slice(at + 1, end).replaceAll("\n", " ") });
  return end + 1;
}

/** Two spaces or a backslash before it make it count; else it is a space. */
function lineEnd(state: State, at: number, hard = false): number {
  const trimmed = withoutEnd(state.plain, " ");
  const isBreak = hard || state.plain.length - trimmed.length >= 2;
  state.plain = trimmed;
  // Else the next line end would look through this line too.
  flush(state);
  if (isBreak) add(state, { kind: "break" });
  else state.plain = " ";
  return at + 1;
}

function emphasis(state: State, at: number, mark: "*" | "_"): number {
  const { text } = state;
  let end = at;
  while (end < text.length && text[end] === mark) end++;
  const run = end - at;
  const before = text[at - 1] ?? " ";
  const after = text[end] ?? " ";
  const isWord = /[\p{L}\p{N}]/u;
  // Inside a word an underscore is a name's, as in file_name.
  const inWord = mark === "_" && isWord.test(before) && isWord.test(after);
  if (run > 3 || inWord) {
    state.plain += text.slice(at, end);
    return end;
  }
  const canClose = !/\s/.test(before);
  const canOpen = !/\s/.test(after);
  for (let left = run; left > 0; ) {
    const wanted = closable(state, left, mark);
    const take = canClose && wanted ? wanted : Math.min(left, 2);
    const markText = mark.repeat(take);
    if (canClose && wanted) close(state, markText);
    else if (canOpen && state.stack.length <= MAX_DEPTH)
      open(state, take === 2 ? "strong" : "emphasis", markText);
    else state.plain += markText;
    left -= take;
  }
  return end;
}

/** How many of `left` marks end the innermost emphasis begun with such marks. */
function closable({ stack }: State, left: number, mark: string): 1 | 2 | undefined {
  for (let index = stack.length - 1; index > 0; index--) {
    const open = stack[index];
    if (!open || open.kind === "link") return undefined;
    if (open.mark[0] === mark && open.mark.length <= left) return open.mark.length === 2 ? 2 : 1;
  }
  return undefined;
}

function openLink(state: State, at: number): number {
  const inLink = state.stack.some(({ kind }) => kind === "link");
  if (inLink || state.stack.length > MAX_DEPTH) state.plain += "[";
  else open(state, "link", "[");
  return at + 1;
}

function closeLink(state: State, at: number): number {
  LINK_TARGET.lastIndex = at;
  const target = state.stack.some(({ kind }) => kind === "link") ? LINK_TARGET.exec(state.text) : null;
  const url = target && webAddress(target[1] ?? "");
  if (!target || !url) {
    // Not a link, or not one to the web: what was written stays to be seen, address and all.
    if (state.stack.some(({ kind }) => kind === "link")) {
      while (state.stack.at(-1)?.kind !== "link") giveUp(state);
      giveUp(state);
    }
    state.plain += "]";
    return at + 1;
  }
  while (state.stack.at(-1)?.kind !== "link") giveUp(state);
  flush(state);
  const children = state.stack.pop()?.children ?? [];
  add(state, { kind: "link", url, children: children.length > 0 ? children : [{ kind: "text", text: url }] });
  return at + target[0].length;
}

function autolink(state: State, at: number, character: "<" | "h"): number {
  const inLink = state.stack.some(({ kind }) => kind === "link");
  const pattern = character === "<" ? AUTOLINK : BARE_LINK;
  pattern.lastIndex = at;
  const wordBefore = character === "h" && /[\p{L}\p{N}]/u.test(state.text[at - 1] ?? " ");
  const refused = character === "h" && at < state.addressAt;
  const found = inLink || wordBefore || refused ? null : pattern.exec(state.text);
  // A sentence's own marks are not the address's.
  const written = found && (found[1] ?? withoutEnd(found[0], SENTENCE_MARKS));
  const url = written && webAddress(written);
  if (!found || !url) {
    if (found && character === "h") state.addressAt = at + found[0].length;
    state.plain += character;
    return at + 1;
  }
  add(state, { kind: "link", url, children: [{ kind: "text", text: written }] });
  return at + (found[1] === undefined ? written.length : found[0].length);
}

function open(state: State, kind: Kind, mark: string): void {
  flush(state);
  state.stack.push({ kind, mark, children: [] });
}

/** Ends the innermost emphasis of these marks; what was begun inside it and not ended is text. */
function close(state: State, mark: string): void {
  while (state.stack.at(-1)?.mark !== mark) giveUp(state);
  flush(state);
  const ended = state.stack.pop();
  if (!ended) return;
  if (ended.children.length === 0) state.plain += mark + mark;
  else add(state, { kind: mark.length === 2 ? "strong" : "emphasis", children: ended.children });
}

/** What was begun last has no end: its mark is text, and what is in it belongs to what it stands in. */
function giveUp(state: State): void {
  flush(state);
  const open = state.stack.pop();
  const parent = state.stack.at(-1);
  if (!open || !parent) return;
  pushText(parent.children, open.mark);
  for (const child of open.children) {
    if (child.kind === "text") pushText(parent.children, child.text);
    else parent.children.push(child);
  }
}

function add(state: State, inline: Inline): void {
  flush(state);
  state.parts++;
  state.stack.at(-1)?.children.push(inline);
}

function flush(state: State): void {
  const children = state.stack.at(-1)?.children;
  if (state.plain === "" || !children) return;
  pushText(children, state.plain);
  state.plain = "";
}

function pushText(children: Inline[], text: string): void {
  const last = children.at(-1);
  if (last?.kind === "text") children[children.length - 1] = { kind: "text", text: last.text + text };
  else children.push({ kind: "text", text });
}
