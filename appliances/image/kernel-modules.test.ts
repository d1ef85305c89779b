import { expect, test } from "vitest";
import {
  type ModuleInfo,
  modulesInLoadOrder,
  readModuleInfo,
  writeModulesAlias,
  writeModulesDep,
} from "./kernel-modules.ts";

/** The least ELF file that has a .modinfo section: header, section contents, three section headers. */
function moduleFile(entries: readonly string[]): Uint8Array {
  const modinfo = Buffer.from(entries.map((entry) => `${entry}\0`).join(""), "latin1");
  const names = Buffer.from("\0.shstrtab\0.modinfo\0", "latin1");
  const namesAt = 52;
  const modinfoAt = namesAt + names.length;
  const tableAt = modinfoAt + modinfo.length;
  const file = Buffer.alloc(tableAt + 3 * 40);
  file.write("\x7fELF\x01\x01\x01", "latin1");
  file.writeUInt32LE(tableAt, 32);
  file.writeUInt16LE(40, 46);
  file.writeUInt16LE(3, 48);
  file.writeUInt16LE(1, 50);
  names.copy(file, namesAt);
  modinfo.copy(file, modinfoAt);
  const section = (index: number, name: number, type: number, offset: number, size: number) => {
    const at = tableAt + index * 40;
    file.writeUInt32LE(name, at);
    file.writeUInt32LE(type, at + 4);
    file.writeUInt32LE(offset, at + 16);
    file.writeUInt32LE(size, at + 20);
  };
  section(1, 1, 3, namesAt, names.length);
  section(2, 11, 1, modinfoAt, modinfo.length);
  return file;
}

test("a module's dependencies, soft ones and aliases are read from its file", () => {
  const file = moduleFile([
    "license=GPL",
    "alias=fs-ext4",
    "softdep=pre: crc32c other-one post: later",
    "depends=mbcache,crc16,crc-t10dif",
  ]);
  expect(readModuleInfo("ext4-fs.ko", file)).toEqual({
    name: "ext4_fs",
    depends: ["mbcache", "crc16", "crc_t10dif"],
    softDepends: ["crc32c", "other_one"],
    aliases: ["fs-ext4"],
  });
});

test("a file that is no module is refused by name", () => {
  expect(() => readModuleInfo("x.ko", new Uint8Array(100))).toThrow(/x\.ko is not a 32-bit/);
});

const module = (name: string, depends: string[] = [], softDepends: string[] = []): ModuleInfo => ({
  name,
  depends,
  softDepends,
  aliases: [`pci:${name}*`],
});
const available = new Map(
  [
    module("sd", ["scsi"], ["built_in", "crc"]),
    module("scsi", ["common"]),
    module("common"),
    module("crc"),
  ].map((one) => [one.name, one]),
);

test("modules come after what they depend on, and what is built in is passed over", () => {
  const names = modulesInLoadOrder(["sd", "scsi"], available).map(({ name }) => name);
  expect(names).toEqual(["crc", "common", "scsi", "sd"]);
});

test("a missing dependency is named, with who needs it", () => {
  const broken = new Map([["a", module("a", ["b"])]]);
  expect(() => modulesInLoadOrder(["a"], broken)).toThrow("no module b, which a needs");
});

test("modules.dep and modules.alias are written as modprobe reads them", () => {
  const modules = modulesInLoadOrder(["sd"], available);
  expect(writeModulesDep(modules, ({ name }) => `kernel/${name}.ko`, available)).toContain(
    "kernel/sd.ko: kernel/scsi.ko kernel/common.ko kernel/crc.ko\n",
  );
  expect(writeModulesAlias(modules)).toContain("alias pci:sd* sd\n");
});
