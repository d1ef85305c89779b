import { expect, it, vi } from "vitest";
import { waitFor } from "../testing/wait-for.ts";
import { parseMachineLink } from "./machine-link.ts";
import type { MachineSession } from "./machine-session.ts";
import type { OpenMachineOptions, OpenRequest } from "./open-machine.ts";
import type { StartQuestion } from "./start-question.ts";

const looks: (() => void)[] = [];
const closed: string[] = [];

vi.mock("./open-machine.ts", () => ({
  openMachine: vi.fn(async (request: OpenRequest, { askStart, signal }: OpenMachineOptions) => {
    if (request.kind === "image") {
      await askStart({} as StartQuestion);
    }
    signal.throwIfAborted();
    const id = request.kind === "machine" ? request.id : `of ${request.kind}`;
    const session: Partial<MachineSession> = {
      id,
      name: id,
      state: "running",
      suspended: false,
      greeted() {},
      close: async () => {
        closed.push(id);
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
