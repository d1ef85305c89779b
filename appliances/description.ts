import { SNAPSHOT_NAME } from "./ready-state.ts";

/** What the demo appliance says of itself, and what a machine made of it is to be. */
export const DESCRIPTION: ReadonlyMap<string, string> = new Map([
  ["appliance.name", "Linux"],
  ["appliance.summary", "Debian's kernel with a BusyBox shell, on a 1 GiB disk. Root, no password."],
  ["appliance.vendor", "the Byre project, from Debian 12 packages"],
  ["appliance.homepage", "https://www.debian.org/releases/bookworm/"],
  ["appliance.license", "GPL-2.0-only"],
  ["appliance.license-title", "GNU General Public License, version 2"],
  ["machine.memory", "128"],
  ["machine.snapshot", SNAPSHOT_NAME],
]);
