import { readFileSync } from "node:fs";
import { type IoCommand, type IoContext, ioPieces, MAX_IO_BYTES, timed } from "./io-command.ts";
import { checkSectors, vectorRange } from "./io-read.ts";
import { IoFailure, IoUsage, ioNumber, ioPattern, ioReport, parseIoArguments } from "./io-text.ts";
import { isQcow2 } from "./map-chain.ts";

/** What is written when no pattern is given. */
const DEFAULT_PATTERN = 0xcd;

/** Bytes to write, by their offset in the request. */
type Content = (inRequest: number, lengthBytes: number) => Buffer;

export const write: IoCommand = {
  name: "write",
  short: "w",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  usage: "[-bcCfnquz] [-P pattern | -s source_file] off len",
  summary: "writes a number of bytes at a specified offset",
  writes: true,
  async run(context, words) {
    const { flags, values, rest } = parseIoArguments(words, "bcCfnpP:qs:uz");
    const has = (letter: string) => flags.has(letter);
    const patternText = values.get("P");
    const pattern = patternText === undefined ? DEFAULT_PATTERN : ioPattern(patternText);
    const [offsetText, lengthText] = rest;
    if (offsetText === undefined || lengthText === undefined || rest.length !== 2) throw new IoUsage();
    checkFlags(has, [has("z"), patternText !== undefined, values.has("s")].filter(Boolean).length);
    const offsetBytes = ioNumber(offsetText);
    const lengthBytes = ioNumber(lengthText);
    if (lengthBytes > MAX_IO_BYTES && !has("n"))
      throw new IoFailure(`length cannot exceed ${MAX_IO_BYTES} without -n, given ${lengthText}`);
    if (has("b") || has("c")) checkSectors(offsetBytes, lengthBytes);
    const content = contentOf(context, values.get("s"), pattern);
    const seconds = await timed(async () => {
      if (has("b")) await writeVmState(context, offsetBytes, lengthBytes, content);
      else if (has("z")) await writeZeros(context, offsetBytes, lengthBytes, has("u"), has("n"));
      else if (has("c")) await writeCompressed(context, offsetBytes, lengthBytes, content);
      else await writePlain(context, offsetBytes, lengthBytes, content);
      if (has("f")) await context.device.flush();
    });
    if (!has("q"))
      context.out.out(ioReport({ verb: "wrote", offsetBytes, lengthBytes, seconds, terse: has("C") }));
  },
};

export const writev: IoCommand = {
  name: "writev",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  usage: "[-Cfq] [-P pattern] off len [len..]",
  summary: "writes a number of bytes at a specified offset",
  writes: true,
  async run(context, words) {
    const { flags, values, rest } = parseIoArguments(words, "CfqP:");
    const patternText = values.get("P");
    const pattern = patternText === undefined ? DEFAULT_PATTERN : ioPattern(patternText);
    const { offsetBytes, lengthBytes } = vectorRange(rest);
    const content: Content = (_, length) => Buffer.alloc(length, pattern);
    const seconds = await timed(async () => {
      await writePlain(context, offsetBytes, lengthBytes, content);
      if (flags.has("f")) await context.device.flush();
    });
    if (!flags.has("q"))
      context.out.out(ioReport({ verb: "wrote", offsetBytes, lengthBytes, seconds, terse: flags.has("C") }));
  },
};

function checkFlags(has: (letter: string) => boolean, contents: number): void {
  if (has("b") && has("z")) throw new IoFailure("-b and -z cannot be specified at the same time");
  if (has("f") && (has("b") || has("c")))
    throw new IoFailure("-f and -b or -c cannot be specified at the same time");
  if (has("n") && !has("z")) throw new IoFailure("-n requires -z to be specified");
  if (has("u") && !has("z")) throw new IoFailure("-u requires -z to be specified");
  if (contents > 1) throw new IoFailure("Only one of -z, -P, and -s can be specified at the same time");
}

function contentOf({ out }: IoContext, sourceFile: string | undefined, pattern: number): Content {
  if (sourceFile === undefined) return (_, length) => Buffer.alloc(length, pattern);
  let source: Buffer;
  try {
    source = readFileSync(sourceFile);
  } catch (error) {
    out.err(`${sourceFile}: ${error instanceof Error ? error.message : String(error)}\n`);
    throw new IoFailure("");
  }
  if (source.length === 0) {
    out.err(`${sourceFile}: file is empty\n`);
    throw new IoFailure("");
  }
  // A file that is shorter than the request is written again and again.
  return (inRequest, length) => {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; ) {
      const from = (inRequest + at) % source.length;
      at += source.copy(bytes, at, from, Math.min(source.length, from + length - at));
    }
    return bytes;
  };
}

async function writePlain(
  { device }: IoContext,
  offsetBytes: number,
  lengthBytes: number,
  content: Content,
): Promise<void> {
  checkInside(device.sizeBytes, offsetBytes, lengthBytes);
  for (const piece of ioPieces(offsetBytes, lengthBytes))
    await device.write(piece.offsetBytes, content(piece.offsetBytes - offsetBytes, piece.lengthBytes));
}

async function writeVmState(
  { device }: IoContext,
  offsetBytes: number,
  lengthBytes: number,
  content: Content,
): Promise<void> {
  if (!isQcow2(device)) throw new IoFailure("write failed: Operation not supported");
  for (const piece of ioPieces(offsetBytes, lengthBytes))
    await device.writeVmState(piece.offsetBytes, content(piece.offsetBytes - offsetBytes, piece.lengthBytes));
}

async function writeZeros(
  { device }: IoContext,
  offsetBytes: number,
  lengthBytes: number,
  unmap: boolean,
  onlyFast: boolean,
): Promise<void> {
  checkInside(device.sizeBytes, offsetBytes, lengthBytes);
  if (onlyFast && isQcow2(device)) {
    const unit = device.image.subclusterSizeBytes;
    const endBytes = offsetBytes + lengthBytes;
    const aligned = offsetBytes % unit === 0 && (endBytes % unit === 0 || endBytes === device.sizeBytes);
    if (!aligned || device.info.version < 3) throw new IoFailure("write failed: Operation not supported");
  }
  await device.writeZeroes(offsetBytes, lengthBytes, { unmap });
}

async function writeCompressed(
  { device }: IoContext,
  offsetBytes: number,
  lengthBytes: number,
  content: Content,
): Promise<void> {
  checkInside(device.sizeBytes, offsetBytes, lengthBytes);
  if (!isQcow2(device)) throw new IoFailure("write failed: Operation not supported");
  const { clusterSizeBytes } = device.info;
  const endBytes = offsetBytes + lengthBytes;
  if (
    offsetBytes % clusterSizeBytes !== 0 ||
    (endBytes % clusterSizeBytes !== 0 && endBytes !== device.sizeBytes)
  )
    throw new IoFailure("write failed: Invalid argument");
  for (let at = 0; at < lengthBytes; at += clusterSizeBytes) {
    const bytes = content(at, Math.min(clusterSizeBytes, lengthBytes - at));
    await device.writeCompressed(offsetBytes + at, Buffer.concat([bytes], clusterSizeBytes));
  }
}

/** All of it or nothing: pieces before the end would otherwise be written. */
function checkInside(sizeBytes: number, offsetBytes: number, lengthBytes: number): void {
  if (offsetBytes + lengthBytes > sizeBytes) throw new IoFailure("write failed: Input/output error");
}
