import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { runCommand } from "../run-command.ts";
import { type Apt, CannotBuildHere, type DebianPackage } from "./apt.ts";

/** A program the recipe runs, and the packages that hold it and its libraries (but the C library). */
interface ToolSource {
  programs: readonly string[];
  packages: readonly string[];
}

const TOOLS: readonly ToolSource[] = [
  { programs: ["mformat", "mcopy", "mattrib"], packages: ["mtools"] },
  {
    programs: ["mke2fs", "debugfs"],
    packages: ["e2fsprogs", "libext2fs2", "libcom-err2", "libss2", "libblkid1", "libuuid1"],
  },
  { programs: ["syslinux"], packages: ["syslinux"] },
];

/** syslinux writes its loader with x86 programs, so that Debian has it for these hosts only. */
const SYSLINUX_HOSTS = ["amd64", "i386"];

/** The programs the recipe runs on the host, from the host itself or from unpacked packages. */
export interface HostTools {
  /** Runs a tool as {@link runCommand} does. */
  run(
    program: string,
    parameters: readonly string[],
    options?: { input?: string; env?: Record<string, string> },
  ): Promise<string>;
  /** Path of syslinux's boot code for a master boot record. */
  masterBootRecordPath: string;
  /** The packages that tools come from, where the host has them not. */
  packages: DebianPackage[];
}

/** Debian's name for the host's architecture. @throws CannotBuildHere without dpkg or on another architecture. */
export async function hostArchitecture(): Promise<string> {
  let name: string;
  try {
    name = (await runCommand("dpkg", ["--print-architecture"])).trim();
  } catch (cause) {
    throw new CannotBuildHere("This machine has no dpkg.", { cause });
  }
  if (!SYSLINUX_HOSTS.includes(name)) {
    throw new CannotBuildHere(`The boot loader's installer runs on x86 only, and this machine is ${name}.`);
  }
  return name;
}

/** Finds each tool on the host, else unpacks it: nothing is installed. */
export async function openHostTools(apt: Apt, architecture: string): Promise<HostTools> {
  // The folders of system programs are missing from the path of an ordinary user on Debian.
  const path = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const libraries: string[] = [];
  const packages: DebianPackage[] = [];
  const onHost = (program: string) => path.some((folder) => existsSync(join(folder, program)));

  const missing = TOOLS.filter(({ programs }) => !programs.every(onHost));
  // Its boot code is read from its package in any case.
  const syslinux = TOOLS.filter(({ programs }) => programs.includes("syslinux"));
  let masterBootRecordPath = "/usr/lib/SYSLINUX/mbr.bin";
  for (const tool of existsSync(masterBootRecordPath) ? missing : new Set([...missing, ...syslinux])) {
    const described = await Promise.all(tool.packages.map((name) => apt.lookUp(`${name}:${architecture}`)));
    packages.push(...described);
    for (const deb of await apt.fetch(described)) {
      const root = await apt.unpack(deb);
      path.unshift(...["usr/bin", "usr/sbin", "bin", "sbin"].map((folder) => join(root, folder)));
      const triplet = architecture === "amd64" ? "x86_64-linux-gnu" : "i386-linux-gnu";
      libraries.push(join(root, "lib", triplet), join(root, "usr/lib", triplet));
      const bootCode = join(root, "usr/lib/SYSLINUX/mbr.bin");
      if (existsSync(bootCode)) masterBootRecordPath = bootCode;
    }
  }

  const env: Record<string, string> = { PATH: path.join(delimiter) };
  if (libraries.length > 0)
    env.LD_LIBRARY_PATH = libraries.filter((folder) => existsSync(folder)).join(delimiter);
  return {
    run: (program, parameters, options = {}) =>
      // Looked up along our path here: spawn() would use this process's own.
      runCommand(
        path.map((folder) => join(folder, program)).find((file) => existsSync(file)) ?? program,
        parameters,
        { ...options, env: { ...env, ...options.env } },
      ),
    masterBootRecordPath,
    packages,
  };
}
