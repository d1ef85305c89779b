import type { Machine, MachineConfiguration, NetworkChoice } from "../../emulator/index.ts";
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

  constructor(
    private readonly parts: {
      readonly record: MachineRecord | undefined;
      readonly machine: Pick<Machine, "configuration">;
      readonly wishes: ApplianceWishes;
    },
    private readonly changed: () => void,
  ) {
    this.chosen = parts.record?.settings ?? {};
  }

  get view(): SettingsView {
    const { machine, wishes } = this.parts;
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
    const { record } = this.parts;
    if (record) await library.update(record.id, { settings: checked });
    this.chosen = checked;
    this.changed();
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
