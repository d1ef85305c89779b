import { type IoCommand, type IoContext, ioPieces, MAX_IO_BYTES, timed } from "./io-command.ts";
import { IoFailure, IoUsage, ioDump, ioNumber, ioPattern, ioReport, parseIoArguments } from "./io-text.ts";
import { isQcow2 } from "./map-chain.ts";

export const read: IoCommand = {
  name: "read",
  short: "r",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  usage: "[-abCqv] [-P pattern [-s off] [-l len]] off len",
  summary: "reads a number of bytes at a specified offset",
  async run(context, words) {
    const { flags, values, rest } = parseIoArguments(words, "bCl:pP:qs:v");
    const within = (letter: string) => {
      const text = values.get(letter);
      return text === undefined ? undefined : ioNumber(text);
    };
    const patternLength = within("l");
    const patternText = values.get("P");
    const pattern = patternText === undefined ? undefined : ioPattern(patternText);
    const patternStart = within("s");
    const [offsetText, lengthText] = rest;
    if (offsetText === undefined || lengthText === undefined || rest.length !== 2) throw new IoUsage();
    const offsetBytes = ioNumber(offsetText);
    const lengthBytes = requestLength(lengthText);
    if (pattern === undefined && (patternLength !== undefined || patternStart !== undefined))
      throw new IoUsage();
    const start = patternStart ?? 0;
    const length = patternLength ?? lengthBytes - start;
    if (length < 0 || start + length > lengthBytes)
      throw new IoFailure("pattern verification range exceeds end of read data");
    if (flags.has("b")) checkSectors(offsetBytes, lengthBytes);
    await readAndShow(context, {
      offsetBytes,
      lengthBytes,
      fromVmState: flags.has("b"),
      quiet: flags.has("q"),
      dump: flags.has("v"),
      terse: flags.has("C"),
      pattern: pattern === undefined ? undefined : { byte: pattern, start, length },
      verb: "read",
    });
  },
};

export const readv: IoCommand = {
  name: "readv",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  usage: "[-Cqv] [-P pattern] off len [len..]",
  summary: "reads a number of bytes at a specified offset",
  async run(context, words) {
    const { flags, values, rest } = parseIoArguments(words, "CP:qv");
    const patternText = values.get("P");
    const pattern = patternText === undefined ? undefined : ioPattern(patternText);
    const { offsetBytes, lengthBytes } = vectorRange(rest);
    await readAndShow(context, {
      offsetBytes,
      lengthBytes,
      fromVmState: false,
      quiet: flags.has("q"),
      dump: flags.has("v"),
      terse: flags.has("C"),
      pattern: pattern === undefined ? undefined : { byte: pattern, start: 0, length: lengthBytes },
      verb: "readv",
    });
  },
};

/** The offset and lengths of a vectored request. */
export function vectorRange(rest: readonly string[]): { offsetBytes: number; lengthBytes: number } {
  const [offsetText, ...lengths] = rest;
  if (offsetText === undefined || lengths.length === 0) throw new IoUsage();
  const offsetBytes = ioNumber(offsetText);
  let lengthBytes = 0;
  for (const text of lengths) {
    const length = ioNumber(text);
    if (length > MAX_IO_BYTES) throw new IoFailure(`Argument '${text}' exceeds maximum size ${MAX_IO_BYTES}`);
    if (lengthBytes > MAX_IO_BYTES - length)
      throw new IoFailure(`The total number of bytes exceed the maximum size ${MAX_IO_BYTES}`);
    lengthBytes += length;
  }
  return { offsetBytes, lengthBytes };
}

/** The length of a request that is made at once. */
export function requestLength(text: string): number {
  const length = ioNumber(text);
  if (length > MAX_IO_BYTES) throw new IoFailure(`length cannot exceed ${MAX_IO_BYTES}, given ${text}`);
  return length;
}

/** @throws IoFailure for what compressed writes and the VM state do not take. */
export function checkSectors(offsetBytes: number, lengthBytes: number): void {
  if (offsetBytes % 512 !== 0)
    throw new IoFailure(`${offsetBytes} is not a sector-aligned value for 'offset'`);
  if (lengthBytes % 512 !== 0)
    throw new IoFailure(`${lengthBytes} is not a sector-aligned value for 'count'`);
}

interface ReadRequest {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly fromVmState: boolean;
  readonly quiet: boolean;
  readonly dump: boolean;
  readonly terse: boolean;
  readonly pattern: { byte: number; start: number; length: number } | undefined;
  readonly verb: "read" | "readv";
}

async function readAndShow(context: IoContext, request: ReadRequest): Promise<void> {
  const { offsetBytes, lengthBytes, pattern, quiet, terse } = request;
  const { out } = context;
  let differs = false;
  const dumps: string[] = [];
  const seconds = await timed(async () => {
    for (const piece of ioPieces(offsetBytes, lengthBytes)) {
      const bytes = Buffer.allocUnsafe(piece.lengthBytes);
      if (request.fromVmState) await readVmState(context, piece.offsetBytes, bytes);
      else await context.device.read(piece.offsetBytes, bytes);
      if (pattern) differs ||= !hasPattern(bytes, piece.offsetBytes - offsetBytes, pattern);
      if (request.dump && !quiet) dumps.push(ioDump(bytes, piece.offsetBytes));
    }
    if (lengthBytes === 0 && !request.fromVmState) await context.device.read(offsetBytes, new Uint8Array(0));
  });
  if (pattern && differs)
    out.out(
      `Pattern verification failed at offset ${offsetBytes + pattern.start}, ${pattern.length} bytes\n`,
    );
  if (!quiet) {
    for (const dump of dumps) out.out(dump);
    out.out(ioReport({ verb: "read", offsetBytes, lengthBytes, seconds, terse }));
  }
  if (differs) throw new IoFailure("");
}

function hasPattern(
  bytes: Buffer,
  inRequest: number,
  { byte, start, length }: { byte: number; start: number; length: number },
): boolean {
  const from = Math.max(0, start - inRequest);
  const to = Math.min(bytes.length, start + length - inRequest);
  return from >= to || bytes.subarray(from, to).equals(Buffer.alloc(to - from, byte));
}

/** The VM state of a machine that was saved lies past the disk's end, where a guest cannot read. */
async function readVmState({ device }: IoContext, offsetBytes: number, target: Uint8Array): Promise<void> {
  if (!isQcow2(device)) throw new IoFailure("read failed: Operation not supported");
  await device.readVmState(offsetBytes, target);
}
