import { createChangeNotifier } from "./change-notifier.ts";
import type { MachineSound } from "./machine-devices.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** What the guest plays. It outlives the emulator it is attached to. */
export interface Sound extends MachineSound {
  attach(emulator: V86Emulator): void;
}

export function createSound(): Sound {
  let emulator: V86Emulator | undefined;
  let gain: GainNode | undefined;
  let muted = false;
  let volume = 1;
  const changes = createChangeNotifier();

  const apply = () => {
    if (gain) gain.gain.value = muted ? 0 : volume;
    changes.notify();
  };
  return {
    attach(next) {
      emulator = next;
      gain = undefined;
      const { audio_context: context, mixer } = next.speaker_adapter ?? {};
      if (!context || !mixer) return;
      // Behind the guest's own mixer, whose settings are the guest's.
      gain = context.createGain();
      gain.gain.value = muted ? 0 : volume;
      mixer.node_merger.disconnect();
      mixer.node_merger.connect(gain).connect(context.destination);
    },
    get muted() {
      return muted;
    },
    get volume() {
      return volume;
    },
    setMuted(now) {
      muted = now;
      apply();
    },
    setVolume(now) {
      volume = Math.min(1, Math.max(0, Number.isFinite(now) ? now : 0));
      apply();
    },
    async resume() {
      // A machine that stands still is silent; v86 resumes its sound when it goes on.
      // Not waited for: until someone has clicked the browser keeps its promise open.
      if (emulator?.is_running()) void emulator.speaker_adapter?.audio_context?.resume();
    },
    onChange: (listener) => changes.add(listener),
  };
}

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
