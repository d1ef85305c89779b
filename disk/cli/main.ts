#!/usr/bin/env node
import { exitWhenInterrupted } from "./interrupt.ts";
import { processOut } from "./out.ts";
import { runByre } from "./run.ts";

// A reader that has seen enough (`byre map disk.qcow2 | head`) is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

const out = processOut();
exitWhenInterrupted(out);
process.exitCode = await runByre(process.argv.slice(2), out);
