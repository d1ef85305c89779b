import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { ByreError } from "../../disk/index.ts";
import { waitFor } from "../testing/wait-for.ts";
import { parseMachineLink } from "./machine-link.ts";
import type { MachineSession } from "./machine-session.ts";
import type { OpenMachineOptions, OpenRequest } from "./open-machine.ts";
import type { StartQuestion } from "./start-question.ts";

const looks: (() => void)[] = [];
const starts: string[] = [];
const closed: string[] = [];
/** What a machine waits for when it is started, and does not look whether it is called off any more. */
let starting = Promise.resolve();
/** What a machine waits for when it is closed. */
let storing = Promise.resolve();

/** The machine that was made of the image that is asked for. */
let made: string | undefined;

vi.mock("./open-machine.ts", () => ({
  isThrownAway: () => false,
  machineFrom: async () => made && { id: made },
  openMachine: vi.fn(async (request: OpenRequest, { askStart, signal }: OpenMachineOptions) => {
    if (request.kind === "image") {
      await askStart({} as StartQuestion);
    }
    if (signal.aborted) throw new ByreError("CANCELLED", "Called off.");
    const id = request.kind === "machine" ? request.id : `of ${request.kind}`;
    starts.push(id);
    await starting;
    const session: Partial<MachineSession> = {
      id,
      name: id,
      state: "running",
      suspended: false,
      greeted() {},
      close: async () => {
        closed.push(id);
        await storing;
      },
    };
    return session;
  }),
}));
// Takes as long as the test lets it.
vi.mock("./import-files.ts", () => ({
  checkFiles: () => new Promise<void>((resolve) => looks.push(resolve)),
}));

it("opens the later of two drops, and the machine that is on stays until the person says so", async () => {
  vi.stubGlobal("document", { baseURI: "http://localhost/" });
  const { opener } = await import("./opener.ts");
  await opener.open({ kind: "machine", id: "running" });
  const drop = () =>
    opener.open({ kind: "files", files: [] }).then(
      ({ id }) => id,
      ({ code }) => code,
    );
  const first = drop();
  await waitFor(() => expect(looks).toHaveLength(1));
  const second = drop();
  // Nobody waits for it any more: it asks nothing.
  looks[0]?.();
  expect(await first).toBe("CANCELLED");
  await waitFor(() => expect(looks).toHaveLength(2));
  looks[1]?.();
  await waitFor(() => expect(opener.state().phase).toBe("asking"));
  expect(closed).toEqual([]);
  const asking = opener.state();
  if (asking.phase === "asking") asking.cancel();
  expect(await second).toBe("CANCELLED");
  expect(opener.state()).toMatchObject({ phase: "open", session: { id: "running" } });

  const third = drop();
  await waitFor(() => expect(looks).toHaveLength(3));
  looks[2]?.();
  await waitFor(() => expect(opener.state().phase).toBe("asking"));
  const again = opener.state();
  if (again.phase === "asking") again.goOn();
  expect(await third).toBe("of files");
  expect(closed).toEqual(["running"]);
});

it("leads to the machine that is on when a link means it, however that was opened", async () => {
  const { opener } = await import("./opener.ts");
  await opener.close();
  const session = await opener.open({ kind: "machine", id: "of a link" });
  onTestFinished(() => {
    made = undefined;
  });
  made = "of a link";
  const link = parseMachineLink("/run?image=http://localhost/a.qcow2", "http://localhost/");
  if (link?.kind !== "image") throw new Error("No image link.");
  const request = { kind: "image", image: link.image } as const;
  expect(await opener.open(request)).toBe(session);
  expect(opener.state()).toMatchObject({ phase: "open", session });
  // A new one is another machine.
  const opening = opener.open({ ...request, fresh: true }).catch(({ code }) => code);
  await waitFor(() => expect(opener.state().phase).toBe("asking"));
  opener.dismiss();
  expect(await opening).toBe("CANCELLED");
});

it("waits for nobody's answer where a script is unattended and the page asks about the same already", async () => {
  const { opener } = await import("./opener.ts");
  await opener.close();
  const link = parseMachineLink("http://images.example/a.qcow2", document.baseURI);
  if (link.kind !== "image") throw new Error(link.kind);
  const attended = opener.open(link).catch(({ code }) => code);
  await waitFor(() => expect(opener.state().phase).toBe("asking-start"));
  const unattended = opener.open({ ...link }, { unattended: true });
  expect((await unattended).id).toBe("of image");
  expect(await attended).toBe("CANCELLED");
  expect(opener.state().phase).toBe("open");
});

it("closes a machine that was called off and started nevertheless", async () => {
  const { opener } = await import("./opener.ts");
  await opener.close();
  let started = () => {};
  starting = new Promise((resolve) => {
    started = resolve;
  });
  const opening = opener.open({ kind: "machine", id: "late" }).catch(({ code }) => code);
  await waitFor(() => expect(starts.at(-1)).toBe("late"));
  opener.dismiss();
  started();
  expect(await opening).toBe("CANCELLED");
  expect(closed.at(-1)).toBe("late");
  expect(opener.session()).toBeUndefined();
  expect(opener.state().phase).toBe("none");
});

describe("a machine that is being closed", () => {
  let on: MachineSession;
  let stored = () => {};
  let fail = (_: Error) => {};

  beforeEach(async () => {
    const { opener } = await import("./opener.ts");
    await opener.close();
    on = await opener.open({ kind: "machine", id: "on" });
    closed.length = 0;
    storing = new Promise<void>((resolve, reject) => {
      stored = resolve;
      fail = reject;
    });
  });

  afterEach(() => {
    storing = Promise.resolve();
  });

  it("for another is opened anew when the person goes back to it", async () => {
    const { opener } = await import("./opener.ts");
    const other = opener.open({ kind: "machine", id: "other" }).catch(({ code }) => code);
    await waitFor(() => expect(opener.state().phase).toBe("asking"));
    const asking = opener.state();
    if (asking.phase === "asking") asking.goOn();
    await waitFor(() => expect(closed).toEqual(["on"]));
    const back = opener.open({ kind: "machine", id: "on" });
    stored();
    const session = await back;
    expect(await other).toBe("CANCELLED");
    expect(session).not.toBe(on);
    expect(opener.session()).toBe(session);
    expect(opener.state()).toMatchObject({ phase: "open", session: { id: "on" } });
  });

  it("since its page was left is opened anew when the person is back at once", async () => {
    const { opener } = await import("./opener.ts");
    const leaving = opener.close();
    const back = opener.open({ kind: "machine", id: "on" });
    stored();
    await leaving;
    const session = await back;
    expect(session).not.toBe(on);
    expect(opener.session()).toBe(session);
    expect(opener.state().phase).toBe("open");
  });

  it("and cannot be is still on for whoever goes back to it", async () => {
    const { opener } = await import("./opener.ts");
    const leaving = opener.close();
    const back = opener.open({ kind: "machine", id: "on" });
    fail(new Error("The storage is full."));
    await expect(leaving).rejects.toThrow("The storage is full.");
    expect(await back).toBe(on);
    expect(opener.session()).toBe(on);
    expect(opener.state()).toMatchObject({ phase: "open", session: { id: "on" } });
  });
});

describe("a machine that is off and whose page is left", () => {
  let session: MachineSession;
  let finish = () => {};

  beforeEach(async () => {
    const { opener } = await import("./opener.ts");
    await opener.close();
    session = await opener.open({ kind: "machine", id: "off" });
    closed.length = 0;
    const work = new Promise<void>((resolve) => {
      finish = () => {
        Object.assign(session, { busy: false });
        resolve();
      };
    });
    Object.assign(session, { state: "stopped", busy: true, settled: () => work });
  });

  it("is closed once nothing is done with its disk", async () => {
    const { opener } = await import("./opener.ts");
    opener.leave();
    expect(closed).toEqual([]);
    finish();
    await waitFor(() => expect(opener.session()).toBeUndefined());
    expect(closed).toEqual(["off"]);
  });

  it("stays for the person who is back before that", async () => {
    const { opener } = await import("./opener.ts");
    opener.leave();
    expect(await opener.open({ kind: "machine", id: "off" })).toBe(session);
    finish();
    await session.settled();
    expect(closed).toEqual([]);
    expect(opener.session()).toBe(session);
    opener.leave();
    expect(closed).toEqual(["off"]);
  });
});
