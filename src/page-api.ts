import { ByreError } from "../disk/index.ts";
import { goTo } from "./components/page-location.ts";
import { listMachines } from "./library/use-machines.ts";
import { imageHash, parseMachineLink } from "./open/machine-link.ts";
import type { MachineSession } from "./open/machine-session.ts";
import { type OpenOptions, opener } from "./open/opener.ts";

/** A machine that this browser keeps. Times are milliseconds since 1970. */
export interface MachineSummary {
  readonly id: string;
  readonly name: string;
  readonly createdAt: number;
  readonly lastUsedAt: number;
  /** What it takes in this browser's storage. */
  readonly storedBytes: number;
  /** When it was suspended; undefined when it is not. */
  readonly suspendedAt?: number;
  /** Name of the base, and its address when it is not an imported file. */
  readonly base: { readonly name: string; readonly url?: string };
}

/** What scripts, and the tests, can do with the page: `window.byre`. */
export interface PageApi {
  machines(): Promise<MachineSummary[]>;
  /**
   * Opens a machine as the page would, and shows it.
   *
   * @param target a link (`#/run?image=URL`, `#/machine/ID`, with or without the page's address), the address
   *   of an image, or files that could be dropped together: an image, perhaps what it is built on, a CD.
   * @throws ByreError what the page would show instead of a machine.
   */
  open(target: string | File | readonly File[], options?: OpenOptions): Promise<MachineSession>;
  /** The machine of this tab. */
  readonly machine: MachineSession | undefined;
}

declare global {
  interface Window {
    byre: PageApi;
  }
}

/** Puts `window.byre` there. */
export function installPageApi(): void {
  window.byre = {
    async machines() {
      const machines = await listMachines();
      return machines.map(
        ({ record: { id, name, createdAt, lastUsedAt, base, suspended }, storedBytes }) => ({
          id,
          name,
          createdAt,
          lastUsedAt,
          storedBytes,
          ...(suspended && { suspendedAt: suspended.atMs }),
          base: { name: base.name, ...(base.source.kind === "url" && { url: base.source.url }) },
        }),
      );
    },
    async open(target, options) {
      if (typeof target !== "string") {
        const files = target instanceof File ? [target] : target;
        const opening = opener.open({ kind: "files", files }, options);
        goTo("/run");
        return opening;
      }
      const link = parseMachineLink(target, document.baseURI);
      if (link.kind === "gallery") {
        throw new ByreError("INVALID_ARGUMENT", "This link leads to the gallery and to no machine.");
      }
      const opening = opener.open(link, options);
      goTo(link.kind === "machine" ? `/machine/${link.id}` : imageHash(link.image, document.baseURI));
      return opening;
    },
    get machine() {
      return opener.session();
    },
  };
}
