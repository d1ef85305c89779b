import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** What a machine needs beside JavaScript: where it comes from, and where in the site it goes. */
const MACHINE_FILES = {
  wasm: { from: "node_modules/v86/build/v86.wasm", to: "emulator/v86.wasm", type: "application/wasm" },
  bios: { from: "node_modules/v86-firmware/bios/seabios.bin", to: "firmware/seabios.bin", type: "" },
  vgaBios: { from: "node_modules/v86-firmware/bios/vgabios.bin", to: "firmware/vgabios.bin", type: "" },
  licence: {
    from: "node_modules/v86-firmware/bios/COPYING.LESSER",
    to: "firmware/COPYING.LESSER",
    type: "text/plain; charset=utf-8",
  },
} as const;

const VIRTUAL_ID = "virtual:machine-files";

/**
 * Puts emulator and firmware into the build and the dev server, and tells the page where they are and how
 * long: a progress bar needs the total even when the server compresses and sends no Content-Length.
 */
function machineFiles(): Plugin {
  return {
    name: "byre-machine-files",
    resolveId: (id) => (id === VIRTUAL_ID ? `\0${VIRTUAL_ID}` : undefined),
    async load(id) {
      if (id !== `\0${VIRTUAL_ID}`) return undefined;
      const entries = await Promise.all(
        Object.entries(MACHINE_FILES).map(async ([key, { from, to }]) => {
          const bytes = await readFile(from);
          // The query changes with the bytes, so that a browser never pairs old ones with new code.
          const version = createHash("sha256").update(bytes).digest("hex").slice(0, 8);
          return [key, { path: `${to}?${version}`, sizeBytes: bytes.length }];
        }),
      );
      return `export const machineFiles = ${JSON.stringify(Object.fromEntries(entries))};`;
    },
    async generateBundle() {
      for (const { from, to } of Object.values(MACHINE_FILES)) {
        this.emitFile({ type: "asset", fileName: to, source: await readFile(from) });
      }
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = request.url?.slice(1).split("?")[0];
        const file = Object.values(MACHINE_FILES).find(({ to }) => to === path);
        if (!file) return next();
        readFile(file.from).then(
          (bytes) => {
            response.setHeader("Content-Type", file.type || "application/octet-stream");
            response.end(bytes);
          },
          (error: unknown) => next(error),
        );
      });
    },
  };
}

/**
 * Nothing but our own scripts runs, and nothing is fetched from elsewhere but disk images, and what
 * a guest asks for on a network that a person has allowed. wasm-unsafe-eval:
 * v86 compiles the guest's code to WebAssembly. blob: v86 makes the scripts of its timer and of its sound
 * output from strings of its own. Inline styles: the terminal and the component library write <style> elements.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval' blob:",
  "worker-src 'self' blob:",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "connect-src 'self' https: http: wss: ws: blob:",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** In the build only: the dev server's own client is an inline script. */
function contentSecurityPolicy(): Plugin {
  return {
    name: "byre-content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content: CONTENT_SECURITY_POLICY },
        injectTo: "head-prepend",
      },
    ],
  };
}

export default defineConfig({
  // Relative addresses: the built site works in any folder of any static host.
  base: "./",
  // One page. Without this a missing appliance would be answered with index.html and status 200.
  appType: "mpa",
  plugins: [react(), machineFiles(), contentSecurityPolicy()],
  build: {
    target: "es2023",
    modulePreload: { polyfill: false },
    // 9 KiB in all: a part that is fetched late has its looks, and can be tried again when it could not be fetched.
    cssCodeSplit: false,
    rolldownOptions: {
      // Importing these does nothing by itself. Known to the bundler, the gallery's one import of an error class
      // does not bring the whole driver with it.
      treeshake: { moduleSideEffects: [{ test: /\/(disk|emulator)\//, sideEffects: false }] },
    },
  },
  server: { host: "127.0.0.1", port: Number(process.env.PORT ?? 5173) },
  preview: { host: "127.0.0.1", port: Number(process.env.PORT ?? 5173) },
});
