import { machineFiles } from "virtual:machine-files";
import { ByreError } from "../../disk/index.ts";
import { type MachineFirmware, preloadEmulator } from "../../emulator/index.ts";
import type { Progress } from "./progress.ts";

export interface EmulatorFiles {
  readonly wasm: ArrayBuffer;
  readonly firmware: MachineFirmware;
}

let kept: EmulatorFiles | undefined;

/**
 * Fetches the emulator and the firmware, once a tab.
 *
 * @throws ByreError CANCELLED, NETWORK, HTTP_STATUS.
 */
export async function fetchEmulatorFiles(progress: Progress, signal: AbortSignal): Promise<EmulatorFiles> {
  if (kept) return kept;
  const { wasm, bios, vgaBios } = machineFiles;
  progress.begin("emulator", "Emulator", wasm.sizeBytes);
  progress.begin("firmware", "Firmware", bios.sizeBytes + vgaBios.sizeBytes);
  let biosBytes = 0;
  let vgaBiosBytes = 0;
  const firmwareAdvanced = () => progress.advance("firmware", biosBytes + vgaBiosBytes);
  // Whoever starts a machine meets the same failure, and says it.
  preloadEmulator().catch(() => {});
  const [wasmBuffer, biosBuffer, vgaBiosBuffer] = await Promise.all([
    fetchBytes(wasm.path, signal, (loaded) => progress.advance("emulator", loaded)),
    fetchBytes(bios.path, signal, (loaded) => {
      biosBytes = loaded;
      firmwareAdvanced();
    }),
    fetchBytes(vgaBios.path, signal, (loaded) => {
      vgaBiosBytes = loaded;
      firmwareAdvanced();
    }),
  ]);
  progress.finish("emulator");
  progress.finish("firmware");
  kept = { wasm: wasmBuffer, firmware: { bios: biosBuffer, vgaBios: vgaBiosBuffer } };
  return kept;
}

async function fetchBytes(
  path: string,
  signal: AbortSignal,
  onLoaded: (loadedBytes: number) => void,
): Promise<ArrayBuffer> {
  const name = path.replace(/\?.*$/, "");
  try {
    const response = await fetch(path, { signal });
    if (!response.ok || !response.body) {
      throw new ByreError(
        response.status === 404 ? "NOT_FOUND" : "HTTP_STATUS",
        `${name}: the server answered ${response.status}. This page is not installed completely; build it again.`,
        { file: name, status: response.status },
      );
    }
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let loadedBytes = 0;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      loadedBytes += value.length;
      onLoaded(loadedBytes);
    }
    return await new Blob(pieces).arrayBuffer();
  } catch (error) {
    if (error instanceof ByreError) throw error;
    if (signal.aborted) throw cancelled(error);
    throw new ByreError(
      "NETWORK",
      `${name} could not be fetched from this page's own server. Check the connection and try again.`,
      { file: name },
      error,
    );
  }
}

/** The error that ends an opening which the person has called off. */
export function cancelled(cause?: unknown): ByreError {
  return new ByreError("CANCELLED", "Opening the machine was cancelled. Nothing was kept.", {}, cause);
}
