export { type HeadlessMachine, type HeadlessOptions, startHeadlessMachine } from "./headless-machine.ts";
