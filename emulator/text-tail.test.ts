import { expect, test } from "vitest";
import { createTextTail } from "./text-tail.ts";

test("keeps all of a text within the limit", () => {
  const tail = createTextTail(10);
  tail.append("hello");
  tail.append("world");
  expect(tail.text()).toBe("helloworld");
});

test("keeps exactly the end of a longer one, however it came", () => {
  for (const step of [1, 7, 5000, 30_000]) {
    const whole = Array.from({ length: 100_000 }, (_, index) => String.fromCharCode(97 + (index % 26))).join(
      "",
    );
    const tail = createTextTail(20_000);
    for (let at = 0; at < whole.length; at += step) tail.append(whole.slice(at, at + step));
    expect(tail.text()).toBe(whole.slice(-20_000));
  }
});
