import { type ReactNode, useEffect, useRef, useState } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import { SelectField } from "../components/select-field.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import type { MachineSettings } from "../library/machine-record.ts";
import type { MachinePanelProps } from "../pages/machine-panels.tsx";
import { useFocusKept } from "../pages/use-focus-kept.ts";
import { useSession } from "../pages/use-session.ts";
import { NetworkSettings } from "./network-settings.tsx";
import type { SettingsView } from "./session-settings.ts";
import { withSettings } from "./settings-metadata.ts";
import styles from "./settings-panel.module.css";
import {
  BOOT_WORDS,
  DISPLAY_WORDS,
  differences,
  memoryOptions,
  optionsOf,
  sizeWords,
  vgaMemoryOptions,
} from "./settings-words.ts";

/** What a machine has, in the place of what its appliance asks for. */
export function SettingsPanel({ session, state, onClose, run }: MachinePanelProps) {
  useSession(session);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const [failure, setFailure] = useState<string>();
  const { settings } = session;
  const { appliance, chosen, next } = settings;
  const change = async (part: MachineSettings) => {
    setFailure(undefined);
    try {
      await session.setSettings({ ...chosen, ...withoutApplianceValues(part, settings) });
    } catch (error) {
      setFailure((error as Error).message);
    }
  };
  const own = Object.keys(chosen).length === 0;
  const { network, ...forImage } = chosen;
  // A button that undoes a choice goes with it.
  useFocusKept(Object.keys(chosen).join(), heading);
  const intoImage = async () => {
    await session.setAbout(withSettings(session.about().metadata, forImage));
    await session.setSettings(network ? { network } : {});
  };
  const hint = (name: keyof MachineSettings, words: string) =>
    chosen[name] === undefined ? undefined : `The appliance has: ${words}`;

  return (
    <SidePanel
      id="settings"
      title="Settings"
      closeLabel="Close settings"
      headingRef={heading}
      onClose={onClose}
    >
      <div className={styles.settings}>
        <RestartNotice
          settings={settings}
          isOn={state !== "stopped"}
          isDisabled={state === "starting"}
          onRestart={() => run(() => session.reset())}
        />
        {failure && <Notice tone="danger">{failure}</Notice>}
        <Group title="Takes effect at once">
          <SelectField
            label="Show"
            value={next.display}
            options={optionsOf(DISPLAY_WORDS)}
            hint={hint("display", DISPLAY_WORDS[appliance.display])}
            onChange={(display) => void change({ display })}
          />
          <NetworkSettings session={session} onChange={(network) => change({ network })} />
        </Group>
        <Group title="Takes effect with the next start">
          <SelectField
            label="Memory"
            value={String(next.memoryMiB)}
            options={memoryOptions([next.memoryMiB, appliance.memoryMiB])}
            hint={hint("memoryMiB", sizeWords(appliance.memoryMiB))}
            onChange={(size) => void change({ memoryMiB: Number(size) })}
          />
          <SelectField
            label="Graphics memory"
            value={String(next.vgaMemoryMiB)}
            options={vgaMemoryOptions([next.vgaMemoryMiB, appliance.vgaMemoryMiB])}
            hint={hint("vgaMemoryMiB", sizeWords(appliance.vgaMemoryMiB))}
            onChange={(size) => void change({ vgaMemoryMiB: Number(size) })}
          />
          <SelectField
            label="Starts from"
            value={next.bootOrder}
            options={optionsOf(BOOT_WORDS)}
            hint={
              hint("bootOrder", BOOT_WORDS[appliance.bootOrder]) ??
              "Where that holds nothing to start, from the others."
            }
            onChange={(bootOrder) => void change({ bootOrder })}
          />
          <SelectField
            label="Power management (ACPI)"
            value={next.acpi ? "on" : "off"}
            options={[
              { value: "on", words: "On" },
              { value: "off", words: "Off" },
            ]}
            hint={hint("acpi", appliance.acpi ? "On" : "Off") ?? "With it a machine can switch itself off."}
            onChange={(acpi) => void change({ acpi: acpi === "on" })}
          />
          <p className={styles.note}>
            A snapshot keeps the settings it was saved with: a machine that goes on from one has those, until
            it restarts.
          </p>
        </Group>
        <Buttons>
          <Button isDisabled={own} onPress={() => run(() => session.setSettings({}))}>
            Use the appliance's own settings
          </Button>
          {Object.keys(forImage).length > 0 && (
            <Button onPress={() => run(intoImage)}>Make these the appliance's own</Button>
          )}
        </Buttons>
        {Object.keys(forImage).length > 0 && (
          <p className={styles.note}>
            As the appliance's own they stand in the machine's image: whoever gets an export of it has them
            too.
          </p>
        )}
      </div>
    </SidePanel>
  );
}

function Group({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={styles.group} aria-label={title}>
      <h3 className={styles.heading}>{title}</h3>
      {children}
    </section>
  );
}

interface RestartNoticeProps {
  settings: SettingsView;
  isOn: boolean;
  isDisabled: boolean;
  onRestart: () => void;
}

/** That the machine runs with something else than what is set, and how to end that. */
function RestartNotice({ settings, isOn, isDisabled, onRestart }: RestartNoticeProps) {
  if (!isOn || !settings.changesWithRestart) return null;
  return (
    <Notice
      tone="neutral"
      title="A restart is needed"
      actions={
        <Button isDisabled={isDisabled} onPress={onRestart}>
          Restart now
        </Button>
      }
    >
      <p>Until then the machine runs with {differences(settings.running, settings.next).join("; ")}.</p>
      <p>A restart is like the reset button: what is not on its disk is lost.</p>
    </Notice>
  );
}

/** What is as the appliance has it is not a choice of its own: it follows the appliance. */
function withoutApplianceValues(part: MachineSettings, { appliance }: SettingsView): MachineSettings {
  const names = Object.keys(part) as (keyof MachineSettings)[];
  return Object.fromEntries(
    names.map((name) => [
      name,
      name !== "network" && part[name] === appliance[name] ? undefined : part[name],
    ]),
  );
}
