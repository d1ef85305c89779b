import { describe, expect, it } from "vitest";
import { type ImageLink, imageHash, parseMachineLink } from "./machine-link.ts";

const PAGE = "https://example.org/byre/index.html";

function image(link: string): ImageLink {
  const parsed = parseMachineLink(link, PAGE);
  if (parsed.kind !== "image") throw new Error(`parsed as ${parsed.kind}`);
  return parsed.image;
}

describe("parseMachineLink", () => {
  it("resolves an image against the page", () => {
    expect(image("#/run?image=appliances/linux.qcow2").url).toBe(
      "https://example.org/byre/appliances/linux.qcow2",
    );
  });

  it("takes a whole address of the page and a plain address of an image alike", () => {
    expect(
      image("https://example.org/byre/#/run?image=https://cdn.example/a.qcow2&memory=256"),
    ).toMatchObject({
      url: "https://cdn.example/a.qcow2",
      memoryMiB: 256,
    });
    expect(image("appliances/linux.qcow2").url).toBe("https://example.org/byre/appliances/linux.qcow2");
  });

  it("keeps a query that belongs to the image's own address", () => {
    expect(image("#/run?image=https%3A%2F%2Fcdn.example%2Fa.qcow2%3Fkey%3D1").url).toBe(
      "https://cdn.example/a.qcow2?key=1",
    );
  });

  it("takes the first of a repeated parameter", () => {
    expect(image("#/run?image=a.qcow2&image=b.qcow2").url).toBe("https://example.org/byre/a.qcow2");
  });

  it("says which parameters it does not carry out, and drops unknown ones", () => {
    expect(image("#/run?image=a.qcow2&network=x&hdb=b.qcow2&keys=rm").ignored).toEqual(["network", "hdb"]);
  });

  it("takes the saved state to start from, and none for an empty name", () => {
    expect(image("#/run?image=a.qcow2&snapshot=at%20work%20%26%20ready").snapshot).toBe("at work & ready");
    expect(image("#/run?image=a.qcow2&snapshot=").snapshot).toBeUndefined();
  });

  it("knows the gallery and a machine", () => {
    expect(parseMachineLink("#/", PAGE)).toEqual({ kind: "gallery" });
    expect(parseMachineLink("#/machine/k3-Az", PAGE)).toEqual({ kind: "machine", id: "k3-Az" });
  });

  it.each([
    ["#/run", "names no image"],
    ["#/run?image=javascript:alert(1)", "not an address"],
    ["#/run?image=data:,x", "not an address"],
    ["#/run?image=http://a%20b/", "not an address"],
    ["#/run?image=https://user:secret@example.org/a", "password"],
    ["#/run?image=a&memory=1e9", "memory=1e9"],
    ["#/run?image=a&memory=8", "memory=8"],
    ["#/run?image=a&memory=4096", "memory=4096"],
    [`#/run?image=a&snapshot=${"x".repeat(256)}`, "256 characters"],
    ["#/elsewhere", "nothing at #/elsewhere"],
    ["#/machine/../../x", "nothing at"],
  ])("refuses %s", (link, reason) => {
    expect(() => parseMachineLink(link, PAGE)).toThrow(reason);
  });
});

describe("imageHash", () => {
  it.each([
    "#/run?image=appliances/linux.qcow2",
    "#/run?image=https://cdn.example/a.qcow2&memory=64&ephemeral=1",
    "#/run?image=a.qcow2&snapshot=%26ready",
  ])("writes back %s", (hash) => {
    expect(imageHash(image(hash), PAGE)).toBe(hash);
  });

  it("escapes what would end the parameter", () => {
    const link = image("#/run?image=https%3A%2F%2Fcdn.example%2Fa%3Fx%3D1%26y%3D2");
    expect(image(imageHash(link, PAGE))).toEqual(link);
  });
});
