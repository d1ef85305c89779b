import { describe, expect, test } from "vitest";
import { networkChoiceText, parseNetworkChoice, relaySocket } from "./network-choice.ts";

describe("a network named in text", () => {
  test.each([
    ["off", { kind: "off" }],
    ["fetch", { kind: "fetch" }],
    ["wss://relay.example/", { kind: "relay", url: "wss://relay.example/" }],
    ["WISPS://Relay.Example:8443/a?b", { kind: "relay", url: "wisps://relay.example:8443/a?b" }],
    ["wisp://localhost:6001", { kind: "relay", url: "wisp://localhost:6001/" }],
    ["ws://[::1]:80/", { kind: "relay", url: "ws://[::1]/" }],
  ])("%s is taken", (text, choice) => {
    expect(parseNetworkChoice(text)).toEqual(choice);
  });

  test.each([
    "",
    "OFF",
    "on",
    "inbrowser",
    "http://relay.example/",
    "javascript:alert(1)",
    "data:text/plain,wss://relay.example",
    "blob:wss://relay.example/",
    "wss://name:password@relay.example/",
    "wisp://name@relay.example/",
    "wss:relay.example",
    "wss://",
    "wisp://a b/",
    " wss://relay.example/",
    "wss://relay.example/\n",
    "wss://relay.example/\0",
    "wss://relay.example/#part",
    "wss://relay.example/#",
    "wss://relay.example:99999/",
    "wisps://%zz/",
    `wss://relay.example/${"a".repeat(500)}`,
    "toString://relay.example/",
  ])("%j is not", (text) => {
    expect(parseNetworkChoice(text)).toBeUndefined();
  });

  test("comes back from its own text", () => {
    for (const text of ["off", "fetch", "wisps://relay.example/x", "ws://127.0.0.1:9/"]) {
      const choice = parseNetworkChoice(text);
      expect(choice && networkChoiceText(choice)).toBe(text);
    }
  });

  test("says what its relay speaks, and over which socket", () => {
    expect(relaySocket("wisps://relay.example/x")).toEqual({
      protocol: "wisp",
      url: "wss://relay.example/x",
    });
    expect(relaySocket("ws://relay.example/")).toEqual({
      protocol: "ethernet",
      url: "ws://relay.example/",
    });
    expect(relaySocket("https://relay.example/")).toBeUndefined();
  });
});
