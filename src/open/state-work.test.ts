import { expect, it, vi } from "vitest";
import { StateWork } from "./state-work.ts";

function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

const SAVING = { kind: "saving", name: "here" } as const;

it("does one thing after the other, and shows the one that is being done", async () => {
  const work = new StateWork(() => {});
  const first = gate();
  const order: string[] = [];
  const saving = work.show(SAVING, {}, async () => {
    order.push(`saving ${work.activity?.name}`);
    await first.opened;
    order.push("saved");
  });
  const exporting = work.inTurn(async () => {
    order.push(`exporting, ${work.activity ? "shown" : "not shown"}`);
  });
  expect(work.busy).toBe(true);
  first.open();
  await Promise.all([saving, exporting]);
  expect(order).toEqual(["saving here", "saved", "exporting, not shown"]);
  await work.end();
  expect(work.busy).toBe(false);
});

it("tells of progress in steps of a hundredth", async () => {
  const seen: number[] = [];
  const work = new StateWork(() => seen.push(work.activity?.fraction ?? -1));
  const told: number[] = [];
  const options = { onProgress: (fraction: number) => void told.push(fraction) };
  await work.show(SAVING, options, async ({ onProgress }) => {
    for (let done = 1; done <= 1000; done++) onProgress(done / 1000);
  });
  expect(seen).toHaveLength(102);
  expect(seen.slice(0, 3)).toEqual([0, 0.01, 0.02]);
  expect(seen.slice(-2)).toEqual([1, -1]);
  expect(told).toHaveLength(1000);
});

it("shows nothing any more of work that has failed, whatever it still tells", async () => {
  const work = new StateWork(() => {});
  let tell = (_: number) => {};
  const failing = work.show(SAVING, {}, async ({ onProgress }) => {
    tell = onProgress;
    throw new Error("one part of it");
  });
  await expect(failing).rejects.toThrow("one part of it");
  tell(0.5);
  expect(work.activity).toBeUndefined();
});

it("shows nothing any more of work that is called off when it is over", async () => {
  const changed = vi.fn();
  const work = new StateWork(changed);
  const cancel = await work.show(SAVING, {}, async () => work.activity?.cancel);
  changed.mockClear();
  cancel?.();
  expect(work.activity).toBeUndefined();
  expect(changed).not.toHaveBeenCalled();
});

it("calls off what is under way and what still waits, and goes on with the next", async () => {
  const work = new StateWork(() => {});
  const running = work.show(SAVING, {}, async ({ signal }) => {
    work.activity?.cancel?.();
    expect(signal.aborted).toBe(true);
    expect(work.activity?.cancel).toBeUndefined();
    throw new Error("called off");
  });
  const waiting = new AbortController();
  const never = work.inTurn(() => Promise.resolve("done"), { signal: waiting.signal });
  waiting.abort();
  const next = work.inTurn(() => Promise.resolve("done"));
  await expect(running).rejects.toThrow("called off");
  await expect(never).rejects.toMatchObject({ code: "CANCELLED" });
  expect(await next).toBe("done");
});

it("ends by calling everything off and waiting for it", async () => {
  const work = new StateWork(() => {});
  const held = gate();
  let over = false;
  const running = work.inTurn(async ({ signal }) => {
    signal.addEventListener("abort", held.open);
    await held.opened;
    over = true;
  });
  const waiting = work.inTurn(() => Promise.resolve());
  const refused = expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
  // The first has begun by the next turn.
  await Promise.resolve();
  await work.end();
  expect(over).toBe(true);
  await running;
  await refused;
});
