import type { MachineNetwork } from "../../emulator/index.ts";

export interface NetworkWords {
  readonly short: string;
  /** Through what; for windows that have the room. */
  readonly more?: string;
  /** What went wrong: a sentence or two. */
  readonly problem?: string;
}

/** Where the machine's network leads, in a few words. */
export function networkWords({
  choice,
  state,
  problem,
}: Pick<MachineNetwork, "choice" | "state" | "problem">): NetworkWords {
  if (choice.kind === "off") return { short: "Network off" };
  if (choice.kind === "fetch") return { short: "Network on", more: "through the browser" };
  const relay = hostOf(choice.url);
  switch (state) {
    case "connecting":
      return { short: "Network waits", more: `for ${relay}` };
    case "failed":
      return { short: "Network fails", more: `through ${relay}`, ...(problem && { problem }) };
    default:
      return { short: "Network on", more: `through ${relay}` };
  }
}

/** Of a relay's address; no browser splits one of Wisp's. */
function hostOf(url: string): string {
  return /^[a-z]+:\/\/([^/?]*)/i.exec(url)?.[1] ?? url;
}
