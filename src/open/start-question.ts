import { ByreError } from "../../disk/index.ts";
import type { NetworkChoice } from "../../emulator/index.ts";
import type { LicenceToAccept } from "../appliance/accepted-licences.ts";
import { agreeToLicence } from "../appliance/agree-to-licence.ts";
import {
  type ApplianceDescription,
  describeAppliance,
  TEXT_LIMITS,
} from "../appliance/appliance-description.ts";
import { oneLine } from "../appliance/plain-text.ts";
import type { BaseStart } from "./base-start.ts";
import { plainName } from "./file-names.ts";
import type { LinkDrives } from "./machine-link.ts";
import type { OpenRequest } from "./open-machine.ts";

/** A new machine is about to be made: what a person is asked before anything of its image runs. */
export interface StartQuestion {
  /** Of the appliance, or of the file of one that has none. */
  readonly name: string;
  /** What the image says of itself, with the memory and the saved state that it would really start with. */
  readonly description: ApplianceDescription;
  /** To be agreed to; undefined where that was done before, or nothing asks for it. */
  readonly licence: LicenceToAccept | undefined;
  /** A link from outside brought it: the person has not seen yet what it is. Undefined: they have. */
  readonly stranger: Stranger | undefined;
}

export interface Stranger {
  /** Absolute address of the image. */
  readonly url: string;
  readonly fileBytes: number;
  readonly diskBytes: number;
  /** It goes on from a saved state instead of booting. */
  readonly startsAtOnce: boolean;
  /** Nothing is kept of it. */
  readonly ephemeral: boolean;
  /** Origins of other sites that are going to drive it. */
  readonly drivenBy: readonly string[];
  /** What the link puts into other drives, by absolute address. */
  readonly drives: LinkDrives;
  /** That link or image asks for. It stays off until the person allows it. */
  readonly network: NetworkChoice | undefined;
}

export type AskStart = (question: StartQuestion) => Promise<boolean>;

/**
 * Sees to it that a person wants an image to run before it does: they know what it is, and agree to its licence.
 *
 * @param fileBytes of the image.
 * @throws ByreError CANCELLED when they do not; what `ask` throws.
 */
export async function agreeToStart(
  request: OpenRequest,
  start: BaseStart,
  file: { readonly name: string; readonly sizeBytes: number },
  ask: AskStart,
): Promise<void> {
  const described = describeAppliance(start.metadata);
  const description: ApplianceDescription = {
    ...described,
    memoryMiB: start.configuration.memoryMiB,
    snapshot: start.snapshot && oneLine(start.snapshot.name, TEXT_LIMITS.snapshot),
  };
  const name = described.name ?? plainName(file.name);
  const stranger = strangerOf(request, start, file.sizeBytes);
  let asked = false;
  await agreeToLicence(name, described.licence, (licence) => {
    asked = true;
    return ask({ name, description, licence, stranger });
  });
  if (!stranger || asked) return;
  if (!(await ask({ name, description, licence: undefined, stranger })))
    throw new ByreError("CANCELLED", `${name} was not started.`);
}

/** What is all of this page's own site, or was chosen by the person on this page, is no stranger's. */
function strangerOf(request: OpenRequest, start: BaseStart, fileBytes: number): Stranger | undefined {
  if (request.kind !== "image" || request.seen) return undefined;
  const { url, drives, embed } = request.image;
  const ours = new URL(document.baseURI).origin;
  const drivenBy = embed?.origins.filter((origin) => origin !== ours) ?? [];
  const isOurs = [url, ...Object.values(drives)].every((address) => new URL(address).origin === ours);
  if (isOurs && drivenBy.length === 0) return undefined;
  const { sizeBytes: diskBytes, startsAtOnce, network } = start;
  const ephemeral = request.image.ephemeral || embed !== undefined;
  return { url, fileBytes, diskBytes, startsAtOnce, ephemeral, drivenBy, drives, network };
}
