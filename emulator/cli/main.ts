#!/usr/bin/env node
import { runProgram } from "../../disk/cli/index.ts";
import { MACHINE_COMMANDS } from "./commands.ts";

await runProgram(MACHINE_COMMANDS);
