import { type Assembler, Condition } from "./assembler.ts";
import {
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
  IDE_STATUS,
  IN_AL_DX,
  LBA,
  movDx,
  OPERAND32,
  OUT_DX_AL,
  out,
  PRD_TABLE,
  RET,
  SECTOR_BYTES,
  STI,
} from "./tiny-guest-parts.ts";

/** PIO and what both ways share. The drive's status is in al afterwards. */
export function driveRoutines(a: Assembler): void {
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

export function dmaRoutines(a: Assembler): void {
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
export function serialRoutines(a: Assembler): void {
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
