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

  it("takes the first of every repeated parameter", () => {
    const link = image(
      "#/run?image=a.qcow2&memory=64&memory=99999&snapshot=x&snapshot=y&ephemeral=1&ephemeral=0&cdrom=a.iso&cdrom=javascript:x",
    );
    expect(link).toMatchObject({
      memoryMiB: 64,
      snapshot: "x",
      ephemeral: true,
      drives: { cdrom: "https://example.org/byre/a.iso" },
    });
  });

  it("takes other drives by the image's rules, and drops what it does not know", () => {
    expect(
      image("#/run?image=a.qcow2&hdb=b.qcow2&cdrom=https://cdn.example/c.iso&keys=rm&__proto__=x"),
    ).toEqual({
      url: "https://example.org/byre/a.qcow2",
      memoryMiB: undefined,
      snapshot: undefined,
      ephemeral: false,
      network: undefined,
      embed: undefined,
      drives: { hdb: "https://example.org/byre/b.qcow2", cdrom: "https://cdn.example/c.iso" },
    });
  });

  it("takes a network as an offer", () => {
    const network = (text: string) => image(`#/run?image=a.qcow2&network=${text}`).network;
    expect(network("off")).toEqual({ kind: "off" });
    expect(network("fetch&network=off")).toEqual({ kind: "fetch" });
    expect(network("wisps://relay.example.org/")).toEqual({
      kind: "relay",
      url: "wisps://relay.example.org/",
    });
  });

  it("is embedded only by embed=1, and driven by the origins that it names", () => {
    const embed = (text: string) => image(`#/run?image=a.qcow2&${text}`).embed;
    expect(embed("origin=https://a.example")).toBeUndefined();
    expect(embed("embed=true&origin=*")).toBeUndefined();
    expect(embed("embed=1")).toEqual({ origins: [] });
    expect(
      embed("embed=1&origin=https://a.example&origin=http://b.example:81&origin=https://a.example"),
    ).toEqual({ origins: ["https://a.example", "http://b.example:81"] });
  });

  it("takes an empty parameter as left out", () => {
    expect(image("#/run?image=a.qcow2&memory=&snapshot=&hdb=&cdrom=&floppy=&network=&ephemeral=")).toEqual(
      image("#/run?image=a.qcow2"),
    );
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
    ["#/run?image=", "names no image"],
    ...["image=", "image=a&hdb=", "image=a&cdrom=", "image=a&floppy="].flatMap((before) => [
      [`#/run?${before}javascript:alert(1)`, "not an address"],
      [`#/run?${before}java%0Ascript:alert(1)`, "not an address"],
      [`#/run?${before}data:,x`, "not an address"],
      [`#/run?${before}blob:https://example.org/1-2`, "not an address"],
      [`#/run?${before}file:///etc/passwd`, "not an address"],
      [`#/run?${before}http://a%20b/`, "not an address"],
      [`#/run?${before}http://`, "not an address"],
      [`#/run?${before}https://example.org/a%00b`, "not an address"],
      [`#/run?${before}https://user:secret@example.org/a`, "password"],
      [`#/run?${before}https://user@example.org/a`, "password"],
      [`#/run?${before}https://example.org/${"x".repeat(1_000_000)}`, "1000020 characters"],
    ]),
    ...["", "*", "null", "https://example.org/", "https://EXAMPLE.org", "file://", "javascript:x", "a"].map(
      (origin) => [`#/run?image=a&embed=1&origin=https://a.example&origin=${origin}`, "exact origins"],
    ),
    [
      `#/run?image=a&embed=1${Array.from({ length: 1000 }, (_, n) => `&origin=https://a${n}.example`).join("")}`,
      "1000 sites",
    ],
    ["#/run?image=a&network=on", "network=on"],
    ["#/run?image=a&network=javascript:alert(1)", "network=javascript"],
    ["#/run?image=a&network=https://relay.example.org/", "network=https"],
    ["#/run?image=a&network=wss://user:secret@relay.example.org/", "without a password"],
    [`#/run?image=a&network=wss://relay.example.org/${"x".repeat(1000)}`, "network=wss"],
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
    "#/run?image=a.qcow2&hdb=b.qcow2&cdrom=https://cdn.example/c.iso&floppy=d.img",
    "#/run?image=a.qcow2&embed=1&origin=https://a.example&origin=https://b.example",
    "#/run?image=a.qcow2&network=wss://relay.example.org/&cdrom=c.iso",
  ])("writes back %s", (hash) => {
    expect(imageHash(image(hash), PAGE)).toBe(hash);
  });

  it.each([
    "https://example.org/byre/debian:12.qcow2",
    "https://example.org/byre/https://evil.example/x.qcow2",
    "https://example.org/byre//x/y.qcow2",
    "https://example.org/byre/?x.qcow2",
  ])("leads back to %s", (url) => {
    const link = { ...image("#/run?image=a.qcow2"), url };
    expect(image(imageHash(link, PAGE)).url).toBe(url);
  });

  it("quotes no more of a hostile link than a line, without what cannot be seen", () => {
    const link = `#/run?image=data:${encodeURIComponent(`\u202e\u0000${"x".repeat(1000)}`)}`;
    expect(() => parseMachineLink(link, PAGE)).toThrow(/^The image cannot come from data:x{74}…: /);
  });

  it("escapes what would end the parameter", () => {
    const link = image("#/run?image=https%3A%2F%2Fcdn.example%2Fa%3Fx%3D1%26y%3D2");
    expect(image(imageHash(link, PAGE))).toEqual(link);
  });
});
