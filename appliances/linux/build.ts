import { constants } from "node:fs";
import { chmod, cp, lstat, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type DebianPackage, openApt } from "../debian/apt.ts";
import { hostArchitecture, openHostTools } from "../debian/host-tools.ts";
import { writeBootPartition } from "../image/boot-partition.ts";
import { type CpioEntry, writeCpioArchive } from "../image/cpio-archive.ts";
import { assembleDisk } from "../image/disk.ts";
import {
  type ModuleInfo,
  modulesInLoadOrder,
  readModuleInfo,
  writeModulesAlias,
  writeModulesDep,
} from "../image/kernel-modules.ts";
import { writeRootPartition } from "../image/root-partition.ts";
import { busyboxApplets } from "./busybox-applets.ts";
import * as recipe from "./recipe.ts";

const HERE = import.meta.dirname;

export interface BuildOptions {
  /** Where packages and intermediate files are kept between builds. */
  cacheFolder: string;
  /** The raw image that is made. */
  diskPath: string;
  log: (line: string) => void;
}

/** A module of the unpacked kernel package. */
interface KernelModule extends ModuleInfo {
  path: string;
  /** Below /lib/modules/VERSION. */
  relativePath: string;
}

/**
 * Builds the appliance's disk as a raw image.
 * @throws CannotBuildHere when this host has not what it takes
 */
export async function buildLinuxDisk({ cacheFolder, diskPath, log }: BuildOptions): Promise<void> {
  const architecture = await hostArchitecture();
  const apt = await openApt({
    folder: join(cacheFolder, "debian"),
    release: recipe.RELEASE,
    architectures: [recipe.GUEST_ARCHITECTURE, architecture],
    log,
  });
  await apt.update();
  const packages = await Promise.all([
    findKernel(apt.lookUp),
    ...recipe.GUEST_PACKAGES.map((name) => apt.lookUp(`${name}:${recipe.GUEST_ARCHITECTURE}`)),
  ]);
  const tools = await openHostTools(apt, architecture);
  for (const { name, version, architecture: built } of [...packages, ...tools.packages]) {
    log(`using ${name} ${version} (${built})`);
  }
  const debs = await apt.fetch(packages);
  log("unpacking packages");
  const roots: string[] = [];
  for (const deb of debs) roots.push(await apt.unpack(deb));
  const [kernelRoot, busyboxRoot] = roots;
  if (kernelRoot === undefined || busyboxRoot === undefined) throw new Error("The recipe names no packages.");

  const work = join(cacheFolder, "work");
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  const busybox = await readFile(join(busyboxRoot, "bin/busybox"));
  const kernel = await readKernel(kernelRoot);

  log("writing the root file system");
  const rootFolder = join(work, "root");
  await writeRootFolder(rootFolder, busybox, kernel, roots, packages);
  const rootImagePath = join(work, "root.ext4");
  const sectors = recipe.DISK_BYTES / 512;
  await writeRootPartition(tools, {
    imagePath: rootImagePath,
    sizeBytes: (sectors - recipe.ROOT_FIRST_SECTOR) * 512,
    uuid: recipe.ROOT_UUID,
    folder: rootFolder,
    timeSeconds: recipe.TIME_SECONDS,
  });

  log("writing the disk");
  await assembleDisk({
    path: diskPath,
    sizeBytes: recipe.DISK_BYTES,
    bootCode: await readFile(tools.masterBootRecordPath),
    signature: recipe.DISK_SIGNATURE,
    partitions: [
      { type: 0x0e, firstSector: recipe.BOOT_FIRST_SECTOR, sectors: recipe.BOOT_SECTORS, active: true },
      {
        type: 0x83,
        firstSector: recipe.ROOT_FIRST_SECTOR,
        sectors: sectors - recipe.ROOT_FIRST_SECTOR,
        contentPath: rootImagePath,
      },
    ],
  });
  const loaderConfiguration = (await readFile(join(HERE, "syslinux.cfg"), "utf8")).replace(
    "@COMMAND_LINE@",
    recipe.COMMAND_LINE.join(" "),
  );
  await writeBootPartition(tools, {
    diskPath,
    firstSector: recipe.BOOT_FIRST_SECTOR,
    sectors: recipe.BOOT_SECTORS,
    serial: recipe.BOOT_SERIAL,
    timeSeconds: recipe.TIME_SECONDS,
    workFolder: work,
    files: new Map([
      ["vmlinuz", kernel.image],
      ["initrd", await writeInitramfs(busybox, kernel.modules)],
      ["syslinux.cfg", new TextEncoder().encode(loaderConfiguration)],
    ]),
  });
  await rm(work, { recursive: true });
}

/** The real package behind the metapackage: `linux-image-6.1.0-NN-686`. */
async function findKernel(lookUp: (name: string) => Promise<DebianPackage>): Promise<DebianPackage> {
  const meta = await lookUp(`${recipe.KERNEL_METAPACKAGE}:${recipe.GUEST_ARCHITECTURE}`);
  const name = /linux-image-[^\s,(]+/.exec(meta.depends)?.[0];
  if (name === undefined) throw new Error(`${meta.name} ${meta.version} names no kernel: "${meta.depends}"`);
  return lookUp(`${name}:${recipe.GUEST_ARCHITECTURE}`);
}

interface Kernel {
  version: string;
  image: Uint8Array;
  modules: Map<string, KernelModule>;
  /** Folder that holds the lists of what is built in. */
  moduleFolder: string;
}

async function readKernel(kernelRoot: string): Promise<Kernel> {
  const [version] = await readdir(join(kernelRoot, "lib/modules"));
  if (version === undefined) throw new Error("The kernel package holds no modules.");
  const moduleFolder = join(kernelRoot, "lib/modules", version);
  const wanted = new Map<string, KernelModule>();
  const files = (await readdir(join(moduleFolder, "kernel"), { recursive: true })).filter((file) =>
    file.endsWith(".ko"),
  );
  for (const file of files) {
    const path = join(moduleFolder, "kernel", file);
    const info = readModuleInfo(basename(file), await readFile(path));
    wanted.set(info.name, { ...info, path, relativePath: `kernel/${file}` });
  }
  const image = await readFile(join(kernelRoot, "boot", `vmlinuz-${version}`));
  return { version, image, modules: wanted, moduleFolder };
}

async function writeInitramfs(busybox: Uint8Array, modules: Map<string, KernelModule>): Promise<Uint8Array> {
  const folder = (path: string): CpioEntry => ({ path, type: "folder", mode: 0o755 });
  const entries: CpioEntry[] = [
    ...["bin", "dev", "modules", "proc", "root", "sys"].map(folder),
    // The kernel opens it for the first process, before that process can mount devtmpfs.
    { path: "dev/console", type: "character-device", mode: 0o600, major: 5, minor: 1 },
    { path: "bin/busybox", type: "file", mode: 0o755, content: busybox },
    { path: "init", type: "file", mode: 0o755, content: await readFile(join(HERE, "initramfs/init")) },
  ];
  const order = select(recipe.INITRAMFS_MODULES, modules);
  for (const { path } of order) {
    entries.push({
      path: `modules/${basename(path)}`,
      type: "file",
      mode: 0o644,
      content: await readFile(path),
    });
  }
  const names = order.map(({ path }) => `${basename(path)}\n`).join("");
  entries.push({
    path: "modules/order",
    type: "file",
    mode: 0o644,
    content: new TextEncoder().encode(names),
  });
  return writeCpioArchive(entries);
}

async function writeRootFolder(
  root: string,
  busybox: Uint8Array,
  kernel: Kernel,
  packageRoots: readonly string[],
  packages: readonly DebianPackage[],
): Promise<void> {
  const moduleTarget = join(root, "usr/lib/modules", kernel.version);
  await cp(join(HERE, "rootfs"), root, { recursive: true });
  const folders = ["dev", "mnt", "proc", "root", "run", "sys", "tmp", "var/log", "usr/bin"];
  for (const folder of folders) await mkdir(join(root, folder), { recursive: true });
  await mkdir(moduleTarget, { recursive: true });
  await symlink("usr/bin", join(root, "bin"));
  await symlink("usr/bin", join(root, "sbin"));
  await symlink("bin", join(root, "usr/sbin"));
  await symlink("usr/lib", join(root, "lib"));
  await symlink("/proc/mounts", join(root, "etc/mtab"));

  await writeFile(join(root, "usr/bin/busybox"), busybox, { mode: 0o755 });
  for (const applet of busyboxApplets(busybox)) {
    await symlink("busybox", join(root, "usr/bin", applet)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }

  const modules = select(recipe.ROOT_MODULES, kernel.modules);
  for (const { path, relativePath } of modules) await cp(path, join(moduleTarget, relativePath));
  const pathOf = ({ name }: ModuleInfo) => kernel.modules.get(name)?.relativePath ?? name;
  await writeFile(join(moduleTarget, "modules.dep"), writeModulesDep(modules, pathOf, kernel.modules));
  await writeFile(join(moduleTarget, "modules.alias"), writeModulesAlias(modules));
  await cp(join(kernel.moduleFolder, "modules.builtin"), join(moduleTarget, "modules.builtin"));

  for (const [index, { name }] of packages.entries()) {
    const target = join(root, "usr/share/doc", name);
    await mkdir(target, { recursive: true });
    await cp(join(packageRoots[index] ?? "", "usr/share/doc", name, "copyright"), join(target, "copyright"));
  }
  await setModes(root);
}

/** The same modes whatever the umask under which the repository was checked out and the folder written. */
async function setModes(root: string): Promise<void> {
  for (const name of await readdir(root, { recursive: true })) {
    const path = join(root, name);
    const { mode } = await lstat(path);
    const type = mode & constants.S_IFMT;
    if (type === constants.S_IFDIR) await chmod(path, 0o755);
    else if (type === constants.S_IFREG) await chmod(path, (mode & 0o100) === 0 ? 0o644 : 0o755);
  }
  await chmod(root, 0o755);
  await chmod(join(root, "root"), 0o700);
  await chmod(join(root, "etc/shadow"), 0o600);
}

function select(names: readonly string[], modules: Map<string, KernelModule>): KernelModule[] {
  return modulesInLoadOrder(names, modules).flatMap(({ name }) => modules.get(name) ?? []);
}
