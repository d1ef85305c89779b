import "fake-indexeddb/auto";
import { expect, it } from "vitest";
import { rememberSource } from "../library/import-sources.ts";
import { openImported } from "./open-imported.ts";

const SIZE_BYTES = 100_000;
const NAME = "disk.qcow2";

function given(first: number): File {
  return new File([new Uint8Array(SIZE_BYTES).fill(first)], NAME, { lastModified: 7 });
}

it("asks for a file of this tab that was moved meanwhile", async () => {
  const moved = given(1);
  // As the browser does it: what it knows of the file stays, and its bytes cannot be had.
  moved.slice = () => {
    const part = new Blob();
    part.arrayBuffer = () => Promise.reject(new DOMException("The file was moved.", "NotFoundError"));
    return part;
  };
  await rememberSource("moved", moved);
  const problems: (string | undefined)[] = [];
  const file = await openImported(
    {
      name: NAME,
      identity: { sizeBytes: SIZE_BYTES },
      source: { kind: "import", fileId: "moved", lastModifiedMs: 7 },
    },
    {
      askFile: async ({ problem }) => {
        problems.push(problem?.message);
        return given(2);
      },
    },
  );
  expect(problems).toEqual([expect.stringContaining("was moved, renamed or changed")]);
  const read = new Uint8Array(3);
  await file.read(SIZE_BYTES - 3, read);
  expect([...read]).toEqual([2, 2, 2]);
  await file.close();
});
