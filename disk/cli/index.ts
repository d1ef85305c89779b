/** What the floors above need to add commands of their own. */
export type { CommandModule, Commands } from "./commands.ts";
export { addImageOptions, helpText, type ImageOptionValues, imageOptionsOf } from "./common-options.ts";
export { ExitCode, ExitError } from "./exit.ts";
export { type FileSpec, type ImageSpec, parseImageSpec, requestedFormat } from "./image-spec.ts";
export { inOneLine } from "./one-line.ts";
export { backingResolver, backingSpec, hostPath, openFileSpec } from "./open-file.ts";
export { type OpenImageOptions, openImage } from "./open-image.ts";
export { openQcow2Image } from "./open-qcow2.ts";
export { type Out, warningsTo } from "./out.ts";
export { probeFormat } from "./probe-format.ts";
export { runProgram } from "./program.ts";
export { readHeader } from "./read-header.ts";
export { runByre } from "./run.ts";
export { humanSize } from "./sizes.ts";
export { createCommand as createSnapshotCommand } from "./snapshot.ts";
