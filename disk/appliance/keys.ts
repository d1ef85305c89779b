/** What a reserved key is for, and what its value must look like. */
export interface ReservedKey {
  readonly meaning: string;
  /** What a value may be, as it follows "must be" in a sentence; undefined where any text will do. */
  readonly form?: { readonly pattern: RegExp; readonly words: string };
}

const WHOLE_NUMBER = /^[1-9]\d{0,6}$/;
const WEB_ADDRESS = /^https?:\/\/\S+$/;
/** Printable characters only, and not endless; whoever uses it looks closer. */
const NETWORK = /^(off|fetch|(wss?|wisps?):\/\/[!-~]{1,500})$/i;

/** The keys that mean something to a machine or a gallery. Any other key is its author's own. */
export const RESERVED_KEYS: Readonly<Record<string, ReservedKey>> = {
  "appliance.name": { meaning: "what it is called" },
  "appliance.summary": { meaning: "what it is, in a sentence" },
  "appliance.version": { meaning: "its version" },
  "appliance.vendor": { meaning: "who made it" },
  "appliance.homepage": {
    meaning: "where to read more",
    form: { pattern: WEB_ADDRESS, words: "an http or https address" },
  },
  "appliance.icon": {
    meaning: "its picture",
    form: {
      // No SVG: it is a document that can run scripts and load more.
      pattern: /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]+$/,
      words: "a base64 data: URL of a PNG, JPEG, WebP or GIF image",
    },
  },
  "appliance.license": { meaning: "its licence, by SPDX identifier or in full" },
  "appliance.license-title": { meaning: "what the licence is called" },
  "appliance.message": { meaning: "what to say before it first runs" },
  "machine.memory": { meaning: "memory in MiB", form: { pattern: WHOLE_NUMBER, words: "a number of MiB" } },
  "machine.vga-memory": {
    meaning: "memory of the graphics card in MiB",
    form: { pattern: WHOLE_NUMBER, words: "a number of MiB" },
  },
  "machine.boot": {
    meaning: "what to boot from",
    form: { pattern: /^(disk|cdrom|floppy)$/, words: "disk, cdrom or floppy" },
  },
  "machine.acpi": { meaning: "ACPI", form: { pattern: /^(on|off)$/, words: "on or off" } },
  "machine.network": {
    meaning: "the network it asks for",
    form: { pattern: NETWORK, words: "off, fetch, or the ws, wss, wisp or wisps address of a relay" },
  },
  "machine.display": {
    meaning: "what of it is shown",
    form: { pattern: /^(screen|terminal|both)$/, words: "screen, terminal or both" },
  },
  "machine.snapshot": { meaning: "the saved state to start from" },
  "boot.prefetch": {
    meaning: "the clusters that a boot touches, in order",
    form: { pattern: /^\d+(-\d+)?([ ,]\d+(-\d+)?)*$/, words: "cluster numbers and ranges (0-3,7) in order" },
  },
};

/** What is wrong with a value, as a sentence's end; undefined when nothing is. Readers ignore what is wrong. */
export function problemWithValue(key: string, value: string): string | undefined {
  const form = Object.hasOwn(RESERVED_KEYS, key) ? RESERVED_KEYS[key]?.form : undefined;
  return form && !form.pattern.test(value) ? `must be ${form.words}` : undefined;
}
