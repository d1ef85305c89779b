import { ByreError } from "../errors.ts";
import { openRawDevice } from "../raw/raw-device.ts";
import { type IoCommand, timed } from "./io-command.ts";
import { requestLength } from "./io-read.ts";
import { IoFailure, IoUsage, ioNumber, ioReport, parseIoArguments } from "./io-text.ts";
import { isQcow2 } from "./map-chain.ts";

const PREALLOCATIONS = ["off", "metadata", "falloc", "full"] as const;

export const discard: IoCommand = {
  name: "discard",
  short: "d",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  usage: "[-Cq] off len",
  summary: "discards a number of bytes at a specified offset",
  writes: true,
  async run({ device, out, discards }, words) {
    const { flags, rest } = parseIoArguments(words, "Cq");
    const [offsetText, lengthText] = rest;
    if (offsetText === undefined || lengthText === undefined || rest.length !== 2) throw new IoUsage();
    const offsetBytes = ioNumber(offsetText);
    const lengthBytes = requestLength(lengthText);
    if (offsetBytes + lengthBytes > device.sizeBytes)
      throw new IoFailure("discard failed: Input/output error");
    const seconds = await timed(async () => {
      if (discards) await device.discard(offsetBytes, lengthBytes);
    });
    if (!flags.has("q"))
      out.out(ioReport({ verb: "discard", offsetBytes, lengthBytes, seconds, terse: flags.has("C") }));
  },
};

export const flush: IoCommand = {
  name: "flush",
  short: "f",
  minArguments: 0,
  maxArguments: 0,
  usage: "",
  summary: "flush all in-core file state to disk",
  async run({ device }) {
    await device.flush();
  },
};

export const truncate: IoCommand = {
  name: "truncate",
  short: "t",
  minArguments: 1,
  maxArguments: 3,
  usage: "[-m prealloc_mode] off",
  summary: "truncates the current file at the given offset",
  writes: true,
  async run(context, words) {
    const { device, file, out } = context;
    const { values, rest } = parseIoArguments(words, "m:");
    const modeText = values.get("m") ?? "off";
    const preallocation = PREALLOCATIONS.find((mode) => mode === modeText);
    if (!preallocation) {
      out.err(`byre: Invalid preallocation mode '${modeText}'\n`);
      throw new IoFailure("");
    }
    const [text] = rest;
    if (text === undefined) throw new IoUsage();
    const sizeBytes = ioNumber(text);
    if (isQcow2(device)) return await device.resize(sizeBytes, { shrink: true, preallocation });
    if (preallocation !== "off")
      throw new ByreError("UNSUPPORTED_FEATURE", "A raw image gets no preallocation here; use byre resize.");
    file.truncate(sizeBytes);
    context.device = openRawDevice(file, { writable: true });
  },
};
