import { ByreError } from "../../disk/index.ts";
import {
  isLicenceAccepted,
  type LicenceToAccept,
  licenceToAccept,
  rememberAcceptedLicence,
} from "./accepted-licences.ts";
import type { ApplianceLicence } from "./appliance-description.ts";

/**
 * Sees to it that a licence is agreed to before anything of its appliance runs. A person is asked once for each
 * text; one that is only named is not asked about.
 *
 * @param name of the appliance, for the message.
 * @param ask shows the question and resolves with the answer.
 * @throws ByreError CANCELLED when it is declined; what `ask` throws.
 */
export async function agreeToLicence(
  name: string,
  licence: ApplianceLicence | undefined,
  ask: (licence: LicenceToAccept) => Promise<boolean>,
): Promise<void> {
  const question = licenceToAccept(licence);
  if (!question || (await isLicenceAccepted(question))) return;
  if (!(await ask(question)))
    throw new ByreError("CANCELLED", `${name} was not started: its licence was declined.`);
  await rememberAcceptedLicence(question);
}
