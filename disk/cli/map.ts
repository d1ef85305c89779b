import { Command } from "commander";
import {
  addImageOptions,
  helpText,
  type ImageOptionValues,
  imageOptionsOf,
  outputOption,
} from "./common-options.ts";
import { ExitCode, ExitError } from "./exit.ts";
import { type ChainLayer, chainOf } from "./map-chain.ts";
import { sizeArgument } from "./map-sizes.ts";
import { type ChainStatus, layerStatus } from "./map-status.ts";
import { type OpenImageOptions, openImage } from "./open-image.ts";
import type { Out } from "./out.ts";

export interface MapOptions extends OpenImageOptions {
  readonly output: "human" | "json";
  readonly startOffset?: string | undefined;
  readonly maxLength?: string | undefined;
}

export function createCommand(out: Out): Command {
  const command = new Command("map")
    .description(
      "Says where each part of the disk is stored: in which file of the chain, and at which offset.",
    )
    .argument("<file>", "the image")
    .addOption(outputOption())
    .option("-s, --start-offset <size>", "begin there")
    .option("-l, --max-length <size>", "say it of so many bytes only");
  return addImageOptions(command)
    .addHelpText(
      "after",
      helpText(["byre map disk.qcow2", "byre map --output=json -s 1G -l 16M overlay.qcow2"], {
        0: "it was said",
        1: "the image cannot be read; or, for the human form, it has compressed or encrypted clusters",
      }),
    )
    .action(async (file: string, values: ImageOptionValues & MapOptions) => {
      await map(file, { ...values, ...imageOptionsOf(values) }, out);
    });
}

/** A stretch of the disk in the table: consecutive statuses that say the same are one. */
interface Entry {
  readonly start: number;
  readonly length: number;
  readonly status: ChainStatus;
  zero: boolean;
  data: boolean;
}

/** Prints how the disk is stored. */
export async function map(spec: string, options: MapOptions, out: Out): Promise<void> {
  const startBytes = sizeArgument("start offset", options.startOffset) ?? 0;
  const maxBytes = sizeArgument("max length", options.maxLength);
  const { device } = await openImage(spec, options);
  let layers: ChainLayer[] = [];
  try {
    layers = await chainOf(device, spec, options);
    const endBytes = Math.min(device.sizeBytes, startBytes + (maxBytes ?? Number.POSITIVE_INFINITY));
    const printer = options.output === "json" ? jsonPrinter(out) : humanPrinter(out);
    if (startBytes >= endBytes) printer.print(emptyEntry(startBytes), undefined);
    for await (const { entry, next } of withNext(entriesOf(layers, startBytes, endBytes)))
      printer.print(entry, next);
    printer.end();
  } finally {
    for (const { holes } of layers) holes?.close();
    await device.close();
  }
}

/** Of an empty disk QEMU too prints one entry, which says nothing. */
function emptyEntry(start: number): Entry {
  const status = { allocated: false, zero: false, data: false, hostOffsetBytes: undefined, layer: undefined };
  return { start, length: 0, zero: false, data: false, status: { ...status, lengthBytes: 0, depth: 0 } };
}

async function* entriesOf(
  layers: readonly ChainLayer[],
  startBytes: number,
  endBytes: number,
): AsyncGenerator<Entry> {
  for (let at = startBytes; at < endBytes; ) {
    const status = await statusThrough(layers, at, endBytes - at);
    const { zero, data, lengthBytes } = status;
    yield { start: at, length: lengthBytes, status, zero, data };
    at += lengthBytes;
  }
}

/** As `statusAbove`, but zeros end the search even where they are only what is missing. */
async function statusThrough(
  layers: readonly ChainLayer[],
  offsetBytes: number,
  lengthBytes: number,
): Promise<ChainStatus> {
  let length = lengthBytes;
  for (const [depth, layer] of layers.entries()) {
    const within = Math.min(length, layer.device.sizeBytes - offsetBytes);
    const status = await layerStatus(layer, layers[depth + 1], depth, offsetBytes, within);
    if (status.zero || status.data || depth === layers.length - 1) return status;
    length = status.lengthBytes;
  }
  throw new TypeError("an image has no layers");
}

interface Printer {
  print(entry: Entry, next: Entry | undefined): void;
  end(): void;
}

/** Merges entries that go on in each other, and yields each with the one after it. */
async function* withNext(
  entries: AsyncIterable<Entry>,
): AsyncGenerator<{ entry: Entry; next: Entry | undefined }> {
  let current: Entry | undefined;
  for await (const next of entries) {
    if (current && goesOn(current, next)) {
      current = { ...current, length: current.length + next.length };
      continue;
    }
    if (current) yield { entry: current, next };
    current = next;
  }
  if (current) yield { entry: current, next: undefined };
}

function goesOn(entry: Entry, next: Entry): boolean {
  const a = entry.status;
  const b = next.status;
  const hostA = a.hostOffsetBytes;
  const hostB = b.hostOffsetBytes;
  return (
    entry.zero === next.zero &&
    entry.data === next.data &&
    a.depth === b.depth &&
    a.allocated === b.allocated &&
    (hostA === undefined) === (hostB === undefined) &&
    (hostA === undefined || (a.layer?.filename === b.layer?.filename && hostA + entry.length === hostB))
  );
}

function jsonPrinter(out: Out): Printer {
  out.out("[");
  return {
    print({ start, length, zero, data, status }, next) {
      const { depth, allocated, hostOffsetBytes } = status;
      const offset = hostOffsetBytes === undefined ? "" : `, "offset": ${hostOffsetBytes}`;
      out.out(
        `{ "start": ${start}, "length": ${length}, "depth": ${depth}, "present": ${allocated}, ` +
          `"zero": ${zero}, "data": ${data}${offset}}${next ? ",\n" : ""}`,
      );
    },
    end: () => out.out("]\n"),
  };
}

function humanPrinter(out: Out): Printer {
  out.out(`${"Offset".padEnd(16)}${"Length".padEnd(16)}${"Mapped to".padEnd(16)}File\n`);
  return {
    print({ start, length, zero, data, status }, next) {
      if (data && status.hostOffsetBytes === undefined)
        throw new ExitError(ExitCode.FAILED, "File contains external, encrypted or compressed clusters.");
      if (data && !zero)
        out.out(
          `${column(start)}${column(length)}${column(status.hostOffsetBytes ?? 0)}${status.layer?.filename ?? ""}\n`,
        );
      // To this table nothing, zeros and reserved zeros are one.
      if (next && (!next.data || next.zero)) {
        next.data = false;
        next.zero = true;
      }
    },
    end() {},
  };
}

/** C's `%#-16x`. */
function column(value: number): string {
  return (value === 0 ? "0" : `0x${value.toString(16)}`).padEnd(16);
}
