import { drawIcon } from "./icon.ts";
import { SNAPSHOT_NAME } from "./ready-state.ts";

/** How to begin, for someone who has never seen a shell. */
const MESSAGE = `# A small Linux, ready for you

You are in front of its prompt, as its administrator. Whatever you try, your own computer is not touched.

Click the terminal or the screen, type a command and press Enter:

- \`ls /\` shows what is on its disk
- \`vi notes.txt\` writes a text: \`i\` to begin, Escape and \`:wq\` to keep it
- \`help\` lists what the shell knows

What you write stays in this browser. **Snapshots** keeps the whole machine as it is now, to come back to.

\`cat notes.txt >/dev/ttyS1\` hands a file out of the machine: you find it under **Files**. Drop files on this page to
hand them in on a CD: \`mount /dev/sr0 /mnt\`.`;

/** What the demo appliance says of itself, and what a machine made of it is to be. */
export const DESCRIPTION: ReadonlyMap<string, string> = new Map([
  ["appliance.name", "Linux"],
  ["appliance.summary", "Debian's kernel with a BusyBox shell, on a 1 GiB disk. Root, no password."],
  ["appliance.vendor", "the Byre project, from Debian 12 packages"],
  ["appliance.homepage", "https://www.debian.org/releases/bookworm/"],
  ["appliance.icon", drawIcon()],
  ["appliance.message", MESSAGE],
  ["appliance.license", "GPL-2.0-only"],
  ["appliance.license-title", "GNU General Public License, version 2"],
  ["machine.memory", "128"],
  ["machine.snapshot", SNAPSHOT_NAME],
]);
