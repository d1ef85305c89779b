export { type HeadlessMachine, type HeadlessOptions, startHeadlessMachine } from "./headless-machine.ts";
export { nodePacker } from "./node-packer.ts";
