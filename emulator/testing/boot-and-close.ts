/** Run by a test as a process of its own: it ends only if a closed machine leaves nothing behind. */
import { memoryDisk, startTinyGuest } from "./guest-line.ts";

async function main(): Promise<void> {
  const { machine, ask } = await startTinyGuest({ hda: memoryDisk(1024 * 1024) });
  await ask("F");
  await machine.close();
  console.log("closed");
}

void main();
