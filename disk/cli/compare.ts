import { Command } from "commander";
import { checkCacheMode } from "./cache-mode.ts";
import { collect, helpText } from "./common-options.ts";
import { ConvertSource } from "./convert-source.ts";
import { ExitError } from "./exit.ts";
import type { ChainStatus } from "./map-status.ts";
import type { OpenImageOptions } from "./open-image.ts";
import type { Out } from "./out.ts";
import { type Progress, startProgress } from "./progress.ts";
import { parseSecrets } from "./secrets.ts";
import { isZero } from "./worker-sparse.ts";

/** qemu-img's, where they are not the common ones. */
const CompareExit = { DIFFERENT: 1, CANNOT_OPEN: 2, CANNOT_MAP: 3, CANNOT_READ: 4 } as const;

const SECTOR_BYTES = 512;
const BUFFER_BYTES = 2 * 1024 * 1024;

export interface CompareValues {
  readonly format?: string;
  readonly secondFormat?: string;
  readonly sourceCache?: string;
  readonly progress?: boolean;
  readonly quiet?: boolean;
  readonly strict?: boolean;
  readonly imageOpts?: boolean;
  readonly object?: readonly string[];
  readonly forceShare?: boolean;
}

export function createCommand(out: Out): Command {
  return new Command("compare")
    .description("Says whether two images have the same content, whatever their formats.")
    .argument("<first>", "an image")
    .argument("<second>", "another")
    .option("-f, --format <format>", "the first image's format: qcow2 or raw; else it is guessed")
    .option("-F, --second-format <format>", "the second image's format")
    .option("-s, --strict", "sizes, and which parts are allocated, must be the same too")
    .option("-p, --progress", "show how far it has come")
    .option("-q, --quiet", "say nothing: the exit code tells")
    .option("-T, --source-cache <mode>", "taken as qemu-img's, and without effect")
    .option("--image-opts", "the images are given as driver=qcow2,file.filename=NAME,...")
    .option("--object <definition>", "a password: secret,id=ID,data=TEXT or secret,id=ID,file=PATH", collect)
    .option("-U, --force-share", "taken as qemu-img's; byre locks no files")
    .addHelpText(
      "after",
      helpText(
        ["byre compare disk.qcow2 disk.raw", "byre compare -s -f qcow2 -F qcow2 one.qcow2 two.qcow2"],
        {
          0: "they are the same",
          1: "they differ",
          2: "one of them cannot be opened",
          3: "one of them has tables that make no sense",
          4: "one of them cannot be read",
        },
      ),
    )
    .action(async (first: string, second: string, values: CompareValues) => {
      await compare(first, second, values, out);
    });
}

/** One of the two, and its name for messages. */
interface Side {
  readonly name: string;
  readonly image: ConvertSource;
  readonly buffer: Buffer;
}

/**
 * Compares what guests would read.
 *
 * @throws ExitError with `CompareExit` for anything but equality.
 */
export async function compare(first: string, second: string, values: CompareValues, out: Out): Promise<void> {
  const say = (text: string) => {
    if (!values.quiet) out.out(text);
  };
  try {
    checkCacheMode(values.sourceCache, "source cache");
  } catch (error) {
    throw new ExitError(CompareExit.CANNOT_OPEN, messageOf(error));
  }
  const secrets = parseSecrets(values.object ?? []);
  const { imageOpts } = values;
  const progress = startProgress(out, { requested: values.progress && !values.quiet, quiet: values.quiet });
  const sides: Side[] = [];
  try {
    sides.push(await openSide(first, { format: values.format, imageOpts, secrets }));
    sides.push(await openSide(second, { format: values.secondFormat, imageOpts, secrets }));
    const [one, two] = sides;
    if (one && two) await compareSides(one, two, { strict: values.strict ?? false, say, progress });
  } finally {
    for (const { image } of sides.reverse()) await image.close();
    progress.end();
  }
}

async function openSide(name: string, options: OpenImageOptions): Promise<Side> {
  try {
    const image = await ConvertSource.open([name], options);
    return { name, image, buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES) };
  } catch (error) {
    throw new ExitError(CompareExit.CANNOT_OPEN, messageOf(error));
  }
}

interface CompareContext {
  readonly strict: boolean;
  readonly say: (text: string) => void;
  readonly progress: Progress;
}

async function compareSides(one: Side, two: Side, context: CompareContext): Promise<void> {
  const { strict, say, progress } = context;
  const commonBytes = Math.min(one.image.sizeBytes, two.image.sizeBytes);
  const longestBytes = Math.max(one.image.sizeBytes, two.image.sizeBytes);
  if (strict && commonBytes !== longestBytes) differ(say, "Strict mode: Image size mismatch!");
  for (let at = 0; at < commonBytes; ) {
    const a = await statusOf(one, at, one.image.sizeBytes - at);
    const b = await statusOf(two, at, two.image.sizeBytes - at);
    if (strict && !isSameStatus(a, b, at, one, two))
      differ(say, `Strict mode: Offset ${at} block status mismatch!`);
    let length = Math.min(a.lengthBytes, b.lengthBytes);
    if (!(a.zero && b.zero) && (a.allocated || b.allocated)) {
      length = Math.min(length, BUFFER_BYTES);
      if (a.allocated && b.allocated) await compareContent(one, two, at, length, say);
      else await expectZeros(a.allocated ? one : two, at, length, say);
    }
    at += length;
    progress.update(at / longestBytes);
  }
  if (commonBytes !== longestBytes) {
    say("Warning: Image size mismatch!\n");
    const longer = one.image.sizeBytes > two.image.sizeBytes ? one : two;
    for (let at = commonBytes; at < longestBytes; ) {
      const status = await statusOf(longer, at, longestBytes - at);
      let length = status.lengthBytes;
      if (status.allocated && !status.zero) {
        length = Math.min(length, BUFFER_BYTES);
        await expectZeros(longer, at, length, say);
      }
      at += length;
      progress.update(at / longestBytes);
    }
  }
  say("Images are identical.\n");
}

/** The end of a disk is part of QEMU's status; so with `-s` two disks end in the same step. */
function isSameStatus(a: ChainStatus, b: ChainStatus, at: number, one: Side, two: Side): boolean {
  return (
    a.zero === b.zero &&
    a.data === b.data &&
    a.allocated === b.allocated &&
    (a.hostOffsetBytes === undefined) === (b.hostOffsetBytes === undefined) &&
    at + a.lengthBytes >= one.image.sizeBytes === at + b.lengthBytes >= two.image.sizeBytes
  );
}

async function statusOf(side: Side, offsetBytes: number, lengthBytes: number): Promise<ChainStatus> {
  try {
    return await side.image.status(offsetBytes, lengthBytes);
  } catch (error) {
    throw new ExitError(
      CompareExit.CANNOT_MAP,
      `Sector allocation test failed for ${side.name}: ${messageOf(error)}`,
    );
  }
}

async function compareContent(
  one: Side,
  two: Side,
  offsetBytes: number,
  lengthBytes: number,
  say: (text: string) => void,
): Promise<void> {
  const a = await contentOf(one, offsetBytes, lengthBytes);
  const b = await contentOf(two, offsetBytes, lengthBytes);
  if (a.equals(b)) return;
  for (let at = 0; at < lengthBytes; at += SECTOR_BYTES) {
    const end = Math.min(lengthBytes, at + SECTOR_BYTES);
    if (a.compare(b, at, end, at, end) !== 0) differ(say, `Content mismatch at offset ${offsetBytes + at}!`);
  }
}

async function expectZeros(
  side: Side,
  offsetBytes: number,
  lengthBytes: number,
  say: (text: string) => void,
): Promise<void> {
  const bytes = await contentOf(side, offsetBytes, lengthBytes);
  if (isZero(bytes, 0, bytes.length)) return;
  for (let at = 0; at < lengthBytes; at += SECTOR_BYTES)
    if (!isZero(bytes, at, Math.min(lengthBytes, at + SECTOR_BYTES)))
      differ(say, `Content mismatch at offset ${offsetBytes + at}!`);
}

async function contentOf(side: Side, offsetBytes: number, lengthBytes: number): Promise<Buffer> {
  const bytes = side.buffer.subarray(0, lengthBytes);
  try {
    await side.image.read(offsetBytes, bytes);
    return bytes;
  } catch (error) {
    throw new ExitError(
      CompareExit.CANNOT_READ,
      `Error while reading offset ${offsetBytes} of ${side.name}: ${messageOf(error)}`,
    );
  }
}

function differ(say: (text: string) => void, text: string): never {
  say(`${text}\n`);
  throw new ExitError(CompareExit.DIFFERENT);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
