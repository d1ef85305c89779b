import { type Assembler, Condition, createAssembler } from "./assembler.ts";

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
 * | `f`          | FLUSH CACHE, not waited for | 0 |
 * | `gllllllll`  | DMA read, not waited for | 0 |
 * | `0`, `1`     | chooses master, slave | 0 |
 * | `Etext\n`    | nothing | the text and a newline, no `=` |
 * | `B`, `C`, `T`| reset by keyboard controller, by port CF9h, by triple fault | boots again |
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

const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

const LOAD_ADDRESS = 0x7c00;
const CODE_SECTORS = 4;
const SECTOR_BYTES = 512;

// Fixed places in the guest's memory.
const PRD_TABLE = 0x8f00;
const BUFFER = 0x9000;
const LBA = 0x8e00;
const BUS_MASTER = 0x8e04;
const DEVICE = 0x8e08;

const COM1 = 0x3f8;
const IDE = 0x1f0;
const IDE_STATUS = 0x1f7;
const IDE_CONTROL = 0x3f6;

// Opcodes that stand alone.
const IN_AL_DX = 0xec;
const OUT_DX_AL = 0xee;
const HLT = 0xf4;
const CLI = 0xfa;
const STI = 0xfb;
const RET = 0xc3;
const OPERAND32 = 0x66;

function assembleGuest(): Uint8Array {
  const a = createAssembler(LOAD_ADDRESS);
  boot(a);
  commands(a);
  drive(a);
  dma(a);
  serial(a);
  return a.assemble(CODE_SECTORS * SECTOR_BYTES);
}

function movDx(a: Assembler, value: number): void {
  a.bytes(0xba);
  a.word(value);
}

function dword(a: Assembler, value: number): void {
  a.word(value);
  a.word(value >>> 16);
}

function out(a: Assembler, port: number, value: number): void {
  movDx(a, port);
  a.bytes(0xb0, value, OUT_DX_AL);
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
  command("P", () => {
    movDx(a, 0xb004);
    a.bytes(0xb8, 0x00, 0x20, 0xef);
    a.label("rest");
    a.jump("rest");
  });
  command("H", () => a.bytes(CLI, HLT));
  a.jump("next");
}

/** PIO and what both ways share. The drive's status is in al afterwards. */
function drive(a: Assembler): void {
  a.label("select"); // waits until not busy, chooses the drive
  a.call("wait");
  movDx(a, IDE + 6);
  a.bytes(0xa0);
  a.word(DEVICE);
  a.bytes(OUT_DX_AL, RET);

  a.label("address sector");
  a.call("select");
  out(a, IDE + 2, 1);
  for (let byte = 0; byte < 3; byte++) {
    movDx(a, IDE + 3 + byte);
    a.bytes(0xa0);
    a.word(LBA + byte);
    a.bytes(OUT_DX_AL);
  }
  movDx(a, IDE + 6);
  a.bytes(0xa0);
  a.word(LBA + 3);
  a.bytes(0x24, 0x0f, 0x0a, 0x06); // and al, 15; or al, [DEVICE]
  a.word(DEVICE);
  a.bytes(OUT_DX_AL, RET);

  a.label("issue"); // the command in al
  movDx(a, IDE_STATUS);
  a.bytes(OUT_DX_AL, RET);

  a.label("wait");
  movDx(a, IDE_STATUS);
  a.bytes(IN_AL_DX, 0xa8, 0x80);
  a.jumpIf(Condition.NOT_ZERO, "wait");
  a.bytes(RET);

  a.label("read");
  a.bytes(0xb0, 0x20);
  a.call("issue");
  a.label("take"); // 256 words into the buffer
  a.call("wait");
  a.bytes(0xbf);
  a.word(BUFFER);
  a.bytes(0xb9);
  a.word(256);
  movDx(a, IDE);
  a.bytes(0xf3, 0x6d);
  a.jump("wait");

  a.label("write");
  a.bytes(0xb0, 0x30);
  a.call("issue");
  a.call("wait");
  a.bytes(0xbe);
  a.word(BUFFER);
  a.bytes(0xb9);
  a.word(256);
  movDx(a, IDE);
  a.bytes(0xf3, 0x6f);
  a.jump("wait");

  a.label("fill"); // the buffer with the byte that comes on the line
  a.bytes(0xb9);
  a.word(2);
  a.call("number");
  a.bytes(0x88, 0xd8, 0xbf); // al = bl
  a.word(BUFFER);
  a.bytes(0xb9);
  a.word(SECTOR_BYTES);
  a.bytes(0xf3, 0xaa, RET);
}

function dma(a: Assembler): void {
  const start = (label: string, command: number, direction: number) => {
    a.label(label);
    a.call("address sector");
    a.bytes(0x8b, 0x16); // dx = bus-master base
    a.word(BUS_MASTER);
    a.bytes(0xb0, direction, OUT_DX_AL); // stopped
    a.bytes(0x83, 0xc2, 2, 0xb0, 0x06, OUT_DX_AL); // status cleared
    a.bytes(0x83, 0xc2, 2, OPERAND32, 0xb8); // table
    a.word(PRD_TABLE);
    a.word(0);
    a.bytes(OPERAND32, 0xef, 0xb0, command);
    a.call("issue");
    a.bytes(0x8b, 0x16);
    a.word(BUS_MASTER);
    a.bytes(0xb0, direction | 1, OUT_DX_AL, RET);
  };
  start("start dma read", 0xc8, 0x08);
  start("start dma write", 0xca, 0x00);

  a.label("finish dma"); // neither busy nor asking for data
  movDx(a, IDE_STATUS);
  a.bytes(IN_AL_DX, 0xa8, 0x88);
  a.jumpIf(Condition.NOT_ZERO, "finish dma");
  a.bytes(0x50, 0x8b, 0x16);
  a.word(BUS_MASTER);
  a.bytes(0xb0, 0, OUT_DX_AL, 0x58, RET);
}

/** Numbers and characters on the line, and the answers. */
function serial(a: Assembler): void {
  a.label("get"); // a character into al; sleeps until there is one
  a.bytes(CLI);
  movDx(a, COM1 + 5);
  a.bytes(IN_AL_DX, 0xa8, 0x01);
  a.jumpIf(Condition.NOT_ZERO, "got");
  a.bytes(STI, HLT);
  a.jump("get");
  a.label("got");
  movDx(a, COM1);
  a.bytes(IN_AL_DX, STI, RET);

  a.label("put");
  movDx(a, COM1);
  a.bytes(OUT_DX_AL, RET);

  a.label("lba");
  a.bytes(0xb9);
  a.word(8);
  a.call("number");
  a.bytes(OPERAND32, 0x89, 0x1e);
  a.word(LBA);
  a.bytes(RET);

  a.label("number"); // cx hex digits into ebx
  a.bytes(OPERAND32, 0x31, 0xdb);
  a.label("digit");
  a.call("get");
  a.bytes(0x2c, 0x30, 0x3c, 10);
  a.jumpIf(Condition.BELOW, "decimal");
  a.bytes(0x2c, 7);
  a.label("decimal");
  a.bytes(OPERAND32, 0x0f, 0xb6, 0xc0, OPERAND32, 0xc1, 0xe3, 4, OPERAND32, 0x09, 0xc3, 0x49); // ... dec cx
  a.jumpIf(Condition.NOT_ZERO, "digit");
  a.bytes(RET);

  a.label("checksum"); // of the buffer, unless the drive reports an error
  a.bytes(0xa8, 0x01);
  a.jumpIf(Condition.NOT_ZERO, "status");
  a.bytes(0xbe);
  a.word(BUFFER);
  a.bytes(0xb9);
  a.word(SECTOR_BYTES);
  a.bytes(OPERAND32, 0xbb);
  dword(a, FNV_BASIS);
  a.label("sum");
  a.bytes(0xac, OPERAND32, 0x0f, 0xb6, 0xc0, OPERAND32, 0x31, 0xc3, OPERAND32, 0x69, 0xdb); // ebx ^= al; imul
  dword(a, FNV_PRIME);
  a.bytes(0x49);
  a.jumpIf(Condition.NOT_ZERO, "sum");
  a.bytes(OPERAND32, 0x89, 0xd8);
  a.jump("answer");

  a.label("status");
  a.bytes(OPERAND32, 0x0f, 0xb6, 0xc0, 0xa8, 0x01);
  a.jumpIf(Condition.ZERO, "answer");
  a.bytes(OPERAND32, 0x50, 0xb0, "!".charCodeAt(0));
  a.jump("write answer");
  a.label("zero");
  a.bytes(OPERAND32, 0x31, 0xc0);
  a.label("answer");
  a.bytes(OPERAND32, 0x50, 0xb0, "=".charCodeAt(0));
  a.label("write answer");
  a.call("put");
  a.bytes(OPERAND32, 0x58, 0xb9);
  a.word(8);
  a.label("hex");
  a.bytes(OPERAND32, 0xc1, 0xc0, 4, OPERAND32, 0x50, 0x24, 0x0f, 0x3c, 10); // rol eax, 4; push; and; cmp
  a.jumpIf(Condition.BELOW, "low");
  a.bytes(0x04, 7);
  a.label("low");
  a.bytes(0x04, 0x30);
  a.call("put");
  a.bytes(OPERAND32, 0x58, 0x49);
  a.jumpIf(Condition.NOT_ZERO, "hex");
  a.bytes(0xb0, 0x0a);
  a.call("put");
  a.jump("next");
}
