import { ByreError } from "../errors.ts";

/** A file or directory as it is to stand on the disc. */
export interface IsoNode {
  /** As Rock Ridge has it: the whole name, which Linux and the BSDs show. */
  readonly name: string;
  /** As plain ISO 9660 has it: eight letters and three, which everything can read. */
  readonly isoName: string;
  /** As Joliet has it, which Windows shows. */
  readonly jolietName: string;
  readonly mtimeMs: number;
  /** Index of the file's content; undefined for a directory. */
  readonly fileIndex: number | undefined;
  readonly sizeBytes: number;
  readonly children: readonly IsoNode[];
}

export interface IsoEntry {
  readonly path: string;
  readonly mtimeMs: number;
  readonly sizeBytes: number;
}

/** Length fields have 32 bits, and a file in several parts is not understood everywhere. */
const MAX_FILE_BYTES = 2 ** 32 - 1;
/** Longest name that Linux shows whole (fs/isofs/rock.c). */
const MAX_NAME_BYTES = 253;
/** ECMA-119, 6.8.2.1: the root counts as one. */
const MAX_LEVELS = 8;
/** Joliet, "File and Directory Identifiers": 128 bytes of UCS-2. */
const MAX_JOLIET_CHARACTERS = 64;
/** Directories have a number of 16 bits. */
const MAX_DIRECTORIES = 65535;

interface Growing {
  readonly directories: Map<string, Growing>;
  readonly files: Map<string, { entry: IsoEntry; index: number }>;
}

/**
 * The tree that some paths make.
 *
 * @returns the root.
 * @throws ByreError INVALID_ARGUMENT for a path that is none, stands there twice or is too deep; TOO_LARGE for a file of
 *   4 GiB or more, for a name of more than 253 bytes, or for too many directories.
 */
export function buildIsoTree(entries: readonly IsoEntry[]): IsoNode {
  const root: Growing = { directories: new Map(), files: new Map() };
  let directories = 1;
  for (const [index, entry] of entries.entries()) {
    const names = checkedNames(entry);
    const fileName = names.pop() ?? "";
    let directory = root;
    for (const name of names) {
      if (directory.files.has(name)) throw twice(entry.path);
      const next = directory.directories.get(name) ?? { directories: new Map(), files: new Map() };
      if (!directory.directories.has(name)) directories++;
      directory.directories.set(name, next);
      directory = next;
    }
    if (directory.files.has(fileName) || directory.directories.has(fileName)) throw twice(entry.path);
    directory.files.set(fileName, { entry, index });
  }
  if (directories > MAX_DIRECTORIES)
    throw new ByreError(
      "TOO_LARGE",
      `A CD has at most ${MAX_DIRECTORIES} directories, and these files have ${directories}. Put them into an archive first.`,
      { directories },
    );
  return finish("", "", "", root);
}

function checkedNames({ path, sizeBytes }: IsoEntry): string[] {
  const names = path.split("/");
  if (names.some((name) => name === "" || name === "." || name === ".." || name.includes("\0")))
    throw new ByreError("INVALID_ARGUMENT", `"${path}" is not a path of a file, such as "folder/file.txt".`, {
      path,
    });
  if (names.length > MAX_LEVELS)
    throw new ByreError(
      "INVALID_ARGUMENT",
      `"${path}" is too deep for a CD, which has ${MAX_LEVELS - 1} directories one in the other. Put it into an archive first.`,
      { path, levels: names.length },
    );
  for (const name of names) {
    const lengthBytes = new TextEncoder().encode(name).length;
    if (lengthBytes > MAX_NAME_BYTES)
      throw new ByreError(
        "TOO_LARGE",
        `The name "${name}" has ${lengthBytes} bytes, and at most ${MAX_NAME_BYTES} can stand on a CD. Give it a shorter name.`,
        { path, lengthBytes },
      );
  }
  if (sizeBytes > MAX_FILE_BYTES)
    throw new ByreError(
      "TOO_LARGE",
      `"${path}" has ${sizeBytes} bytes: a file on a CD has less than 4 GiB. Split it, or give it to the machine as a disk.`,
      { path, sizeBytes },
    );
  return names;
}

function twice(path: string): ByreError {
  return new ByreError(
    "INVALID_ARGUMENT",
    `"${path}" stands there twice. Give one of the two another name.`,
    {
      path,
    },
  );
}

function finish(name: string, isoName: string, jolietName: string, growing: Growing): IsoNode {
  const isoNames: Taken = new Map();
  const jolietNames: Taken = new Map();
  const children: IsoNode[] = [];
  for (const [childName, directory] of growing.directories)
    children.push(
      finish(
        childName,
        isoNameOf(childName, true, isoNames),
        jolietNameOf(childName, jolietNames),
        directory,
      ),
    );
  for (const [childName, { entry, index }] of growing.files)
    children.push({
      name: childName,
      isoName: isoNameOf(childName, false, isoNames),
      jolietName: jolietNameOf(childName, jolietNames),
      mtimeMs: entry.mtimeMs,
      fileIndex: index,
      sizeBytes: entry.sizeBytes,
      children: [],
    });
  const mtimeMs = children.reduce((newest, child) => Math.max(newest, child.mtimeMs), 0);
  return { name, isoName, jolietName, mtimeMs, fileIndex: undefined, sizeBytes: 0, children };
}

/** Names of a directory, and for those that several wanted the last number that was given. */
type Taken = Map<string, number>;

/** The first that is free of a name and its numbered likes; some thousand files may want the same. */
function firstFree(taken: Taken, like: (number: number) => string): string {
  const wanted = like(0);
  let number = taken.get(wanted.toLowerCase()) ?? -1;
  let candidate: string;
  do candidate = like(++number);
  while (taken.has(candidate.toLowerCase()));
  taken.set(wanted.toLowerCase(), number);
  taken.set(candidate.toLowerCase(), number);
  return candidate;
}

/** Eight letters and three (ECMA-119, 7.5, interchange level 1), unlike the others in its directory. */
function isoNameOf(name: string, isDirectory: boolean, taken: Taken): string {
  const { stem, extension } = isDirectory ? { stem: name, extension: "" } : splitName(name);
  const cleanStem = clean(stem) || "_";
  const tail = isDirectory ? "" : `.${clean(extension.slice(1)).slice(0, 3)}`;
  return firstFree(taken, (number) => {
    const digits = number === 0 ? "" : `_${number}`;
    return cleanStem.slice(0, 8 - digits.length) + digits + tail;
  });
}

function clean(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9_]/g, "_");
}

/** Names that differ in case only are one to Windows; and some characters are none. */
function jolietNameOf(name: string, taken: Taken): string {
  const allowed = name.replace(/[*:;?\\]|\p{Cc}/gu, "_");
  const { stem, extension } = splitName(allowed);
  const tail = extension.length > MAX_JOLIET_CHARACTERS / 2 ? "" : extension;
  const body = tail === "" ? allowed : stem;
  return firstFree(taken, (number) => {
    const digits = number === 0 ? "" : `~${number}`;
    let room = MAX_JOLIET_CHARACTERS - digits.length - tail.length;
    // Not the first half alone of a character of two.
    if (body.length > room && /[\ud800-\udbff]/.test(body[room - 1] ?? "")) room--;
    return body.slice(0, room) + digits + tail;
  });
}

function splitName(name: string): { stem: string; extension: string } {
  const dot = name.lastIndexOf(".");
  return dot <= 0 ? { stem: name, extension: "" } : { stem: name.slice(0, dot), extension: name.slice(dot) };
}
