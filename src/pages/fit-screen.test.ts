import { expect, it } from "vitest";
import { fitScreen } from "./fit-screen.ts";

const TEXT = { width: 720, height: 400 };

it.each([
  ["as it is", { width: 1000, height: 700 }, 1, { width: 720, height: 400, sharp: true }],
  ["twice", { width: 1920, height: 1080 }, 1, { width: 1440, height: 800, sharp: true }],
  ["in whole device pixels", { width: 1200, height: 700 }, 2, { width: 1080, height: 600, sharp: true }],
  ["smaller than the guest's", { width: 360, height: 700 }, 1, { width: 360, height: 200, sharp: false }],
])("shows a screen %s", (_what, box, ratio, fit) => {
  expect(fitScreen(TEXT, box, ratio)).toEqual(fit);
});

it("fills a box when it is to, and is sharp where that happens to be a whole multiple", () => {
  expect(fitScreen(TEXT, { width: 1080, height: 700 }, 1, "fill")).toEqual({
    width: 1080,
    height: 600,
    sharp: false,
  });
  expect(fitScreen(TEXT, { width: 720, height: 700 }, 2, "fill")).toEqual({
    width: 720,
    height: 400,
    sharp: true,
  });
});

it("shows nothing of a screen that has no size yet", () => {
  expect(fitScreen({ width: 0, height: 0 }, { width: 10, height: 10 }, 1)).toEqual({
    width: 0,
    height: 0,
    sharp: true,
  });
});
