import type { V86Emulator } from "./v86-internals.ts";

/**
 * v86 resumes its sound with the machine and drops the promise. Until someone has clicked in the page the
 * browser keeps that promise, and rejects it when the machine is closed first: an error nobody caused.
 */
export function silenceSoundErrors(emulator: V86Emulator): void {
  const context = emulator.speaker_adapter?.audio_context;
  if (!context) return;
  const resume = context.resume.bind(context);
  context.resume = () => resume().catch(() => undefined);
}

let worklets = false;

/**
 * v86 loads its worklet and drops that promise too: it is rejected when the machine is closed meanwhile. To be
 * called before the first emulator is set up.
 */
export function silenceWorkletErrors(): void {
  if (worklets || typeof AudioWorklet === "undefined") return;
  worklets = true;
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = function (...parameters) {
    // What v86 does next has no use without it.
    return addModule.apply(this, parameters).catch(() => new Promise<void>(() => {}));
  };
}
