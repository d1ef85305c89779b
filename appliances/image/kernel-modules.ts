/** What a kernel module says of itself in its .modinfo section. */
export interface ModuleInfo {
  /** With `_` where the file's name may have `-`, as the kernel names it. */
  name: string;
  /** Modules that must be loaded before it. */
  depends: string[];
  /** Modules that should be loaded before it, such as an implementation of a checksum. */
  softDepends: string[];
  aliases: string[];
}

const SHT_NOBITS = 8;

/**
 * Reads the .modinfo section of a 32-bit little-endian ELF file (`NUL`-separated `key=value`).
 * Debian's packages hold no modules.dep (their post-install script would make it), so this stands for depmod.
 */
export function readModuleInfo(fileName: string, file: Uint8Array): ModuleInfo {
  const values = (key: string) =>
    modinfoEntries(fileName, file)
      .filter((entry) => entry.startsWith(`${key}=`))
      .map((entry) => entry.slice(key.length + 1));
  const listed = values("depends").flatMap((value) => value.split(",").filter((name) => name !== ""));
  const soft = values("softdep").flatMap((value) => {
    const before = /(?:^|\s)pre:\s*(.*?)(?=\s*post:|$)/.exec(value)?.[1] ?? "";
    return before.split(/\s+/).filter((name) => name !== "");
  });
  return {
    name: moduleName(fileName),
    depends: listed.map(moduleName),
    softDepends: soft.map(moduleName),
    aliases: values("alias"),
  };
}

/** The kernel's name of a module: `crc-t10dif.ko` is `crc_t10dif`. */
export function moduleName(fileName: string): string {
  return fileName.replace(/\.ko$/, "").replaceAll("-", "_");
}

/**
 * The modules in an order in which each comes after those it depends on.
 * A soft dependency that is no module here (built into the kernel, or an alias) is passed over.
 * @throws Error naming a hard dependency that is missing
 */
export function modulesInLoadOrder(
  wanted: readonly string[],
  available: ReadonlyMap<string, ModuleInfo>,
): ModuleInfo[] {
  const ordered: ModuleInfo[] = [];
  const visited = new Set<string>();
  const visit = (name: string, neededBy: string | undefined) => {
    if (visited.has(name)) return;
    visited.add(name);
    const info = available.get(name);
    if (info === undefined) {
      throw new Error(
        `The kernel package has no module ${name}${neededBy ? `, which ${neededBy} needs` : ""}.`,
      );
    }
    for (const soft of info.softDepends) if (available.has(soft)) visit(soft, name);
    for (const hard of info.depends) visit(hard, name);
    ordered.push(info);
  };
  for (const name of wanted) visit(name, undefined);
  return ordered;
}

/** The lines of modules.dep: a module's path, then those of everything below it, nearest first. */
export function writeModulesDep(
  modules: readonly ModuleInfo[],
  pathOf: (module: ModuleInfo) => string,
  available: ReadonlyMap<string, ModuleInfo>,
): string {
  return modules
    .map((module) => {
      const below = modulesInLoadOrder([module.name], available).slice(0, -1).reverse();
      return `${[`${pathOf(module)}:`, ...below.map(pathOf)].join(" ")}\n`;
    })
    .join("");
}

/** The lines of modules.alias. */
export function writeModulesAlias(modules: readonly ModuleInfo[]): string {
  return modules
    .flatMap((module) => module.aliases.map((alias) => `alias ${alias} ${module.name}\n`))
    .join("");
}

function modinfoEntries(fileName: string, file: Uint8Array): string[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 52 || view.getUint32(0) !== 0x7f454c46 || file[4] !== 1 || file[5] !== 1) {
    throw new Error(`${fileName} is not a 32-bit little-endian ELF file.`);
  }
  const tableOffset = view.getUint32(32, true);
  const entryBytes = view.getUint16(46, true);
  const sectionCount = view.getUint16(48, true);
  const section = (index: number) => {
    const at = tableOffset + index * entryBytes;
    return {
      nameOffset: view.getUint32(at, true),
      type: view.getUint32(at + 4, true),
      offset: view.getUint32(at + 16, true),
      size: view.getUint32(at + 20, true),
    };
  };
  const names = section(view.getUint16(50, true));
  const text = new TextDecoder("latin1");
  for (let index = 0; index < sectionCount; index++) {
    const { nameOffset, type, offset, size } = section(index);
    const nameStart = names.offset + nameOffset;
    const name = text.decode(file.subarray(nameStart, file.indexOf(0, nameStart)));
    if (name !== ".modinfo" || type === SHT_NOBITS) continue;
    return text
      .decode(file.subarray(offset, offset + size))
      .split("\0")
      .filter((entry) => entry !== "");
  }
  throw new Error(`${fileName} has no .modinfo section.`);
}
