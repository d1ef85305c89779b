import { expect, test } from "vitest";
import { createNameServer } from "./dns.ts";

/** A DNS query in a frame: Ethernet, IPv4, UDP from port 4000. */
function query(name: string, type = 1): Uint8Array<ArrayBuffer> {
  const labels = name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  const dns = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1];
  const length = 20 + 8 + dns.length;
  const ip = [
    0x45,
    0,
    length >> 8,
    length & 0xff,
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    192,
    168,
    86,
    100,
    192,
    168,
    86,
    1,
  ];
  const udp = [0x0f, 0xa0, 0, 53, 0, 8 + dns.length, 0, 0];
  return Uint8Array.of(2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 8, 0, ...ip, ...udp, ...dns);
}

const address = (answer: Uint8Array | undefined) => [...(answer?.subarray(-4) ?? [])];
const records = (answer: Uint8Array | undefined) => answer && new DataView(answer.buffer).getUint16(42 + 6);

test("a name gets an address that stands for it, and keeps it", () => {
  const names = createNameServer();
  const cow = address(names.answer(query("Cow.example")));
  const byre = address(names.answer(query("byre.example")));
  expect(cow).toEqual([198, 18, 0, 1]);
  expect(byre).toEqual([198, 18, 0, 2]);
  expect(address(names.answer(query("cow.example")))).toEqual(cow);
  expect([names.hostOf(cow), names.hostOf(byre)]).toEqual(["cow.example", "byre.example"]);
  expect(names.hostOf([10, 0, 0, 7])).toBe("10.0.0.7");
  expect(names.hostOf([198, 18, 0, 3])).toBeUndefined();
  expect(names.hostOf([198, 19, 0, 1])).toBeUndefined();
});

test("the answer goes back where the question came from, in a sound packet", () => {
  const answer = createNameServer().answer(query("cow.example"));
  if (!answer) throw new Error("There is no answer.");
  const view = new DataView(answer.buffer);
  expect([...answer.subarray(0, 12)]).toEqual([4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2]);
  expect([...answer.subarray(26, 34)]).toEqual([192, 168, 86, 1, 192, 168, 86, 100]);
  expect([view.getUint16(34), view.getUint16(36)]).toEqual([53, 4000]);
  expect(view.getUint16(16)).toBe(answer.length - 14);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  expect((sum & 0xffff) + (sum >> 16)).toBe(0xffff);
  expect([view.getUint16(42), view.getUint16(44), records(answer)]).toEqual([0x1234, 0x8180, 1]);
});

test("there are no addresses of another kind", () => {
  expect(records(createNameServer().answer(query("cow.example", 28)))).toBe(0);
});

test("what is no question is left alone", () => {
  const names = createNameServer();
  const whole = query("cow.example");
  for (let length = 0; length < whole.length; length++)
    expect(names.answer(whole.slice(0, length)), `${length} bytes`).toBeUndefined();
  const response = query("cow.example");
  response[44] = 0x80;
  expect(names.answer(response)).toBeUndefined();
  for (const name of ["a b.example", "cow\0.example", "<script>", "x".repeat(64), `${"a.".repeat(130)}b`])
    expect(names.answer(query(name)), name).toBeUndefined();
});

test("when there are no more addresses the server fails, and what was given stays", () => {
  const names = createNameServer();
  for (let i = 0; i < 65_535; i++) names.answer(query(`n${i}`));
  const answer = names.answer(query("one-more"));
  expect([records(answer), (answer?.[45] ?? 0) & 15]).toEqual([0, 2]);
  expect(names.hostOf(address(names.answer(query("n65534"))))).toBe("n65534");
});
