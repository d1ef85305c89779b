import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { CommandError, runCommand } from "../run-command.ts";
import { findDebianMirrors } from "./sources.ts";

/** The keys that Debian signs its archive with, as its package debian-archive-keyring installs them. */
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const ATTEMPTS = 3;

/** This host cannot build the appliance; the message says why. */
export class CannotBuildHere extends Error {
  override name = "CannotBuildHere";
}

/** Debian's packages are out of reach for now: the network or the mirror. The message says what to do. */
export class PackagesUnreachable extends Error {
  override name = "PackagesUnreachable";
}

export interface DebianPackage {
  name: string;
  version: string;
  architecture: string;
  depends: string;
  sizeBytes: number;
}

export interface AptOptions {
  /** Everything apt writes goes below this folder. */
  folder: string;
  /** Debian's code name for a release, such as `bookworm`. */
  release: string;
  /** The appliance's architecture, then the host's. */
  architectures: readonly string[];
  log: (line: string) => void;
}

/**
 * apt with state, cache and configuration of its own: it needs no root and neither reads nor changes
 * which packages the host has. From the host it takes the mirrors, the network settings and Debian's keys.
 */
export interface Apt {
  /** Fetches the package lists. With the network gone, lists fetched before stay in use. */
  update(): Promise<void>;
  /** What the lists say of `name` or `name:architecture`, in its newest version. */
  lookUp(name: string): Promise<DebianPackage>;
  /** Paths of the packages' .deb files, fetched unless they are here already. */
  fetch(packages: readonly DebianPackage[]): Promise<string[]>;
  /** The folder that a .deb file's content was unpacked to. */
  unpack(debPath: string): Promise<string>;
}

/** @throws CannotBuildHere when the host has no apt or knows no Debian mirror. */
export async function openApt({ folder, release, architectures, log }: AptOptions): Promise<Apt> {
  const configurationPath = await writeConfiguration(folder, release, architectures);
  const env = { APT_CONFIG: configurationPath };
  const packageFolder = join(folder, "packages");
  const unpackedFolder = join(folder, "unpacked");

  const fetchInto = async (incoming: string, missing: readonly DebianPackage[]) => {
    const wanted = missing.map((one) => `${one.name}:${one.architecture}=${one.version}`);
    await runCommand("apt-get", ["-q", "download", ...wanted], {
      env,
      cwd: incoming,
      onLine: (line) => {
        if (/^Get:/.test(line)) log(line.replace(/^Get:\d+ \S+ /, "fetching "));
      },
    });
    for (const one of missing) {
      const found = (await readdir(incoming)).find((file) => file.startsWith(`${one.name}_`));
      if (found === undefined) throw new Error(`apt-get left no file for ${one.name} ${one.version}.`);
      await rename(join(incoming, found), join(packageFolder, fileName(one)));
    }
  };

  return {
    async update() {
      log("reading Debian's package lists");
      try {
        await withRetries("reading the package lists", log, () =>
          runCommand("apt-get", ["-q", "--error-on=any", "update"], { env }),
        );
      } catch (cause) {
        // Whether what there is suffices shows when the packages are looked up.
        log(`some package lists could not be fetched, a fault of the network or the mirror for now:`);
        log(`  ${firstErrors(cause)}`);
        log("going on with the lists that are here");
      }
    },

    async lookUp(name) {
      let text: string;
      try {
        text = await runCommand("apt-cache", ["--no-all-versions", "show", name], { env });
      } catch (cause) {
        throw new PackagesUnreachable(
          `Debian ${release}'s package lists do not name ${name}. Check the network and try again; ` +
            `if it stays so, remove ${folder} and try once more.`,
          { cause },
        );
      }
      return parsePackage(text, name);
    },

    async fetch(packages) {
      await mkdir(packageFolder, { recursive: true });
      const missing = packages.filter((one) => !existsSync(join(packageFolder, fileName(one))));
      if (missing.length > 0) {
        // A folder of its own: what an interrupted download leaves is never taken for a package.
        const incoming = join(folder, `incoming-${process.pid}`);
        try {
          await withRetries("fetching packages", log, async () => {
            await rm(incoming, { recursive: true, force: true });
            await mkdir(incoming, { recursive: true });
            await fetchInto(
              incoming,
              missing.filter((one) => !existsSync(join(packageFolder, fileName(one)))),
            );
          });
        } catch (cause) {
          throw new PackagesUnreachable(
            `Packages could not be fetched (${firstErrors(cause)}). Check the network and try again.`,
            { cause },
          );
        } finally {
          await rm(incoming, { recursive: true, force: true });
        }
      }
      return packages.map((one) => join(packageFolder, fileName(one)));
    },

    async unpack(debPath) {
      const target = join(unpackedFolder, basename(debPath, ".deb"));
      if (existsSync(target)) return target;
      const partial = `${target}.partial`;
      await rm(partial, { recursive: true, force: true });
      await mkdir(partial, { recursive: true });
      try {
        await runCommand("dpkg-deb", ["-x", debPath, partial]);
      } catch (cause) {
        // A damaged file must not stay: the next run fetches it anew.
        await rm(debPath, { force: true });
        throw cause;
      }
      await rename(partial, target);
      return target;
    },
  };
}

/** The first stanza of `apt-cache show`. Exported for its test. */
export function parsePackage(text: string, name: string): DebianPackage {
  const stanza = text.split(/\n\n/)[0] ?? "";
  const field = (key: string) => new RegExp(`^${key}: (.*)$`, "m").exec(stanza)?.[1]?.trim();
  const packageName = field("Package");
  const version = field("Version");
  const architecture = field("Architecture");
  if (packageName === undefined || version === undefined || architecture === undefined) {
    throw new Error(`apt-cache's description of ${name} lacks its name, version or architecture.`);
  }
  return {
    name: packageName,
    version,
    architecture,
    depends: field("Depends") ?? "",
    sizeBytes: Number(field("Size") ?? 0),
  };
}

async function writeConfiguration(
  folder: string,
  release: string,
  architectures: readonly string[],
): Promise<string> {
  const mirrors = findDebianMirrors(await hostSources());
  if (mirrors === undefined)
    throw new CannotBuildHere("apt's sources on this machine name no Debian mirror.");
  if (!existsSync(KEYRING)) {
    throw new CannotBuildHere(
      `Debian's archive keys are not in ${KEYRING} (package debian-archive-keyring).`,
    );
  }
  for (const sub of ["state/lists/partial", "cache/archives/partial", "etc"]) {
    await mkdir(join(folder, sub), { recursive: true });
  }
  const sourcesPath = join(folder, "etc/sources.list");
  const suites = [[mirrors.archive, release] as const, [mirrors.archive, `${release}-updates`] as const];
  if (mirrors.security !== undefined) suites.push([mirrors.security, `${release}-security`]);
  const lines = suites.map(([uri, suite]) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`);
  await writeFile(sourcesPath, lines.join(""));
  const statusPath = join(folder, "etc/status");
  await writeFile(statusPath, "");

  const configuration = [
    ...(await hostNetworkSettings()),
    // The host's own configuration may hold hooks that act on the host's folders: none of it is read.
    'Dir::Etc::Main "/dev/null";',
    'Dir::Etc::Parts "/dev/null";',
    'Dir::Etc::SourceParts "/dev/null";',
    'Dir::Etc::Preferences "/dev/null";',
    'Dir::Etc::PreferencesParts "/dev/null";',
    `Dir::Etc::SourceList "${sourcesPath}";`,
    `Dir::State "${join(folder, "state")}";`,
    `Dir::State::Lists "${join(folder, "state/lists")}";`,
    `Dir::State::Status "${statusPath}";`,
    `Dir::Cache "${join(folder, "cache")}";`,
    `APT::Architecture "${architectures[0]}";`,
    `APT::Architectures { ${[...new Set(architectures)].map((one) => `"${one}";`).join(" ")} };`,
    // As root apt would fetch as the user _apt, who cannot write below a private folder.
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
  ];
  const configurationPath = join(folder, "etc/apt.conf");
  await writeFile(configurationPath, `${configuration.join("\n")}\n`);
  return configurationPath;
}

/** The host's proxies, time-outs and so on: without them the mirror may be out of reach. */
async function hostNetworkSettings(): Promise<string[]> {
  let dump: string;
  try {
    dump = await runCommand("apt-config", ["dump"]);
    await runCommand("dpkg-deb", ["--version"]);
  } catch (cause) {
    throw new CannotBuildHere("This machine has no apt.", { cause });
  }
  return dump
    .split("\n")
    .filter((line) => /^Acquire::(https?|ftp|ForceIPv[46]|Check-Date|Check-Valid-Until|Max-)/i.test(line));
}

async function hostSources(): Promise<string[]> {
  const paths = ["/etc/apt/sources.list"];
  const parts = "/etc/apt/sources.list.d";
  if (existsSync(parts)) {
    const names = (await readdir(parts)).filter((name) => /\.(list|sources)$/.test(name)).sort();
    paths.push(...names.map((name) => join(parts, name)));
  }
  const readable: string[] = [];
  for (const path of paths) {
    if (existsSync(path) && (await stat(path)).isFile()) readable.push(await readFile(path, "utf8"));
  }
  return readable;
}

function fileName({ name, version, architecture }: DebianPackage): string {
  return `${name}_${version.replaceAll(":", "%3a")}_${architecture}.deb`;
}

async function withRetries<T>(what: string, log: (line: string) => void, act: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await act();
    } catch (cause) {
      if (!(cause instanceof CommandError) || cause.exitCode === undefined || attempt === ATTEMPTS)
        throw cause;
      log(`${what} failed (try ${attempt} of ${ATTEMPTS}): ${firstErrors(cause)}`);
      await new Promise((resolve) => setTimeout(resolve, attempt * 2000));
    }
  }
}

function firstErrors(cause: unknown): string {
  if (!(cause instanceof CommandError)) return String(cause);
  const errors = cause.output.split("\n").filter((line) => /^[EW]: /.test(line));
  return errors[0] ?? cause.message;
}
