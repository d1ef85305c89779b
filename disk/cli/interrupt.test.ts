import { spawn } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, it } from "vitest";

/** Runs a program around `interruptible`, interrupts it when it says "ready", and tells how it ended. */
async function interrupted(
  body: string,
  signal: NodeJS.Signals = "SIGINT",
): Promise<{ code: number | null; out: string; err: string }> {
  const module = pathToFileURL(fileURLToPath(new URL("./interrupt.ts", import.meta.url))).href;
  const program = `
    import { exitWhenInterrupted, interruptible } from ${JSON.stringify(module)};
    const out = { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text), isTerminal: false };
    const turn = () => new Promise((done) => setImmediate(done));
    try {
      ${body}
    } catch (error) {
      out.err(error.message + "\\n");
      process.exitCode = error.exitCode ?? 99;
    }`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
    cwd: dirname(fileURLToPath(import.meta.url)),
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += String(chunk);
    if (out.endsWith("ready")) child.kill(signal);
  });
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  const code = await new Promise<number | null>((done) => child.once("exit", done));
  return { code, out, err };
}

it("ends work that looks at its signal, by itself, and says what is left", async () => {
  const ended = await interrupted(`
    const options = { leaves: () => "disk.qcow2 is as it was.", cooperative: true, cleanUp: () => out.out(" tidy") };
    await interruptible(out, options, async (signal) => {
      out.out("ready");
      for (;;) { await turn(); signal.throwIfAborted(); }
    });`);
  expect(ended).toEqual({ code: 130, out: "ready tidy", err: "interrupted. disk.qcow2 is as it was.\n" });
});

it("ends other work where it stands, and says what is left", async () => {
  const ended = await interrupted(`
    const options = { leaves: () => "disk.qcow2 may have leaks.", cleanUp: () => out.out(" tidy") };
    await interruptible(out, options, async () => {
      out.out("ready");
      for (;;) await turn();
    });`);
  expect(ended).toEqual({
    code: 130,
    out: "ready tidy",
    err: "\nbyre: interrupted. disk.qcow2 may have leaks.\n",
  });
});

it("ends work that does not look at its signal with the second one", async () => {
  const ended = await interrupted(`
    const options = { leaves: () => "disk.qcow2 may have leaks.", cooperative: true };
    await interruptible(out, options, async (signal) => {
      out.out("ready");
      while (!signal.aborted) await turn();
      process.kill(process.pid, "SIGINT");
      for (;;) await turn();
    });`);
  expect(ended).toEqual({
    code: 130,
    out: "ready",
    err: "\nbyre: interrupted. disk.qcow2 may have leaks.\n",
  });
});

it.each([
  [
    "work that looks at its signal",
    "async (signal) => { out.out('ready'); for (;;) { await turn(); signal.throwIfAborted(); } }",
    true,
  ],
  ["other work", "async () => { out.out('ready'); for (;;) await turn(); }", false],
])("ends %s with 143 after SIGTERM", async (_, work, cooperative) => {
  const options = `{ leaves: () => "It is whole.", cooperative: ${cooperative} }`;
  const { code, err } = await interrupted(`await interruptible(out, ${options}, ${work});`, "SIGTERM");
  expect(err).toContain("interrupted. It is whole.");
  expect(code).toBe(143);
});

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s ends a command in other moments with %i", async (signal, exitCode) => {
  const { code, err } = await interrupted(
    `exitWhenInterrupted(out); out.out("ready"); for (;;) await turn();`,
    signal,
  );
  expect(err).toBe("\nbyre: interrupted.\n");
  expect(code).toBe(exitCode);
});
