import type { ApplianceListing } from "../library/use-appliances.ts";
import type { MachineListing } from "../library/use-machines.ts";
import { fileNameOf } from "../open/file-names.ts";

/** How the gallery is sorted. Appliances were not used: by that they stand as the catalogue has them. */
export const GALLERY_ORDERS = { used: "Last used", name: "Name", size: "Size" } as const;
export type GalleryOrder = keyof typeof GALLERY_ORDERS;

const byName = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

/** What an appliance is called: by itself, or after its file. */
export function applianceName({ url, facts }: ApplianceListing): string {
  if (facts?.state === "present" && facts.name !== undefined) return facts.name;
  return fileNameOf(url).replace(/\.(qcow2?|img)$/i, "");
}

export function machinesToShow(
  machines: readonly MachineListing[],
  search: string,
  order: GalleryOrder,
): MachineListing[] {
  const found = machines.filter(({ record }) => matches(search, [record.name, record.base.name]));
  if (order === "name") return found.sort((a, b) => byName(a.record.name, b.record.name));
  if (order === "size") return found.sort((a, b) => b.storedBytes - a.storedBytes);
  return found.sort((a, b) => b.record.lastUsedAt - a.record.lastUsedAt);
}

export function appliancesToShow(
  appliances: readonly ApplianceListing[],
  search: string,
  order: GalleryOrder,
): ApplianceListing[] {
  const found = appliances.filter((appliance) => matches(search, textsOf(appliance)));
  if (order === "name") return found.sort((a, b) => byName(applianceName(a), applianceName(b)));
  if (order === "size") return found.sort((a, b) => sizeOf(b) - sizeOf(a));
  return found;
}

function textsOf(appliance: ApplianceListing): string[] {
  const { url, facts } = appliance;
  const said = facts?.state === "present" ? [facts.summary ?? "", facts.vendor ?? ""] : [];
  return [applianceName(appliance), ...said, url];
}

function sizeOf({ facts }: ApplianceListing): number {
  return facts?.state === "present" ? (facts.fileBytes ?? 0) : -1;
}

/** Whether every word that was typed is somewhere in what is said. */
function matches(search: string, texts: readonly string[]): boolean {
  const whole = plain(texts.join("\n"));
  return plain(search)
    .split(/\s+/)
    .every((word) => whole.includes(word));
}

/** Without capitals and accents, as people type. */
function plain(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}
