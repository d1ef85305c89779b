import { Command } from "commander";
import type { Out } from "./out.ts";

export function createCommand(out: Out): Command {
  return new Command("info").action(() => out.out(""));
}
