import { describe, expect, test } from "vitest";
import { createBlobFile } from "../files/blob-file.ts";
import { expectError, expectSameBytes, testBlockFile } from "./block-file-suite.ts";
import { randomBytes } from "./random-bytes.ts";

export function testBlobFile(): void {
  testBlockFile("blob file", {
    create: async (content) => ({ file: createBlobFile(new Blob([content])) }),
    writable: false,
  });

  testBlockFile("blob file with next to no cache", {
    create: async (content) => ({ file: createBlobFile(new Blob([content]), { cacheBytes: 1 }) }),
    writable: false,
  });

  describe("blob file on its own", () => {
    test("takes the name of a File", () => {
      expect(createBlobFile(new File([], "a.qcow2")).name).toBe("a.qcow2");
      expect(createBlobFile(new File([], "a.qcow2"), { name: "b" }).name).toBe("b");
    });

    test("reads each chunk once for callers that come together", async () => {
      const blob = new CountingBlob([randomBytes(1_000_000)]);
      const file = createBlobFile(blob);
      await Promise.all([file.load(0, 1_000_000), file.load(300_000, 500_000)]);
      expect(blob.slices).toBe(4);
    });

    test.each([
      ["NotReadableError", "FILE_CHANGED"],
      ["NotFoundError", "FILE_CHANGED"],
      ["EncodingError", "STORAGE"],
    ] as const)("%s is %s, and reading again tries again", async (name, code) => {
      const content = randomBytes(1000);
      const blob = new CountingBlob([content], new DOMException("The file could not be read", name));
      const file = createBlobFile(blob, { name: "a.qcow2" });
      const target = new Uint8Array(1000);
      const error = await expectError(code, () => file.read(0, target));
      expect(error.message).toContain("rop ");
      expect(error.cause).toBeInstanceOf(DOMException);
      blob.failure = undefined;
      await file.read(0, target);
      expectSameBytes(target, content);
    });

    test("a file that reads short has changed", async () => {
      const blob = new CountingBlob([randomBytes(1000)]);
      Object.defineProperty(blob, "size", { value: 2000 });
      await expectError("FILE_CHANGED", () => createBlobFile(blob).read(1500, new Uint8Array(1)));
    });
  });
}

/** A Blob that counts its slices and can fail to be read, as a File does that changed on disk. */
class CountingBlob extends Blob {
  slices = 0;

  constructor(
    parts: BlobPart[],
    public failure?: DOMException | undefined,
  ) {
    super(parts);
  }

  override slice(start?: number, end?: number): Blob {
    this.slices++;
    const part = super.slice(start, end);
    const { failure } = this;
    if (failure) part.arrayBuffer = () => Promise.reject(failure);
    return part;
  }
}
