import { describe, expect, it } from "vitest";
import { parseMachineLink } from "../open/machine-link.ts";
import { AS_THE_IMAGE_SAYS, embedSnippet, isOnlyHere, shareLink } from "./share-link.ts";

const PAGE = "https://byre.example/app/#/machine/1";
const IMAGE = { url: "https://images.example/a.qcow2?v=1&x", drives: {} };

describe("shareLink", () => {
  it("is a whole address that opens the image, and says nothing that was not chosen", () => {
    const { link } = shareLink(IMAGE, AS_THE_IMAGE_SAYS, PAGE);
    expect(link).toBe("https://byre.example/app/#/run?image=https://images.example/a.qcow2%3Fv%3D1%26x");
    expect(parseMachineLink(link, PAGE)).toMatchObject({ image: { url: IMAGE.url, ephemeral: false } });
  });

  it("carries every choice, and the drives of the machine", () => {
    const image = { ...IMAGE, drives: { cdrom: "https://images.example/c.iso" } };
    const choice = { snapshot: "at work & ready", memory: " 64 ", network: "fetch", ephemeral: true };
    expect(parseMachineLink(shareLink(image, choice, PAGE).link, PAGE)).toMatchObject({
      image: {
        ...image,
        snapshot: "at work & ready",
        memoryMiB: 64,
        network: { kind: "fetch" },
        ephemeral: true,
      },
    });
  });

  it.each([
    { memory: "8" },
    { memory: "lots" },
    { network: "https://relay.example/" },
    { snapshot: "x".repeat(256) },
  ])("refuses %s, which no link can have", (choice) => {
    expect(() => shareLink(IMAGE, { ...AS_THE_IMAGE_SAYS, ...choice }, PAGE)).toThrow(/link/);
  });
});

it("makes HTML of a link and a stranger's name that is nothing but a frame", () => {
  const { frameLink } = shareLink(IMAGE, AS_THE_IMAGE_SAYS, PAGE);
  const html = embedSnippet(frameLink, '"><script>alert(1)</script>');
  expect(html).toMatch(/^<iframe src="[^"<>]*&amp;embed=1" title="[^"<>]*>?[^"<]*"\n/);
  expect(html).not.toContain("<script");
});

it.each([
  ["http://localhost:5173/", true],
  ["http://127.0.0.1:5173/#/", true],
  ["http://[::1]/", true],
  ["file:///home/me/index.html", true],
  ["https://byre.example/", false],
  ["https://localhost.example/", false],
])("knows whether %s is of this computer alone", (page, only) => {
  expect(isOnlyHere(page)).toBe(only);
});
