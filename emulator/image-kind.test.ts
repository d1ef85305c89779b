import { expect, test } from "vitest";
import { createMemoryFile, openRawDevice } from "../disk/index.ts";
import { imageKind } from "./image-kind.ts";

const KIB = 1024;

function kindOf(sizeBytes: number, mark = "", atBytes = 0) {
  const content = new Uint8Array(sizeBytes);
  content.set(new TextEncoder().encode(mark), atBytes);
  return imageKind(openRawDevice(createMemoryFile({ name: "image", content })));
}

test("a floppy is known by its size, a disc by its mark, and all else is a disk", async () => {
  expect(await kindOf(1440 * KIB)).toBe("floppy");
  expect(await kindOf(360 * KIB)).toBe("floppy");
  expect(await kindOf(64 * KIB, "CD001", 0x8001)).toBe("cdrom");
  expect(await kindOf(64 * KIB, "BEA01", 0x8001)).toBe("cdrom");
  expect(await kindOf(64 * KIB, "CD001", 0x8000)).toBe("disk");
  expect(await kindOf(KIB, "CD001")).toBe("disk");
  expect(await kindOf(1024 * KIB)).toBe("disk");
});
