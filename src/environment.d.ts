/// <reference types="vite/client" />

declare module "virtual:machine-files" {
  /** Path relative to the page, and length. */
  interface MachineFile {
    readonly path: string;
    readonly sizeBytes: number;
  }
  export const machineFiles: Readonly<Record<"wasm" | "bios" | "vgaBios" | "licence", MachineFile>>;
}
