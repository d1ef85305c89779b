/** What the block layer offers under Node only. Everything else is in index.ts. */
export { type NodeFileOptions, openNodeFile } from "./files/node-file.ts";
