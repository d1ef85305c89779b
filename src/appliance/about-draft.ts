import type { Metadata } from "../../disk/index.ts";
import { MAX_ICON_SIDE, readIcon } from "./icon-data.ts";
import type { MetadataSize } from "./image-metadata.ts";
import { webAddress } from "./web-address.ts";

/** A part of an image's description that a person writes. */
export interface AboutField {
  readonly key: string;
  readonly label: string;
  /** In a sentence: "shorten the licence". */
  readonly thing: string;
  /** What can be typed, in characters. Undefined: as much as the image has room for. */
  readonly maxLength?: number;
  readonly multiline?: boolean;
  readonly hint?: string;
}

export const ICON_KEY = "appliance.icon";
export const MESSAGE_KEY = "appliance.message";
export const START_KEY = "machine.snapshot";

export const ABOUT_FIELDS: readonly AboutField[] = [
  { key: "appliance.name", label: "Name", thing: "the name", maxLength: 80 },
  {
    key: "appliance.summary",
    label: "What it is, in a sentence",
    thing: "the sentence on what it is",
    maxLength: 300,
    multiline: true,
  },
  { key: "appliance.vendor", label: "Made by", thing: "who made it", maxLength: 100 },
  { key: "appliance.version", label: "Version", thing: "the version", maxLength: 40 },
  { key: "appliance.homepage", label: "Home page", thing: "the home page", maxLength: 2000 },
  {
    key: "appliance.license-title",
    label: "What its licence is called",
    thing: "the licence's name",
    maxLength: 120,
  },
  {
    key: "appliance.license",
    label: "Licence",
    thing: "the licence",
    multiline: true,
    hint: "A text is to be agreed to before the machine first runs. An identifier such as MIT is only shown.",
  },
  {
    key: MESSAGE_KEY,
    label: "What to say when it first runs",
    thing: "the message",
    multiline: true,
    hint: "How to begin, in plain words. **Bold**, `code`, - lists, # headings and [links](https://…) can be used.",
  },
];

/** What was changed: new values by key, empty for what is to go. */
export type AboutDraft = ReadonlyMap<string, string>;

/** The description with the changes made; what was not changed stays as it is, byte for byte and in its place. */
export function applyDraft(metadata: Metadata, draft: AboutDraft): Map<string, string> {
  const next = new Map(metadata);
  for (const [key, value] of draft) {
    // A NUL or half a character cannot be stored.
    const kept = value.replace(/\r\n?/g, "\n").replace(/\0|\p{Surrogate}/gu, "");
    if (kept.trim() === "") next.delete(key);
    else next.set(key, kept);
  }
  return next;
}

/** What is wrong with a value, as a sentence; undefined where nothing is. */
export function problemWithField(key: string, value: string): string | undefined {
  if (key === "appliance.homepage" && value !== "" && webAddress(value.trim()) === undefined)
    return "This is no web address. It begins with https:// or http://.";
  if (key === ICON_KEY && value !== "" && readIcon(value) === undefined)
    return `This is no picture that is shown: PNG, JPEG, WebP or GIF, at most 32 KiB and ${MAX_ICON_SIDE} pixels a side.`;
  return undefined;
}

/** How many of the largest values a message names. */
const NAMED = 2;

/** What to shrink, where a description is too large for its image; undefined where it fits. */
export function whatToShrink(size: MetadataSize, format: (bytes: number) => string): string | undefined {
  const over = size.storedBytes - size.limitBytes;
  if (over <= 0) return undefined;
  if (size.limitBytes === 0) return "This image has no room to describe itself: its clusters are too small.";
  const named = size.largest
    .slice(0, NAMED)
    .map(({ key, bytes }) => `${thingOf(key)} (${format(bytes)})`)
    .join(" or ");
  return `It is ${format(over)} too large for the image. Shorten ${named}.`;
}

/** What a key is called in a sentence. */
export function thingOf(key: string): string {
  if (key === ICON_KEY) return "the picture";
  return ABOUT_FIELDS.find((field) => field.key === key)?.thing ?? key;
}
