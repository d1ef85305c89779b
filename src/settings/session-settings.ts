import type { Metadata } from "../../disk/index.ts";
import {
  applianceConfiguration,
  type Machine,
  type MachineConfiguration,
  type NetworkChoice,
  networkChoiceText,
} from "../../emulator/index.ts";
import { library } from "../library/library.ts";
import type { MachineRecord, MachineSettings } from "../library/machine-record.ts";
import {
  type ApplianceWishes,
  applianceSettings,
  type CompleteSettings,
  checkedSettings,
  configurationOf,
  settingsOf,
} from "./machine-settings.ts";

/** What a machine is set to, and what it runs with now. */
export interface SettingsView {
  /** What the appliance has by itself; its network is off. */
  readonly appliance: CompleteSettings;
  /** What the person chose in its place. */
  readonly chosen: MachineSettings;
  /** The two together: what the next start has. */
  readonly next: CompleteSettings;
  /** What the machine runs with: a saved state brings its own. */
  readonly running: MachineConfiguration;
  /** Whether a reset would make it another machine. */
  readonly changesWithRestart: boolean;
  /** The network that the appliance or the link asks for, whether it was allowed or not. */
  readonly offeredNetwork: NetworkChoice | undefined;
}

/** The settings of an open machine. */
export class SessionSettings {
  private chosen: MachineSettings;
  private wishes: ApplianceWishes;

  constructor(
    private readonly parts: {
      readonly record: MachineRecord | undefined;
      readonly machine: Pick<Machine, "configuration" | "network">;
      readonly wishes: ApplianceWishes;
    },
    private readonly changed: () => void,
  ) {
    this.chosen = parts.record?.settings ?? {};
    this.wishes = parts.wishes;
  }

  get view(): SettingsView {
    const {
      parts: { machine },
      wishes,
    } = this;
    const next = settingsOf(wishes, this.chosen);
    const running = { ...machine.configuration };
    return {
      appliance: applianceSettings(wishes),
      chosen: this.chosen,
      next,
      running,
      changesWithRestart: !same(configurationOf(next), running),
      offeredNetwork: wishes.offeredNetwork,
    };
  }

  /** What the machine is to be when it is next booted. */
  get configuration(): MachineConfiguration {
    return configurationOf(this.view.next);
  }

  async set(chosen: MachineSettings): Promise<void> {
    const checked = checkedSettings(chosen);
    const { record, machine } = this.parts;
    if (record) await library.update(record.id, { settings: checked });
    this.chosen = checked;
    const { network } = this.view.next;
    // What is connected stays connected when something else is set.
    if (networkChoiceText(network) !== networkChoiceText(machine.network.choice))
      await machine.network.set(network);
    this.changed();
  }

  /**
   * The image says something else of itself now: what has changed in what it asks for is the appliance's own from
   * here on. The rest stays what the machine was made with, which may be a saved state's.
   */
  async imageSays(before: Metadata, after: Metadata): Promise<void> {
    const [old, now] = [applianceConfiguration(before), applianceConfiguration(after)];
    const names = Object.keys({
      ...old.configuration,
      ...now.configuration,
    }) as (keyof MachineConfiguration)[];
    const changed: readonly string[] = names.filter(
      (name) => old.configuration[name] !== now.configuration[name],
    );
    const kept = Object.entries(this.wishes.configuration).filter(([name]) => !changed.includes(name));
    const brought = Object.entries(now.configuration).filter(([name]) => changed.includes(name));
    const wishes = {
      configuration: Object.fromEntries([...kept, ...brought]),
      display: old.display === now.display ? this.wishes.display : now.display,
      offeredNetwork:
        before.get("machine.network") === after.get("machine.network")
          ? this.wishes.offeredNetwork
          : now.network,
    };
    const { record } = this.parts;
    if (record) await library.update(record.id, wishes);
    this.wishes = wishes;
  }
}

function same(a: MachineConfiguration, b: MachineConfiguration): boolean {
  return (
    a.memoryMiB === b.memoryMiB &&
    a.vgaMemoryMiB === b.vgaMemoryMiB &&
    a.acpi === b.acpi &&
    a.bootOrder === b.bootOrder
  );
}
