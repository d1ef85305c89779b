import { type Assembler, Condition, createAssembler } from "./assembler.ts";
import {
  BACKDOOR,
  BACKDOOR_ANSWER,
  BACKDOOR_MAGIC,
  BUFFER,
  BUS_MASTER,
  CLI,
  COM1,
  DEVICE,
  dword,
  FNV_BASIS,
  FNV_PRIME,
  HLT,
  IDE,
  IDE_CONTROL,
  IN_AL_DX,
  movDx,
  OPERAND32,
  OUT_DX_AL,
  out,
  PRD_TABLE,
  SECTOR_BYTES,
} from "./tiny-guest-parts.ts";
import { dmaRoutines, driveRoutines, serialRoutines } from "./tiny-guest-routines.ts";

/**
 * A guest of a few hundred bytes that does what a serial line tells it: the machine's disks, flushes, resets
 * and power-off are tried with it in well under a second a boot.
 *
 * It prints `TINY_GUEST_BANNER`, then takes commands and answers each with a line `=XXXXXXXX` (a result) or
 * `!XXXXXXXX` (the drive's status, when it reports an error). Numbers are upper-case hex of fixed length.
 *
 * | command      | does | answers |
 * | ------------ | --- | --- |
 * | `Rllllllll`  | reads a sector by PIO | `tinyGuestChecksum` of it |
 * | `rllllllll`  | the same by bus-master DMA | the same |
 * | `Wllllllllbb`| writes a sector full of byte `bb` by PIO | drive status |
 * | `wllllllllbb`| the same by DMA | drive status |
 * | `F`, `X`     | FLUSH CACHE, FLUSH CACHE EXT | drive status once not busy |
 * | `Sbb`        | SET FEATURES `bb` | drive status |
 * | `I`          | IDENTIFY DEVICE | words 82 and 85 |
 * | `Q`          | asks at once | alternate status |
 * | `ipppp`      | reads a byte of port `pppp` | it |
 * | `oppppbb`    | writes a byte to port `pppp` | 0 |
 * | `Vxxxxxxxxpppp` | asks VMware's backdoor for command `pppp` with `xxxxxxxx` in ebx | eax |
 * | `v`          | nothing | cx and bx, as the last `V` left them |
 * | `f`          | FLUSH CACHE, not waited for | 0 |
 * | `gllllllll`  | DMA read, not waited for | 0 |
 * | `0`, `1`     | chooses master, slave | 0 |
 * | `Etext\n`    | nothing | the text and a newline, no `=` |
 * | `B`, `C`, `T`| reset by keyboard controller, by port CF9h, by triple fault | boots again |
 * | `K`          | takes an exception with an interrupt table of zeros | nothing: v86 gives up |
 * | `P`, `H`     | ACPI power-off; halt with interrupts off | nothing |
 */
export function tinyGuestImage(sizeBytes: number): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(sizeBytes);
  image.set(assembleGuest());
  return image;
}

export const TINY_GUEST_BANNER = "tiny guest ready\n";

/** The first sector that is free for tests. */
export const TINY_GUEST_FREE_SECTOR = 8;

/** What `R` and `r` answer for a sector: FNV-1a, 32 bits. */
export function tinyGuestChecksum(sector: Uint8Array): string {
  let sum = FNV_BASIS;
  for (const byte of sector) sum = Math.imul(sum ^ byte, FNV_PRIME);
  return (sum >>> 0).toString(16).toUpperCase().padStart(8, "0");
}

const LOAD_ADDRESS = 0x7c00;
const CODE_SECTORS = 4;

function assembleGuest(): Uint8Array {
  const a = createAssembler(LOAD_ADDRESS);
  boot(a);
  commands(a);
  driveRoutines(a);
  dmaRoutines(a);
  serialRoutines(a);
  return a.assemble(CODE_SECTORS * SECTOR_BYTES);
}

function boot(a: Assembler): void {
  a.bytes(CLI, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0); // ds = es = ss = 0
  a.bytes(0xbc);
  a.word(LOAD_ADDRESS); // sp
  // Loads the other sectors behind the first: int 13h, function 2, from sector 2 of the boot drive in dl.
  a.bytes(0xb8);
  a.word(0x0200 | (CODE_SECTORS - 1));
  a.bytes(0xbb);
  a.word(LOAD_ADDRESS + SECTOR_BYTES);
  a.bytes(0xb9);
  a.word(2);
  a.bytes(0xb6, 0, 0xcd, 0x13);
  a.jump("start");
  a.label("interrupt"); // IRQ 4: nothing to do but to wake; the loop reads the port
  a.bytes(0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf);
  // The signature of a boot sector.
  a.padTo(SECTOR_BYTES - 2);
  a.bytes(0x55, 0xaa);

  a.label("start");
  a.bytes(CLI);
  a.bytes(0xc7, 0x06); // the vector of IRQ 4
  a.word(0x0c * 4);
  a.address("interrupt");
  a.bytes(0xc7, 0x06);
  a.word(0x0c * 4 + 2);
  a.word(0);
  a.bytes(0xe4, 0x21, 0x24, 0xef, 0xe6, 0x21); // unmask it
  out(a, COM1 + 3, 0x03);
  out(a, COM1 + 2, 0x01);
  out(a, COM1 + 4, 0x0b);
  out(a, COM1 + 1, 0x01);
  out(a, IDE_CONTROL, 0x02); // no interrupts of the drive: its status is polled
  a.bytes(0xc6, 0x06);
  a.word(DEVICE);
  a.bytes(0xe0);
  // Bus-master base: BAR 4 of the IDE controller, device 1Eh of bus 0.
  movDx(a, 0xcf8);
  a.bytes(OPERAND32, 0xb8, 0x20, 0xf0, 0x00, 0x80, OPERAND32, 0xef);
  movDx(a, 0xcfc);
  a.bytes(OPERAND32, 0xed, 0x24, 0xfc, 0xa3);
  a.word(BUS_MASTER);
  // One descriptor: the whole buffer, end of table.
  a.bytes(OPERAND32, 0xc7, 0x06);
  a.word(PRD_TABLE);
  a.bytes(BUFFER & 0xff, BUFFER >> 8, 0, 0, OPERAND32, 0xc7, 0x06);
  a.word(PRD_TABLE + 4);
  a.bytes(0x00, 0x02, 0x00, 0x80);
  a.bytes(0xbe);
  a.address("banner");
  a.label("print");
  a.bytes(0xac, 0x08, 0xc0); // lodsb; or al, al
  a.jumpIf(Condition.ZERO, "next");
  a.call("put");
  a.jump("print");
  a.label("banner");
  a.text(TINY_GUEST_BANNER);
  a.bytes(0);
}

function commands(a: Assembler): void {
  const command = (letter: string, body: () => void) => {
    a.bytes(0x3c, letter.charCodeAt(0));
    a.jumpIf(Condition.NOT_ZERO, `after ${letter}`);
    body();
    a.label(`after ${letter}`);
  };
  a.label("next");
  a.call("get");
  command("R", () => {
    a.call("lba");
    a.call("address sector");
    a.call("read");
    a.jump("checksum");
  });
  command("r", () => {
    a.call("lba");
    a.call("start dma read");
    a.call("finish dma");
    a.jump("checksum");
  });
  command("W", () => {
    a.call("lba");
    a.call("fill");
    a.call("address sector");
    a.call("write");
    a.jump("status");
  });
  command("w", () => {
    a.call("lba");
    a.call("fill");
    a.call("start dma write");
    a.call("finish dma");
    a.jump("status");
  });
  const simple = (code: number) => {
    a.call("select");
    a.bytes(0xb0, code);
    a.call("issue");
    a.call("wait");
    a.jump("status");
  };
  command("F", () => simple(0xe7));
  command("X", () => simple(0xea));
  command("S", () => {
    a.bytes(0xb9);
    a.word(2);
    a.call("number");
    a.call("select");
    movDx(a, IDE + 1);
    a.bytes(0x88, 0xd8, OUT_DX_AL); // al = bl
    a.bytes(0xb0, 0xef);
    a.call("issue");
    a.call("wait");
    a.jump("status");
  });
  command("I", () => {
    a.call("select");
    a.bytes(0xb0, 0xec);
    a.call("issue");
    a.call("take");
    a.bytes(0xa1);
    a.word(BUFFER + 82 * 2);
    a.bytes(OPERAND32, 0xc1, 0xe0, 16, 0xa1); // shl eax, 16; ax = word 85
    a.word(BUFFER + 85 * 2);
    a.jump("answer");
  });
  command("Q", () => {
    movDx(a, IDE_CONTROL);
    a.bytes(IN_AL_DX);
    a.bytes(OPERAND32, 0x0f, 0xb6, 0xc0);
    a.jump("answer");
  });
  command("i", () => {
    a.bytes(0xb9);
    a.word(4);
    a.call("number");
    a.bytes(0x89, 0xda, IN_AL_DX); // dx = bx
    a.bytes(OPERAND32, 0x0f, 0xb6, 0xc0);
    a.jump("answer");
  });
  command("o", () => {
    a.bytes(0xb9);
    a.word(4);
    a.call("number");
    a.bytes(0x53, 0xb9); // push bx
    a.word(2);
    a.call("number");
    a.bytes(0x88, 0xd8, 0x5a, OUT_DX_AL); // al = bl; pop dx
    a.jump("zero");
  });
  command("V", () => {
    a.bytes(0xb9);
    a.word(8);
    a.call("number");
    a.bytes(OPERAND32, 0x53, 0xb9); // push ebx
    a.word(4);
    a.call("number");
    a.bytes(OPERAND32, 0x89, 0xd9, OPERAND32, 0x5b, OPERAND32, 0xb8); // ecx = ebx; pop ebx; eax
    dword(a, BACKDOOR_MAGIC);
    movDx(a, BACKDOOR);
    a.bytes(OPERAND32, 0xed, 0x89, 0x1e); // in eax, dx; store bx
    a.word(BACKDOOR_ANSWER);
    a.bytes(0x89, 0x0e);
    a.word(BACKDOOR_ANSWER + 2);
    a.jump("answer");
  });
  command("v", () => {
    a.bytes(OPERAND32, 0xa1);
    a.word(BACKDOOR_ANSWER);
    a.jump("answer");
  });
  command("f", () => {
    a.call("select");
    a.bytes(0xb0, 0xe7);
    a.call("issue");
    a.jump("zero");
  });
  command("g", () => {
    a.call("lba");
    a.call("start dma read");
    a.jump("zero");
  });
  command("0", () => {
    a.bytes(0xc6, 0x06);
    a.word(DEVICE);
    a.bytes(0xe0);
    a.jump("zero");
  });
  command("1", () => {
    a.bytes(0xc6, 0x06);
    a.word(DEVICE);
    a.bytes(0xf0);
    a.jump("zero");
  });
  command("E", () => {
    a.label("echo");
    a.call("get");
    a.call("put");
    a.bytes(0x3c, 0x0a);
    a.jumpIf(Condition.NOT_ZERO, "echo");
    a.jump("next");
  });
  command("B", () => {
    a.bytes(0xb0, 0xfe, 0xe6, 0x64);
    a.jump("rest");
  });
  command("C", () => {
    out(a, 0xcf9, 0x02);
    out(a, 0xcf9, 0x06);
    a.jump("rest");
  });
  command("T", () => {
    a.bytes(CLI, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0); // protected mode
    a.bytes(0x0f, 0x01, 0x1e); // lidt: no entries at all
    a.address("empty table");
    a.bytes(0xcc);
    a.label("empty table");
    a.bytes(0, 0, 0, 0, 0, 0);
  });
  command("K", () => {
    a.bytes(CLI, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0);
    a.bytes(0x0f, 0x01, 0x1e);
    a.address("bad table");
    a.bytes(0xcc);
    a.label("bad table");
    a.bytes(0xff, 0x07, 0x00, 0xa0, 0, 0);
  });
  command("P", () => {
    movDx(a, 0xb004);
    a.bytes(0xb8, 0x00, 0x20, 0xef);
    a.label("rest");
    a.jump("rest");
  });
  command("H", () => a.bytes(CLI, HLT));
  a.jump("next");
}
