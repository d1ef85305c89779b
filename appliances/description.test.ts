import { expect, it } from "vitest";
import { encodeMetadata, problemWithValue } from "../disk/index.ts";
import { iconOf } from "../src/appliance/icon-data.ts";
import { DESCRIPTION } from "./description.ts";

it("says nothing of the demo appliance that its keys cannot have, and leaves most of its room free", () => {
  for (const [key, value] of DESCRIPTION) expect(problemWithValue(key, value), key).toBeUndefined();
  const clusterBytes = 64 * 1024;
  expect(encodeMetadata(DESCRIPTION, "linux.qcow2", clusterBytes).length).toBeLessThan(4 * 1024);
});

it("has a picture that a page shows", () => {
  const [, base64 = ""] = (DESCRIPTION.get("appliance.icon") ?? "").split(",");
  const icon = iconOf(new Uint8Array(Buffer.from(base64, "base64")));
  expect(icon).toMatchObject({ type: "image/png", width: 128, height: 128 });
});
