import { afterEach, describe, expect, it, vi } from "vitest";
import { createMemoryFile, createQcow2, type Metadata, openQcow2, withMetadata } from "../../disk/index.ts";
import { FACTS_BYTES, factsOf, type PresentAppliance, readApplianceFacts } from "./appliance-facts.ts";

const URL_OF_IT = "https://example.org/a.qcow2";

async function image(metadata: Metadata, clusterSizeBytes = 65536): Promise<Uint8Array<ArrayBuffer>> {
  const file = createMemoryFile({ name: "image" });
  await createQcow2(file, { sizeBytes: 64 * 1024 * 1024, clusterSizeBytes });
  const device = await openQcow2(file, { writable: true });
  await device.changeHeader({
    extensions: (present) => withMetadata(device.header, present, metadata, "image"),
  });
  if (metadata.has("machine.snapshot")) await device.createSnapshot({ name: "ready" });
  await device.flush();
  const bytes = new Uint8Array(file.sizeBytes);
  await file.read(0, bytes);
  await device.close();
  return bytes;
}

const present = (bytes: Uint8Array): PresentAppliance => {
  const facts = factsOf(bytes.slice(0, FACTS_BYTES), undefined, URL_OF_IT);
  if (facts.state !== "present") throw new Error(`It is ${facts.state}: ${facts.message}`);
  return facts;
};

describe("what the first bytes of an image say", () => {
  it("is its description, the disk's size, and whether a state is ready", async () => {
    const metadata = new Map([
      ["appliance.name", "Tiny Linux"],
      ["machine.memory", "128"],
      ["machine.snapshot", "ready"],
      ["my.own", "<b>text</b>"],
    ]);
    const facts = present(await image(metadata));
    expect(facts).toMatchObject({ diskBytes: 64 * 1024 * 1024, startsAtOnce: true, problem: undefined });
    expect(facts.description).toMatchObject({ name: "Tiny Linux", memoryMiB: 128, snapshot: "ready" });
    expect(facts.metadata.get("my.own")).toBe("<b>text</b>");
  });

  it("promises no state that the image has not", async () => {
    const bytes = await image(new Map([["machine.snapshot", "ready"]]));
    // The number of snapshots.
    new DataView(bytes.buffer).setUint32(60, 0);
    expect(present(bytes).startsAtOnce).toBe(false);
  });

  it("is read from clusters of 2 MiB too", async () => {
    const facts = present(await image(new Map([["appliance.name", "Wide"]]), 2 * 1024 * 1024));
    expect(facts.description.name).toBe("Wide");
  });

  it.each([
    ["nothing", new Uint8Array()],
    ["a page instead of the image", new TextEncoder().encode("<!doctype html><script>alert(1)</script>")],
  ])("is an absent image for %s", (_, bytes) => {
    expect(factsOf(bytes, undefined, URL_OF_IT).state).toBe("absent");
  });

  it("is a damaged image, or a damaged description, whichever byte is not as it was", async () => {
    const bytes = (await image(new Map([["appliance.name", "N".repeat(500)]]))).slice(0, FACTS_BYTES);
    const states = new Set<string>();
    for (let at = 0; at < 1200; at++) {
      for (const value of [0, 0xff]) {
        const changed = bytes.slice();
        changed[at] = value;
        const facts = factsOf(changed, undefined, URL_OF_IT);
        states.add(facts.state === "present" && facts.problem ? "problem" : facts.state);
      }
    }
    expect([...states].sort()).toEqual(["absent", "damaged", "present", "problem"]);
  });

  it("is a damaged image for one cut short", async () => {
    const bytes = await image(new Map());
    expect(factsOf(bytes.slice(0, 1000), undefined, URL_OF_IT).state).toBe("damaged");
  });
});

describe("the look at an image", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  function serve(answer: (range: string) => Response | Promise<Response>): string[] {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (_url: string, { headers, signal }: RequestInit) => {
      const range = new Headers(headers).get("Range") ?? "";
      asked.push(range);
      signal?.throwIfAborted();
      return answer(range);
    });
    return asked;
  }
  const look = () => readApplianceFacts(URL_OF_IT, new AbortController().signal);

  it("takes one request of 64 KiB", async () => {
    const bytes = await image(new Map([["appliance.name", "One"]]));
    const asked = serve(
      () =>
        new Response(bytes.slice(0, FACTS_BYTES), {
          status: 206,
          headers: { "Content-Range": `bytes 0-65535/${bytes.length}` },
        }),
    );
    expect(await look()).toMatchObject({ state: "present", fileBytes: bytes.length });
    expect(asked).toEqual(["bytes=0-65535"]);
  });

  it("reads no further when a server sends the whole file, without end", async () => {
    const bytes = await image(new Map());
    let sent = 0;
    serve(
      () =>
        new Response(
          new ReadableStream<Uint8Array>({
            pull(controller) {
              controller.enqueue(sent === 0 ? bytes : new Uint8Array(65536));
              sent++;
            },
          }),
        ),
    );
    expect(await look()).toMatchObject({ state: "present", fileBytes: undefined });
    expect(sent).toBeLessThan(4);
  });

  it.each([
    ["absent", () => new Response("no", { status: 404 })],
    ["absent", () => new Response("<html>hello</html>", { status: 200 })],
    ["unreachable", () => new Response("no", { status: 500 })],
    ["unreachable", () => Promise.reject(new TypeError("Failed to fetch"))],
    [
      "unreachable",
      () => new Response("part", { status: 206, headers: { "Content-Range": "bytes 512-1023/4096" } }),
    ],
  ] as const)("finds it %s by what the server answers", async (state, answer) => {
    serve(answer);
    expect((await look()).state).toBe(state);
  });

  it.each(["-1", "1e9", "99999999999999999999", "0x10"])("believes no length of %s", async (length) => {
    const bytes = await image(new Map());
    serve(() => new Response(bytes, { status: 200, headers: { "Content-Length": length } }));
    const facts = await look();
    expect(facts.state === "present" && (facts.fileBytes ?? 0) >= 0).toBe(true);
  });

  it("does not wait for a server that answers drop by drop", async () => {
    vi.stubGlobal("fetch", async (_url: string, { signal }: RequestInit) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new Uint8Array(1));
          signal?.addEventListener("abort", () => controller.error(signal.reason));
        },
      });
      return new Response(body, { status: 200 });
    });
    const facts = await readApplianceFacts(URL_OF_IT, new AbortController().signal, 20);
    expect(facts).toEqual({ state: "unreachable", message: "example.org does not answer." });
  });

  it("ends when it is called off", async () => {
    const abort = new AbortController();
    serve(() => new Promise(() => {}));
    abort.abort();
    await expect(readApplianceFacts(URL_OF_IT, abort.signal)).rejects.toThrow(/abort/i);
  });
});
