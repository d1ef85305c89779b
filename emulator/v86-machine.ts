import { ByreError, type Qcow2Snapshot, toByreError } from "../disk/index.ts";
import { checkConfiguration, sameConfiguration } from "./configuration.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import { createGuestClock } from "./guest-clock.ts";
import { guestCrash } from "./guest-crash.ts";
import { createGuestDevices, type GuestDevices } from "./guest-devices.ts";
import { hookGuest } from "./guest-hooks.ts";
import type {
  LoadOptions,
  Machine,
  MachineConfiguration,
  MachineError,
  MachineState,
  MachineStats,
  ResetOptions,
  SaveOptions,
  SnapshotChange,
  SnapshotDescription,
  StartFrom,
} from "./machine.ts";
import { MachineCondition } from "./machine-condition.ts";
import type { MachineMedia, NetworkChoice } from "./machine-devices.ts";
import type { MachineDrives } from "./machine-drives.ts";
import { MachineSaving, type SavableMachine } from "./machine-saving.ts";
import { OperationLine } from "./operation-line.ts";
import type { SavedStates } from "./saved-states.ts";
import type { V86Emulator } from "./v86-internals.ts";

/** Where the machine is to be once nothing stands in the way; `retry` goes on towards it. */
type Goal = "running" | "paused" | "stopped";

/** What a machine is made of. */
export interface V86MachineOptions {
  /** Set up and not yet running. */
  parts: EmulatorParts;
  drives: MachineDrives;
  states: SavedStates;
  screenElement: HTMLElement | undefined;
  network: NetworkChoice;
  /** Sets up another emulator for the same drives. */
  build: (configuration: MachineConfiguration) => Promise<EmulatorParts>;
}

/**
 * A machine on v86. What the outside asks of it is done strictly one after the other; the guest's power-off
 * takes its place in the same line. A saved state of another configuration brings another emulator; everything
 * that the outside holds stays what it is.
 */
export class V86Machine implements Machine {
  readonly serial: GuestDevices["serial"];
  readonly screen: GuestDevices["screen"];
  readonly keyboard: GuestDevices["keyboard"];
  readonly pointer: GuestDevices["pointer"];
  readonly sound: GuestDevices["sound"];
  readonly output: GuestDevices["output"];
  readonly network: GuestDevices["network"];
  readonly media: MachineMedia;

  private readonly devices: GuestDevices;
  private parts: EmulatorParts;
  private readonly buildParts: V86MachineOptions["build"];
  private readonly drives: MachineDrives;
  private readonly states: SavedStates;
  /** Saves and loads have a line of their own: the other goes on while a state is written. */
  private readonly saving: MachineSaving;
  private readonly condition = new MachineCondition();
  private goal: Goal = "paused";
  private readonly line = new OperationLine(() => this.closing !== undefined);
  /** A reset and a load begin another guest. */
  private guests = 1;
  private stopping: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private readonly clock = createGuestClock();

  constructor({ parts, drives, states, screenElement, network, build }: V86MachineOptions) {
    this.parts = parts;
    this.buildParts = build;
    this.drives = drives;
    this.states = states;
    this.media = drives.media;
    this.devices = createGuestDevices(parts, screenElement, network);
    ({
      serial: this.serial,
      screen: this.screen,
      keyboard: this.keyboard,
      pointer: this.pointer,
      sound: this.sound,
      output: this.output,
      network: this.network,
    } = this.devices);
    this.saving = new MachineSaving(this.savable(), states);
    this.hook(parts);
    this.attach(parts);
  }

  get state(): MachineState {
    return this.condition.state;
  }

  get error(): MachineError | undefined {
    return this.condition.error;
  }

  get configuration(): Readonly<MachineConfiguration> {
    return this.parts.configuration;
  }

  /** First start; later ones are `resume` and `reset`. */
  async start(from: StartFrom | undefined): Promise<void> {
    if (from) await this.saving.startFrom(from);
    else await this.line.inTurn(() => this.run());
  }

  async pause(): Promise<void> {
    await this.line.inTurn(async () => {
      if (this.state !== "running") return;
      await this.reach("paused");
    });
  }

  async resume(): Promise<void> {
    await this.line.inTurn(async () => {
      if (this.state === "paused") await this.run();
    });
  }

  async reset({ configuration }: ResetOptions = {}): Promise<void> {
    const wanted = () => ({ ...this.configuration, ...configuration });
    checkConfiguration(wanted());
    await this.line.pressed(async () => {
      // Before anything has changed: there may not be as much memory.
      const other = sameConfiguration(wanted(), this.configuration) ? undefined : await this.build(wanted());
      const wasOff = this.state === "stopped";
      await this.stopProcessor();
      this.drives.cancel();
      if (other) await this.adopt(other);
      const { cpu } = this.emulator.v86;
      if (wasOff && !other) cpu.reset_memory();
      cpu.reboot_internal();
      this.guests++;
      await this.run();
    });
  }

  async powerOff(): Promise<void> {
    await this.line.pressed(async () => {
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
        this.condition.change("stopped");
      }
    });
  }

  async retry(): Promise<void> {
    await this.line.inTurn(async () => {
      if (this.state !== "error") return;
      if (this.condition.isDeadly)
        throw new ByreError(
          "INVALID_ARGUMENT",
          "A crashed guest cannot go on: reset the machine or power it off.",
        );
      const failure = await this.rested(() => this.drives.retry());
      if (failure) throw failure;
      if (this.goal === "running") await this.run();
      else await this.reach(this.goal);
    });
  }

  save(name: string, options: SaveOptions = {}): Promise<Qcow2Snapshot> {
    return this.saving.save(name, options);
  }

  load(idOrName: string, options: LoadOptions = {}): Promise<void> {
    return this.saving.load(idOrName, options);
  }

  snapshots(): readonly Qcow2Snapshot[] {
    return this.states.disks.list();
  }

  describeSnapshot(idOrName: string): Promise<SnapshotDescription> {
    return this.saving.inTurn(undefined, () => this.states.describe(idOrName));
  }

  editSnapshot(idOrName: string, change: SnapshotChange): Promise<void> {
    return this.saving.inTurn(undefined, () => this.states.edit(idOrName, change));
  }

  deleteSnapshot(idOrName: string): Promise<void> {
    return this.saving.inTurn(undefined, () => this.states.delete(idOrName));
  }

  async flush(): Promise<void> {
    await this.drives.flush();
  }

  stats(): MachineStats {
    const { bytesIn, bytesOut } = this.network;
    return { ...this.drives.stats(), networkBytesIn: bytesIn, networkBytesOut: bytesOut };
  }

  onChange(listener: () => void): () => void {
    return this.condition.onChange(listener);
  }

  close(): Promise<void> {
    this.closing ??= this.destroy();
    return this.closing;
  }

  private get emulator(): V86Emulator {
    return this.parts.emulator;
  }

  /** Listens to an emulator's guest. */
  private hook(parts: EmulatorParts): void {
    hookGuest(parts, {
      onSlice: () => this.serial.feed(),
      isHeld: () => this.drives.cd.disk?.holdsGuest ?? false,
      onReset: () => {
        this.serial.clearInput();
        this.network.forget();
        this.clock.set(0n);
      },
      onStop: () => this.guestStopped(),
      onCrash: (error) => this.fail(error, { deadly: true }),
    });
  }

  /** Gives what the outside holds to an emulator. */
  private attach(parts: EmulatorParts): void {
    this.parts = parts;
    this.drives.attach(parts);
    this.drives.listen({
      onFailure: (error) => this.fail(error),
      onCrash: (error) => this.fail(guestCrash(error, parts.panics), { deadly: true }),
    });
    this.devices.attach(parts);
  }

  /** Sets up another emulator. It listens to its guest, and is not the machine's own before `adopt`. */
  private async build(configuration: MachineConfiguration): Promise<EmulatorParts> {
    const parts = await this.buildParts(configuration);
    if (this.closing) {
      await parts.destroy();
      throw new ByreError("CLOSED", "The machine is closed.");
    }
    this.hook(parts);
    return parts;
  }

  /** Takes another emulator in the place of the present one, which is freed. */
  private async adopt(parts: EmulatorParts): Promise<void> {
    const before = this.parts;
    this.attach(parts);
    await before.destroy();
  }

  /** What saving and loading need of this machine. */
  private savable(): SavableMachine {
    const machine = this;
    return {
      get parts() {
        return machine.parts;
      },
      clock: this.clock,
      serial: this.serial,
      screen: this.screen,
      inLine: (operation) => this.line.inTurn(operation),
      flush: () => this.drives.flush(),
      standingStill: (work, thenStop) => this.standingStill(work, thenStop),
      replaced: (work) => this.replaced(work),
      build: (configuration) => this.build(configuration),
      adopt: (parts) => this.adopt(parts),
      refreshDrives: () => {
        this.network.forget();
        return this.drives.refresh();
      },
      reboot: () => this.emulator.v86.cpu.reboot_internal(),
      lost: (error, disksToo) => {
        if (disksToo || this.state !== "stopped") this.halt(error, true);
      },
    };
  }

  /**
   * Does something while the processor stands still and no disk request is under way; then goes on. Nothing is
   * flushed: a snapshot's own commit has all that was written before it.
   */
  private async standingStill<Result>(work: () => Promise<Result>, thenStop = false): Promise<Result> {
    if (this.state !== "running" && this.state !== "paused")
      throw new ByreError("INVALID_ARGUMENT", `A machine that is ${this.state} has no state to save.`);
    const wasRunning = this.state === "running";
    const failure = await this.rested();
    if (failure) throw failure;
    if (wasRunning) this.condition.change("paused");
    let done = false;
    try {
      const result = await work();
      done = true;
      return result;
    } finally {
      if (done && thenStop) {
        this.goal = "stopped";
        this.condition.change("stopped");
      } else if (wasRunning) await this.run();
    }
  }

  /** Stops the guest for something that takes the place of what it was; runs on as it was when that fails. */
  private async replaced(work: () => Promise<ByreError | undefined>): Promise<void> {
    const wasRunning = this.state === "running";
    // A write that has begun must not land on the disk that comes.
    await this.rested();
    let unflushed: ByreError | undefined;
    try {
      unflushed = await work();
    } catch (error) {
      if (wasRunning && this.state === "running") await this.run();
      throw error;
    }
    this.drives.cancel();
    this.guests++;
    this.serial.clearInput();
    if (!unflushed) {
      await this.run();
      return;
    }
    this.goal = "running";
    this.condition.halt(unflushed, false);
    throw unflushed;
  }

  /**
   * Stops the processor and lets the disks come to rest: the quiet that states are saved in.
   *
   * @returns the failure of a request that failed.
   * @throws ByreError CANCELLED when a reset or power-off comes before; the machine goes on as it was. A request is never
   *   dropped here: a state saved then would be one of a guest that waits for it for ever.
   */
  private async rested(settled = () => this.drives.settled()): Promise<ByreError | undefined> {
    await this.stopProcessor();
    await this.line.orPressed(settled());
    if (this.drives.atRest) return this.drives.settled();
    if (this.state === "running") await this.run();
    throw new ByreError(
      "CANCELLED",
      "The machine's disks did not answer before it was reset or switched off.",
    );
  }

  /** Stops the processor for good; as `rested`, but only what the guest was writing is waited for. */
  private async ended(): Promise<ByreError | undefined> {
    await this.stopProcessor();
    this.drives.cancelReads();
    return this.drives.settled();
  }

  /** Comes to rest and flushes. */
  private async reach(goal: "paused" | "stopped"): Promise<void> {
    this.goal = goal;
    const failure = await (goal === "stopped" ? this.ended() : this.rested());
    if (failure) throw failure;
    try {
      await this.drives.flush();
    } catch (error) {
      this.fail(toByreError(error));
      throw error;
    }
    this.condition.change(goal);
  }

  private async run(): Promise<void> {
    this.goal = "running";
    // A run that overtakes a stop would leave v86's stop waiting for ever.
    await this.stopping;
    this.parts.started = true;
    this.condition.change("running");
    this.clock.start();
    await this.emulator.run();
  }

  private stopProcessor(): Promise<void> {
    this.stopping ??= this.emulator.stop().finally(() => {
      this.clock.stop();
      this.stopping = undefined;
    });
    return this.stopping;
  }

  private guestStopped(): void {
    if (this.state !== "running") return;
    void this.stopProcessor();
    const guest = this.guests;
    this.line
      .inTurn(async () => {
        if (this.state === "running" && this.guests === guest) await this.reach("stopped");
      })
      .catch(() => {
        // The state is `error` and says why.
      });
  }

  private fail(error: ByreError, { deadly } = { deadly: false }): void {
    if (this.state !== "stopped") this.halt(error, deadly);
  }

  private halt(error: ByreError, deadly: boolean): void {
    if (this.closing) return;
    void this.stopProcessor();
    // The first of several is what the person sees, and `retry` repeats all; but nothing of a guest that is lost.
    if (this.state !== "error" || (deadly && !this.condition.isDeadly)) this.condition.halt(error, deadly);
  }

  private async destroy(): Promise<void> {
    this.drives.cancel();
    await this.saving.close();
    this.devices.close();
    await this.parts.destroy();
    this.drives.close();
    if (this.state !== "stopped") this.condition.change("stopped");
  }
}
