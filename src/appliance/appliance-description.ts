import type { Metadata } from "../../disk/index.ts";
import { type IconData, readIcon } from "./icon-data.ts";
import { oneLine, severalLines } from "./plain-text.ts";
import { webAddress } from "./web-address.ts";

/** How long the one-line texts may be, in characters: what a page has room for, not what an image can hold. */
export const TEXT_LIMITS = {
  name: 80,
  summary: 300,
  version: 40,
  vendor: 100,
  licenceTitle: 120,
  snapshot: 255,
} as const;

/** The licence of an appliance. Only one with its text in the image can be agreed to; an identifier is a fact. */
export interface ApplianceLicence {
  readonly title: string;
  /** In full, line by line. */
  readonly text?: string;
}

/** What an image says of itself, cleaned and bounded; what is missing or no good is undefined. Text, never markup. */
export interface ApplianceDescription {
  readonly name: string | undefined;
  readonly summary: string | undefined;
  readonly version: string | undefined;
  readonly vendor: string | undefined;
  /** An http or https address. */
  readonly homepage: string | undefined;
  readonly icon: IconData | undefined;
  readonly licence: ApplianceLicence | undefined;
  /** The Markdown subset of docs/metadata.md. */
  readonly message: string | undefined;
  readonly memoryMiB: number | undefined;
  /** The saved state it starts from: id or name. */
  readonly snapshot: string | undefined;
}

/** Reads what the reserved keys of an image's metadata say. */
export function describeAppliance(metadata: Metadata): ApplianceDescription {
  const value = (key: string) => metadata.get(key) ?? "";
  const line = (key: string, maxLength: number) => oneLine(value(key), maxLength) || undefined;
  return {
    name: line("appliance.name", TEXT_LIMITS.name),
    summary: line("appliance.summary", TEXT_LIMITS.summary),
    version: line("appliance.version", TEXT_LIMITS.version),
    vendor: line("appliance.vendor", TEXT_LIMITS.vendor),
    homepage: webAddress(value("appliance.homepage").trim()),
    icon: readIcon(value("appliance.icon")),
    licence: licenceOf(value("appliance.license"), line("appliance.license-title", TEXT_LIMITS.licenceTitle)),
    message: severalLines(value("appliance.message")) || undefined,
    memoryMiB: /^[1-9]\d{0,6}$/.test(value("machine.memory")) ? Number(value("machine.memory")) : undefined,
    snapshot: line("machine.snapshot", TEXT_LIMITS.snapshot),
  };
}

/** An SPDX expression: "MIT", "GPL-2.0-only WITH Classpath-exception-2.0", "(MIT OR Apache-2.0)". */
const SPDX_EXPRESSION = /^\(*[\w.+:-]+\)*(?: (?:AND|OR|WITH) \(*[\w.+:-]+\)*)*$/;

function licenceOf(value: string, title: string | undefined): ApplianceLicence | undefined {
  const text = severalLines(value);
  if (text === "") return title === undefined ? undefined : { title };
  if (text.length <= TEXT_LIMITS.licenceTitle && SPDX_EXPRESSION.test(text)) return { title: title ?? text };
  return { title: title ?? "Its own licence", text };
}
