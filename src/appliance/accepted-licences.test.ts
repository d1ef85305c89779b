import "fake-indexeddb/auto";
import { expect, it, vi } from "vitest";
import { isLicenceAccepted, licenceToAccept, rememberAcceptedLicence } from "./accepted-licences.ts";

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
