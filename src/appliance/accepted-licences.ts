import { createStore, get, set, type UseStore } from "idb-keyval";
import type { ApplianceLicence } from "./appliance-description.ts";

/** A licence that can be agreed to: its text is there. */
export type LicenceToAccept = ApplianceLicence & { readonly text: string };

/** What is kept of an agreement; its key is the text's SHA-256. */
interface Acceptance {
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly acceptedAtMs: number;
}

let store: UseStore | undefined;

/** The licence that a person is to agree to before an appliance runs, if there is one. */
export function licenceToAccept(licence: ApplianceLicence | undefined): LicenceToAccept | undefined {
  return licence?.text === undefined ? undefined : { title: licence.title, text: licence.text };
}

/**
 * Whether this text was agreed to in this browser, whatever appliance it came with. When that cannot be found out
 * it was not.
 */
export async function isLicenceAccepted({ text }: LicenceToAccept): Promise<boolean> {
  try {
    return (await get<Acceptance>(await keyOf(text), openStore())) !== undefined;
  } catch {
    return false;
  }
}

/** Remembers an agreement. One that cannot be remembered is asked for again the next time. */
export async function rememberAcceptedLicence({ title, text }: LicenceToAccept): Promise<void> {
  try {
    const acceptance: Acceptance = { title, acceptedAtMs: Date.now() };
    await set(await keyOf(text), acceptance, openStore());
  } catch {
    // See above.
  }
}

function openStore(): UseStore {
  store ??= createStore("byre-licences", "accepted");
  return store;
}

async function keyOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
