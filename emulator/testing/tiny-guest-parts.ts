import type { Assembler } from "./assembler.ts";

// Places, ports, opcodes and the pieces of code that the tiny guest is put together from.

export const FNV_BASIS = 0x811c9dc5;
export const FNV_PRIME = 0x01000193;

export const SECTOR_BYTES = 512;

// Fixed places in the guest's memory.
export const PRD_TABLE = 0x8f00;
export const BUFFER = 0x9000;
export const LBA = 0x8e00;
export const BUS_MASTER = 0x8e04;
export const DEVICE = 0x8e08;
export const BACKDOOR_ANSWER = 0x8e0c;

export const COM1 = 0x3f8;
export const IDE = 0x1f0;
export const IDE_STATUS = 0x1f7;
export const IDE_CONTROL = 0x3f6;
export const BACKDOOR = 0x5658;
export const BACKDOOR_MAGIC = 0x564d5868;

// Opcodes that stand alone.
export const IN_AL_DX = 0xec;
export const OUT_DX_AL = 0xee;
export const HLT = 0xf4;
export const CLI = 0xfa;
export const STI = 0xfb;
export const RET = 0xc3;
export const OPERAND32 = 0x66;

export function movDx(a: Assembler, value: number): void {
  a.bytes(0xba);
  a.word(value);
}

export function dword(a: Assembler, value: number): void {
  a.word(value);
  a.word(value >>> 16);
}

export function out(a: Assembler, port: number, value: number): void {
  movDx(a, port);
  a.bytes(0xb0, value, OUT_DX_AL);
}
