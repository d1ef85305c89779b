import { readFileSync } from "node:fs";
import { type Bench, qemuImg, qemuIo } from "./qemu.ts";

/** An image that QEMU made, and where its structures stand. */
export interface CheckShape {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly fields: readonly DamageField[];
}

/** A place that damage can hit. */
export interface DamageField {
  readonly what: "refcount table" | "refcount" | "L1" | "L2" | "snapshot" | "bitmap" | "header";
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

const MAX_FIELDS_PER_TABLE = 48;

/** Makes images of many shapes, each small. */
export function makeCheckShapes(bench: Bench): CheckShape[] {
  const make = (name: string, size: string, options: string, ...steps: ((path: string) => void)[]) => {
    const path = bench.path(name);
    qemuImg("create", "-q", "-f", "qcow2", ...(options ? ["-o", options] : []), path, size);
    for (const step of steps) step(path);
    const bytes = new Uint8Array(readFileSync(path));
    return { name, bytes, fields: findFields(bytes) };
  };
  const io =
    (...commands: string[]) =>
    (path: string) => {
      qemuIo(path, commands);
    };
  const snapshot = (name: string) => (path: string) => {
    qemuImg("snapshot", "-c", name, path);
  };
  const bitmap =
    (...args: string[]) =>
    (path: string) => {
      qemuImg("bitmap", "--add", ...args, path, `b${args.join("")}`);
    };
  return [
    make("plain", "4M", "", io("write 0 300k", "write 1M 64k", "write -z 2M 64k")),
    make(
      "v2",
      "1M",
      "compat=0.10,cluster_size=1k",
      io("write 0 40k", "write 700k 9k"),
      snapshot("a"),
      io("write 8k 8k"),
    ),
    make(
      "snapshots",
      "2M",
      "cluster_size=4k",
      io("write 0 100k", "write -z 200k 20k"),
      snapshot("one"),
      io("write 20k 40k", "discard 60k 20k"),
      snapshot("two"),
      io("write 300k 30k"),
    ),
    make(
      "compressed",
      "1M",
      "cluster_size=4k",
      io("write -c -P 3 0 4k", "write -c -P 4 4k 4k", "write -c 64k 4k", "write 128k 20k"),
      snapshot("c"),
    ),
    make(
      "extended",
      "4M",
      "extended_l2=on,cluster_size=16k",
      io("write 0 1k", "write 40k 3k", "write -z 64k 2k", "write -c 128k 16k"),
      snapshot("e"),
    ),
    make("tiny", "512k", "cluster_size=512", io("write 0 90k", "write 300k 5k"), snapshot("t")),
    make("one-bit", "1M", "cluster_size=1k,refcount_bits=1", io("write 0 100k")),
    make("two-bit", "1M", "cluster_size=512,refcount_bits=2", io("write 0 10k"), snapshot("s")),
    make("wide", "1M", "cluster_size=512,refcount_bits=64", io("write 0 50k"), snapshot("s")),
    make("bitmaps", "4M", "cluster_size=4k", io("write 0 30k"), bitmap(), bitmap("--disable", "-g", "512")),
  ];
}

/** Reads where tables and entries stand, from a sound image. */
function findFields(bytes: Uint8Array): DamageField[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u64 = (at: number) => Number(view.getBigUint64(at));
  const target = (at: number) => Number(view.getBigUint64(at) & 0x00fffffffffffe00n);
  const fields: DamageField[] = [];
  const seen = new Set<number>();
  const clusterBytes = 2 ** view.getUint32(20);
  const version = view.getUint32(4);
  const entryBytes = version === 3 && (view.getBigUint64(72) & 16n) !== 0n ? 16 : 8;
  const add = (what: DamageField["what"], offsetBytes: number, lengthBytes: number) => {
    if (offsetBytes + lengthBytes <= bytes.length) fields.push({ what, offsetBytes, lengthBytes });
  };
  const addTable = (what: DamageField["what"], offset: number, length: number, entry: number) => {
    for (let i = 0; i < Math.min(length, entry * MAX_FIELDS_PER_TABLE); i += entry)
      add(what, offset + i, entry);
  };
  const addL1 = (offset: number, entries: number) => {
    addTable("L1", offset, entries * 8, 8);
    for (let i = 0; i < entries; i++) {
      const l2 = target(offset + i * 8);
      if (l2 === 0 || seen.has(l2)) continue;
      seen.add(l2);
      addTable("L2", l2, clusterBytes, entryBytes);
    }
  };
  add("header", 48, 8);
  add("header", 56, 4);
  add("header", 60, 4);
  add("header", 64, 8);
  add("header", 72, 8);
  const table = u64(48);
  addTable("refcount table", table, 8 * 8, 8);
  for (let i = 0; i < 8; i++) {
    const block = u64(table + i * 8);
    if (block !== 0) addTable("refcount", block, clusterBytes, 4);
  }
  addL1(u64(40), view.getUint32(36));
  let at = u64(64);
  for (let i = 0; i < view.getUint32(60); i++) {
    add("snapshot", at, 8);
    add("snapshot", at + 8, 4);
    add("snapshot", at + 12, 4);
    add("snapshot", at + 36, 4);
    addL1(u64(at), view.getUint32(at + 8));
    const length = 40 + view.getUint32(at + 36) + view.getUint16(at + 12) + view.getUint16(at + 14);
    at += Math.ceil(length / 8) * 8;
  }
  if (version === 3)
    for (
      let ext = view.getUint32(100);
      view.getUint32(ext) !== 0;
      ext += 8 + Math.ceil(view.getUint32(ext + 4) / 8) * 8
    ) {
      if (view.getUint32(ext) !== 0x23852875) continue;
      const directory = u64(ext + 24);
      const length = u64(ext + 16);
      addTable("bitmap", directory, length, 4);
      addTable("bitmap", u64(directory), view.getUint32(directory + 8) * 8, 8);
    }
  return fields;
}
