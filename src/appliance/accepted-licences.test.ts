import "fake-indexeddb/auto";
import { expect, it, vi } from "vitest";
import { isLicenceAccepted, licenceToAccept, rememberAcceptedLicence } from "./accepted-licences.ts";
import { agreeToLicence } from "./agree-to-licence.ts";

it("asks for a licence whose text is there, and for nothing where only its name is", () => {
  expect(licenceToAccept(undefined)).toBeUndefined();
  expect(licenceToAccept({ title: "MIT" })).toBeUndefined();
  expect(licenceToAccept({ title: "Ours", text: "You may." })).toEqual({ title: "Ours", text: "You may." });
});

it("remembers an agreement by the text alone", async () => {
  expect(await isLicenceAccepted({ title: "Ours", text: "You may." })).toBe(false);
  await rememberAcceptedLicence({ title: "Ours", text: "You may." });
  expect(await isLicenceAccepted({ title: "Another name", text: "You may." })).toBe(true);
  expect(await isLicenceAccepted({ title: "Ours", text: "You may not." })).toBe(false);
});

it("asks again where nothing can be remembered", async () => {
  vi.stubGlobal("crypto", { subtle: undefined });
  await rememberAcceptedLicence({ title: "Ours", text: "Again." });
  expect(await isLicenceAccepted({ title: "Ours", text: "Again." })).toBe(false);
  vi.unstubAllGlobals();
});

it("lets an appliance start once its licence is agreed to, and asks once for a text", async () => {
  const licence = { title: "Ours", text: "Agree to this." };
  const accept = vi.fn(async () => true);
  const decline = vi.fn(async () => false);
  await expect(agreeToLicence("Notes", licence, decline)).rejects.toMatchObject({
    code: "CANCELLED",
    message: "Notes was not started: its licence was declined.",
  });
  await agreeToLicence("Notes", licence, accept);
  expect(accept).toHaveBeenCalledWith(licence);
  await agreeToLicence("Other notes", { title: "Theirs", text: licence.text }, decline);
  await agreeToLicence("Free", { title: "MIT" }, decline);
  await agreeToLicence("Silent", undefined, decline);
  expect(accept).toHaveBeenCalledOnce();
  expect(decline).toHaveBeenCalledOnce();
});
