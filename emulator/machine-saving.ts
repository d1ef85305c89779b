import { ByreError, type Qcow2Device, type Qcow2Snapshot } from "../disk/index.ts";
import { sameConfiguration } from "./configuration.ts";
import type { EmulatorParts } from "./emulator-parts.ts";
import type { LoadOptions, MachineConfiguration, SaveOptions, StartFrom } from "./machine.ts";
import { restoreDevices } from "./machine-memory.ts";
import { GuestMemoryFiller } from "./memory-filler.ts";
import { type OpenState, openReader, type SavedStates } from "./saved-states.ts";
import type { Screen } from "./screen.ts";
import type { SerialPort } from "./serial-port.ts";
import type { LoadedState } from "./state-loading.ts";
import { checkGoing } from "./state-writing.ts";

/** What saving and loading need of the machine. */
export interface SavableMachine {
  readonly parts: EmulatorParts;
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
  /** Stops the guest and forgets its disk requests, does something that puts the disks back, and runs. */
  replaced(work: () => Promise<void>): Promise<void>;
  build(configuration: MachineConfiguration): Promise<EmulatorParts>;
  /** Takes another emulator in the place of the present one, which is freed. */
  adopt(parts: EmulatorParts): Promise<void>;
  /** Tells the drives of the disks that have been put back. */
  refreshDrives(): Promise<void>;
  reboot(): void;
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
        return states.begin(emulator, configuration, { name, description, thumbnail, serialTail });
      };
      if (thenStop)
        return machine.inLine(() =>
          machine.standingStill(async () => this.whole((await begin())({ onProgress, signal })), true),
        );
      const write = await machine.inLine(() => machine.standingStill(begin));
      return this.whole(write({ onProgress, signal }));
    });
  }

  load(idOrName: string, options: LoadOptions): Promise<void> {
    return this.inTurn(options.signal, async (signal) => {
      const { machine, states } = this;
      const opened = await states.open(idOrName, options.diskOnly === true);
      const device = states.disks.main.device;
      await machine.inLine(() => this.take(opened, device, { ...options, signal }));
    });
  }

  /** Takes the state that a machine is to start from, in the place of its first boot. */
  startFrom({ device, snapshot, onProgress, signal }: StartFrom): Promise<void> {
    return this.inTurn(signal, async (signal) => {
      const { states } = this;
      const options = { signal, ...(onProgress && { onProgress }) };
      await this.take(await openForStart(states, device, snapshot), device, options);
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

  private async take(
    opened: OpenState,
    device: Qcow2Device,
    options: Pick<LoadOptions, "onProgress"> & { signal: AbortSignal },
  ): Promise<void> {
    const { machine, states } = this;
    if (!opened.state) {
      await machine.replaced(async () => {
        await this.whole(states.disks.apply(opened.disks));
        await machine.refreshDrives();
        machine.reboot();
      });
      return;
    }
    const { header } = opened.state;
    const fits = sameConfiguration(header.configuration, machine.parts.configuration);
    const fresh = fits && !machine.parts.started ? machine.parts : undefined;
    const built = fits ? fresh : await machine.build(header.configuration);
    const filler = new GuestMemoryFiller(header, built?.emulator);
    let loaded: LoadedState;
    try {
      loaded = await states.read(opened.state, device, (at, bytes) => filler.put(at, bytes), options);
      checkGoing(options.signal);
      if (built) {
        filler.finish(built.emulator, loaded);
        await restore(built, filler.device, opened);
      }
    } catch (error) {
      if (built && built !== fresh) await built.destroy();
      throw error;
    }
    await machine.replaced(async () => {
      try {
        await this.whole(states.disks.apply(opened.disks));
      } catch (error) {
        if (built && built !== fresh) await built.destroy();
        throw error;
      }
      if (!built) {
        filler.finish(machine.parts.emulator, loaded);
        await restore(machine.parts, filler.device, opened);
      } else if (built !== fresh) await machine.adopt(built);
      await machine.refreshDrives();
      if (header.serialTail !== undefined) machine.serial.replace(header.serialTail);
      if (opened.disks.length > 0) states.remember(opened.snapshot, loaded);
    });
  }
}

/** The state a machine starts from: its own, with the disks that go back; or another image's, without. */
async function openForStart(states: SavedStates, device: Qcow2Device, idOrName: string): Promise<OpenState> {
  if (states.disks.has(device)) return states.open(idOrName, false);
  const reader = await device.openState(idOrName);
  const state = reader.sizeBytes === 0 ? undefined : await openReader(reader);
  return { snapshot: reader.snapshot, disks: [], state };
}

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
