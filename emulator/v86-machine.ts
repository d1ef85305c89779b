import { ByreError, type Qcow2Snapshot, toByreError } from "../disk/index.ts";
import { mendEventStatus, watchPowerOff } from "./acpi.ts";
import { createChangeNotifier } from "./change-notifier.ts";
import { guestCrash, isTripleFault, type PanicLog } from "./guest-crash.ts";
import { createKeyboard } from "./keyboard.ts";
import type {
  LoadOptions,
  Machine,
  MachineConfiguration,
  MachineError,
  MachineKeyboard,
  MachineScreen,
  MachineState,
  MachineStats,
  SaveOptions,
  SnapshotChange,
  SnapshotDescription,
} from "./machine.ts";
import type { MachineDrives } from "./machine-drives.ts";
import { resetWholePlatform } from "./platform-reset.ts";
import type { SavedStates } from "./saved-states.ts";
import { createScreen } from "./screen.ts";
import { createSerialPort, type SerialPort } from "./serial-port.ts";
import { silenceSoundErrors } from "./sound.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** What v86 waits, in milliseconds, before it asks a processor that cannot go on for more work. */
const DEAD_MS = 100;

/** Where the machine is to be once nothing stands in the way; `retry` goes on towards it. */
type Goal = "running" | "paused" | "stopped";

/**
 * A machine on v86. What the outside asks of it is done strictly one after the other; the guest's power-off
 * takes its place in the same line.
 */
export class V86Machine implements Machine {
  readonly serial: SerialPort;
  readonly screen: MachineScreen;
  readonly keyboard: MachineKeyboard;

  private currentState: MachineState = "starting";
  private currentError: MachineError | undefined;
  private goal: Goal = "paused";
  private line: Promise<unknown> = Promise.resolve();
  /** Saves, loads and deletions of states, one after the other; the line goes on while a state is written. */
  private saves: Promise<unknown> = Promise.resolve();
  private stopping: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private readonly changes = createChangeNotifier();

  /** @param emulator set up and not yet running. */
  constructor(
    private readonly emulator: V86Emulator,
    readonly configuration: Readonly<MachineConfiguration>,
    private readonly drives: MachineDrives,
    private readonly states: SavedStates,
    private readonly screenContainer: HTMLElement | undefined,
    panics: PanicLog,
  ) {
    const { cpu } = emulator.v86;
    this.serial = createSerialPort(emulator);
    this.screen = createScreen(emulator, screenContainer);
    this.keyboard = createKeyboard(emulator);
    silenceSoundErrors(emulator);
    drives.listen({
      onFailure: (error) => this.fail(error),
      onCrash: (error) => this.fail(guestCrash(error, panics)),
    });
    resetWholePlatform(cpu, () => this.serial.clearInput());
    mendEventStatus(cpu);
    watchPowerOff(cpu, () => this.guestStopped());
    // Halted with interrupts off: a kernel without ACPI has reached its end.
    emulator.add_listener("cpu-event-halt", () => this.guestStopped());

    const runSlice = cpu.main_loop;
    cpu.main_loop = () => {
      const moreInput = this.serial.feed();
      try {
        const waitMs = runSlice.call(cpu);
        return moreInput ? 0 : waitMs;
      } catch (error) {
        if (isTripleFault(cpu, error)) {
          cpu.reboot_internal();
          return 0;
        }
        this.fail(guestCrash(error, panics));
        return DEAD_MS;
      }
    };
  }

  get state(): MachineState {
    return this.currentState;
  }

  get error(): MachineError | undefined {
    return this.currentError;
  }

  /** First start; later ones are `resume` and `reset`. */
  async start(): Promise<void> {
    await this.inLine(() => this.run());
  }

  async pause(): Promise<void> {
    await this.inLine(async () => {
      if (this.state !== "running") return;
      await this.reach("paused");
    });
  }

  async resume(): Promise<void> {
    await this.inLine(async () => {
      if (this.state === "paused") await this.run();
    });
  }

  async reset(): Promise<void> {
    // At once, so that a pause waiting for a disk that does not answer is not waited for.
    this.drives.cancel();
    await this.inLine(async () => {
      const wasOff = this.state === "stopped";
      await this.stopProcessor();
      this.drives.cancel();
      const { cpu } = this.emulator.v86;
      if (wasOff) cpu.reset_memory();
      cpu.reboot_internal();
      await this.run();
    });
  }

  async powerOff(): Promise<void> {
    await this.inLine(async () => {
      if (this.state === "stopped") return;
      if (this.state !== "error") {
        await this.reach("stopped");
        return;
      }
      await this.stopProcessor();
      this.drives.cancel();
      try {
        await this.drives.flush();
      } finally {
        this.goal = "stopped";
        this.change("stopped");
      }
    });
  }

  async retry(): Promise<void> {
    await this.inLine(async () => {
      if (this.state !== "error") return;
      if (this.currentError?.code === "GUEST_CRASH")
        throw new ByreError(
          "INVALID_ARGUMENT",
          "A crashed guest cannot go on: reset the machine or power it off.",
        );
      await this.stopProcessor();
      const failure = await this.drives.retry();
      if (failure) throw failure;
      if (this.goal === "running") await this.run();
      else await this.reach(this.goal);
    });
  }

  async save(name: string, options: SaveOptions = {}): Promise<Qcow2Snapshot> {
    const turn = this.saves.then(async () => {
      const write = await this.inLine(() => this.standingStill(() => this.states.begin(name)));
      return write(options.onProgress);
    });
    this.saves = turn.catch(() => undefined);
    return turn;
  }

  async load(idOrName: string, _options: LoadOptions = {}): Promise<void> {
    const turn = this.saves.then(() =>
      this.inLine(async () => {
        const state = await this.states.read(idOrName);
        await this.stopProcessor();
        this.drives.cancel();
        await this.states.apply(idOrName, state);
        this.serial.clearInput();
        if (!state) this.emulator.v86.cpu.reboot_internal();
        await this.run();
      }),
    );
    this.saves = turn.catch(() => undefined);
    await turn;
  }

  snapshots(): readonly Qcow2Snapshot[] {
    return this.states.list();
  }

  describeSnapshot(idOrName: string): Promise<SnapshotDescription> {
    return this.states.describe(idOrName);
  }

  async editSnapshot(idOrName: string, change: SnapshotChange): Promise<void> {
    const turn = this.saves.then(() => this.states.edit(idOrName, change));
    this.saves = turn.catch(() => undefined);
    await turn;
  }

  async deleteSnapshot(idOrName: string): Promise<void> {
    const turn = this.saves.then(() => this.states.delete(idOrName));
    this.saves = turn.catch(() => undefined);
    await turn;
  }

  async flush(): Promise<void> {
    await this.drives.flush();
  }

  stats(): MachineStats {
    return this.drives.stats();
  }

  onChange(listener: () => void): () => void {
    return this.changes.add(listener);
  }

  close(): Promise<void> {
    this.closing ??= this.destroy();
    return this.closing;
  }

  /** Does something while the processor stands still and no disk request is under way; then goes on. */
  private async standingStill<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.state !== "running" && this.state !== "paused")
      throw new ByreError("INVALID_ARGUMENT", `A machine that is ${this.state} has no state to save.`);
    const wasRunning = this.state === "running";
    if (wasRunning) await this.reach("paused");
    try {
      return await work();
    } finally {
      if (wasRunning) await this.run();
    }
  }

  /** Stops the processor, lets the disks come to rest, flushes. The quiet that states are saved in. */
  private async reach(goal: "paused" | "stopped"): Promise<void> {
    this.goal = goal;
    await this.stopProcessor();
    const failure = await this.drives.settled();
    if (failure) throw failure;
    try {
      await this.drives.flush();
    } catch (error) {
      this.fail(toByreError(error));
      throw error;
    }
    this.change(goal);
  }

  private async run(): Promise<void> {
    this.goal = "running";
    // A run that overtakes a stop would leave v86's stop waiting for ever.
    await this.stopping;
    this.change("running");
    await this.emulator.run();
  }

  private stopProcessor(): Promise<void> {
    this.stopping ??= this.emulator.stop().finally(() => {
      this.stopping = undefined;
    });
    return this.stopping;
  }

  private guestStopped(): void {
    if (this.state !== "running") return;
    void this.stopProcessor();
    this.inLine(async () => {
      if (this.state === "running") await this.reach("stopped");
    }).catch(() => {
      // The state is `error` and says why.
    });
  }

  private fail(error: ByreError): void {
    if (this.closing || this.state === "stopped") return;
    void this.stopProcessor();
    // The first of several is what the person sees; `retry` repeats all.
    if (this.state === "error") return;
    this.change("error", { code: error.code, message: error.message, cause: error });
  }

  private change(state: MachineState, error?: MachineError): void {
    this.currentState = state;
    this.currentError = error;
    this.changes.notify();
  }

  private inLine<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.line.then(() => {
      if (this.closing) throw new ByreError("CLOSED", "The machine is closed.");
      return operation();
    });
    this.line = result.catch(() => undefined);
    return result;
  }

  private async destroy(): Promise<void> {
    this.drives.cancel();
    await this.emulator.destroy();
    this.screenContainer?.remove();
    if (this.state !== "stopped") this.change("stopped");
  }
}
