import { ByreError, type Qcow2Snapshot, toByreError } from "../disk/index.ts";
import { sameConfiguration } from "./configuration.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import type { GuestClock } from "./guest-clock.ts";
import type { LoadOptions, MachineConfiguration, SaveOptions, StartFrom } from "./machine.ts";
import { restoreDevices } from "./machine-memory.ts";
import { MemoryFiller } from "./memory-filler.ts";
import type { OpenDisks, OpenState, SavedStates } from "./saved-states.ts";
import type { Screen } from "./screen.ts";
import type { SerialPort } from "./serial-port.ts";
import type { LoadedState, StateLoading } from "./state-loading.ts";
import { checkGoing } from "./state-writing.ts";

/** What saving and loading need of the machine. */
export interface SavableMachine {
  readonly parts: EmulatorParts;
  readonly clock: GuestClock;
  readonly serial: SerialPort;
  readonly screen: Screen;
  /** Does something while nothing else of the machine's operations goes on. */
  inLine<Result>(operation: () => Promise<Result>): Promise<Result>;
  /** Makes durable what the guest has written, while it runs. */
  flush(): Promise<void>;
  /**
   * Stops the guest and brings the disks to rest, and goes on as it was when the work is done.
   *
   * @param thenStop switches the machine off instead, unless the work fails.
   */
  standingStill<Result>(work: () => Promise<Result>, thenStop?: boolean): Promise<Result>;
  /**
   * Stops the guest, does something that puts disks and machine back, and runs what they are then.
   *
   * @param work returns why the disks are not durable, when they are not: the guest waits for a retry then.
   */
  replaced(work: () => Promise<ByreError | undefined>): Promise<void>;
  build(configuration: MachineConfiguration): Promise<EmulatorParts>;
  /** Takes another emulator in the place of the present one, which is freed. */
  adopt(parts: EmulatorParts): Promise<void>;
  /** Tells the drives of the disks that have been put back. */
  refreshDrives(): Promise<void>;
  reboot(): void;
  /**
   * Stops the machine in an error that no retry mends: the guest is not what it was.
   *
   * @param disksToo so are its disks, which matters to a machine that is off as well.
   */
  lost(error: ByreError, disksToo: boolean): void;
}

/** Saves, loads and changes of states of one machine, strictly one after the other. */
export class MachineSaving {
  private line: Promise<unknown> = Promise.resolve();
  private readonly closing = new AbortController();
  /** What must not be left half done: it only waits for the disks. */
  private writing: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly machine: SavableMachine,
    private readonly states: SavedStates,
  ) {}

  save(name: string, options: SaveOptions): Promise<Qcow2Snapshot> {
    return this.inTurn(options.signal, async (signal) => {
      const { machine, states } = this;
      const { description, onProgress, thenStop = false } = options;
      await states.prepare({ name, description });
      // So that there is little to commit while the guest stands still.
      await machine.flush();
      const thumbnail = await machine.screen.thumbnail();
      const begin = () => {
        checkGoing(signal);
        const { emulator, configuration } = machine.parts;
        const serialTail = machine.serial.tail();
        const notes = { name, description, thumbnail, serialTail };
        return states.begin(emulator, configuration, { ...notes, clock: machine.clock.nanoseconds });
      };
      if (thenStop)
        return machine.inLine(() =>
          machine.standingStill(async () => {
            const snapshot = await this.whole((await begin())({ onProgress, signal }));
            await machine.flush();
            return snapshot;
          }, true),
        );
      const write = await machine.inLine(() => machine.standingStill(begin));
      return this.whole(write({ onProgress, signal }));
    });
  }

  load(idOrName: string, options: LoadOptions): Promise<void> {
    return this.inTurn(options.signal, async (signal) => {
      const { machine, states } = this;
      const opened = await states.open(idOrName, options.diskOnly === true);
      await machine.inLine(() => this.take(opened, { ...options, signal }));
    });
  }

  /** Takes the state that a machine is to start from, in the place of its first boot. */
  startFrom({ device, snapshot, onProgress, signal }: StartFrom): Promise<void> {
    return this.inTurn(signal, async (signal) => {
      const { states } = this;
      const options = { signal, ...(onProgress && { onProgress }) };
      await this.take(await states.openForStart(device, snapshot), options);
    });
  }

  /** Runs a change of the saved states after those that were asked for before. */
  inTurn<Result>(
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const both = AbortSignal.any([this.closing.signal, ...(signal ? [signal] : [])]);
    const turn = this.line.then(() => {
      checkGoing(both);
      return work(both);
    });
    this.line = turn.catch(() => undefined);
    return turn;
  }

  /** Ends what is under way; what has begun to change the images puts them in order first. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.writing;
  }

  private whole<Result>(work: Promise<Result>): Promise<Result> {
    this.writing = work.catch(() => undefined);
    return work;
  }

  private async take(opened: OpenState | OpenDisks, options: TakeOptions): Promise<void> {
    const { machine } = this;
    if (!("header" in opened)) {
      await machine.replaced(() => this.putBack(opened, async () => machine.reboot()));
      return;
    }
    const { configuration } = opened.header;
    // A machine that never ran can be filled as well as a new one.
    const present = sameConfiguration(configuration, machine.parts.configuration) ? machine.parts : undefined;
    if (present?.started) {
      await machine.replaced(() => this.refill(present, opened, options));
      return;
    }
    const parts = present ?? (await machine.build(configuration));
    try {
      const loaded = await this.fill(parts, opened, options);
      await machine.replaced(() =>
        this.putBack(opened, async () => {
          if (parts !== present) await machine.adopt(parts);
          this.taken(opened, loaded);
        }),
      );
    } catch (error) {
      if (parts !== machine.parts) await parts.destroy();
      throw error;
    }
  }

  /** Streams a state into an emulator that has not run. */
  private async fill(parts: EmulatorParts, opened: OpenState, options: TakeOptions): Promise<LoadedState> {
    const { emulator } = parts;
    const filler = new MemoryFiller(opened.header, emulator);
    const put: StateLoading["put"] = (at, bytes) => filler.put(at, bytes);
    const loaded = await this.states.read(opened, { ...options, put });
    filler.finish(emulator, loaded);
    await restore(parts, filler.device, opened);
    return loaded;
  }

  /** Puts the emulator that stands still back to a state. Nothing has changed until all of it is read. */
  private async refill(
    parts: EmulatorParts,
    opened: OpenState,
    options: TakeOptions,
  ): Promise<ByreError | undefined> {
    const { emulator } = parts;
    const filler = new MemoryFiller(opened.header, undefined);
    const { clusterSizeBytes } = opened.reader;
    const put: StateLoading["put"] = (at, bytes) => filler.put(at, bytes);
    const isThere: StateLoading["isThere"] = (index, print) =>
      filler.isThere(emulator, index, print, clusterSizeBytes);
    const loaded = await this.states.read(opened, { ...options, put, isThere });
    const machine = async () => {
      filler.finish(emulator, loaded);
      await restore(parts, filler.device, opened);
      this.taken(opened, loaded);
    };
    // With fingerprints the devices are, to the byte, what this very emulator saved.
    return this.putBack(opened, machine, { unsure: !opened.header.prints });
  }

  /**
   * Puts the disks back, all or none, and then the machine: from there on there is no way back.
   *
   * @param unsure the machine may fail: the disks are as before then, though the guest is lost.
   * @returns why the disks are not durable, when they are not.
   */
  private async putBack(
    { disks }: OpenDisks,
    machine: () => Promise<void>,
    { unsure } = { unsure: false },
  ): Promise<ByreError | undefined> {
    let begun = false;
    const rest = async () => {
      begun = true;
      await machine();
      await this.machine.refreshDrives();
    };
    try {
      const unflushed = await this.whole(this.states.disks.apply(disks, unsure ? rest : undefined));
      if (!unsure) await rest();
      return unflushed;
    } catch (error) {
      const failure = toByreError(error);
      const apart = failure.data.disksApart === true;
      const undone = begun && unsure && !apart;
      if (undone) await this.machine.refreshDrives().catch(() => undefined);
      if (begun || apart) this.machine.lost(failure, !undone);
      throw error;
    }
  }

  /** The emulator is in the state: the rest of the machine follows. */
  private taken(opened: OpenState, loaded: LoadedState): void {
    this.machine.clock.set(opened.snapshot.vmClockNanoseconds);
    const { serialTail } = opened.header;
    if (serialTail !== undefined) this.machine.serial.replace(serialTail);
    if (opened.disks.length > 0) this.states.remember(opened.snapshot, loaded);
  }
}

type TakeOptions = Pick<LoadOptions, "onProgress"> & { signal: AbortSignal };

/** Gives an emulator the devices of a state; its memory is in place. */
async function restore(
  { emulator }: EmulatorParts,
  device: Uint8Array<ArrayBuffer>,
  { snapshot }: OpenState,
): Promise<void> {
  try {
    await restoreDevices(emulator, device);
  } catch (error) {
    throw new ByreError(
      "STATE_INVALID",
      `The saved state "${snapshot.name}" is not one that the emulator takes. Boot its disk as it was then instead.`,
      { snapshot: snapshot.name },
      error,
    );
  }
}
