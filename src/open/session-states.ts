import { ByreError, type Qcow2Snapshot, toByreError } from "../../disk/index.ts";
import type { Machine, SnapshotChange } from "../../emulator/index.ts";
import { library } from "../library/library.ts";
import {
  type AutosaveMinutes,
  DEFAULT_AUTOSAVE_MINUTES,
  type MachineRecord,
  type StateReference,
} from "../library/machine-record.ts";
import { modifierReleases } from "../machine-tools/scan-codes.ts";
import { AUTOSAVE_NAME, type Autosave, startAutosave } from "./autosave.ts";
import type { SessionParts } from "./create-session.ts";
import type { SavedState, SessionActivity, SessionNotice, WorkOptions } from "./machine-session.ts";
import { machineFromSnapshot } from "./new-from-snapshot.ts";
import { SUSPENDED_NAME, savedAtMs } from "./start-plan.ts";
import { StateWork, type WorkHooks } from "./state-work.ts";

/** The saved states of an open machine: what a person does with them, and what the machine does by itself. */
export class SessionStates {
  private readonly work: StateWork;
  private readonly autosave: Autosave | undefined;
  private minutes: AutosaveMinutes;
  private shownNotices: readonly SessionNotice[] = [];

  constructor(
    private readonly parts: SessionParts,
    private readonly changed: () => void,
  ) {
    const { record, machine } = parts;
    this.work = new StateWork(changed);
    this.minutes = record?.autosaveMinutes ?? DEFAULT_AUTOSAVE_MINUTES;
    if (record) this.autosave = startAutosave(machine, this.minutes, () => this.saveByItself());
  }

  get activity(): SessionActivity | undefined {
    return this.work.activity;
  }

  get busy(): boolean {
    return this.work.busy;
  }

  get notices(): readonly SessionNotice[] {
    return this.shownNotices;
  }

  get autosaveMinutes(): AutosaveMinutes | undefined {
    return this.autosave && this.minutes;
  }

  async setAutosaveMinutes(minutes: AutosaveMinutes): Promise<void> {
    const { id } = this.kept("saves itself");
    await library.update(id, { autosaveMinutes: minutes });
    this.minutes = minutes;
    this.autosave?.setMinutes(minutes);
    if (minutes === 0) this.dropNotice(AUTOSAVE_NAME);
    this.changed();
  }

  dismissNotice(id: string): void {
    this.dropNotice(id);
    this.changed();
  }

  list(): SavedState[] {
    return this.machine.snapshots().map(savedState);
  }

  /** By id; else, of those with this name, the newest. */
  find(idOrName: string): SavedState {
    const all = this.list();
    const found = all.find(({ id }) => id === idOrName) ?? all.findLast(({ name }) => name === idOrName);
    if (found) return found;
    throw new ByreError("SNAPSHOT_NOT_FOUND", `${this.parts.name} has no saved state "${idOrName}".`, {
      snapshot: idOrName,
    });
  }

  save(name: string, options: WorkOptions & { readonly description?: string } = {}): Promise<SavedState> {
    const { description } = options;
    return this.work.show({ kind: "saving", name }, options, async (hooks) =>
      savedState(
        await this.machine.save(name, { ...hooks, ...(description !== undefined && { description }) }),
      ),
    );
  }

  load(idOrName: string, options: WorkOptions & { readonly diskOnly?: boolean } = {}): Promise<void> {
    const { diskOnly = false } = options;
    return this.work.show({ kind: "loading", name: this.nameOf(idOrName) }, options, async (hooks) => {
      const state = this.find(idOrName);
      const load = () => this.machine.load(state.id, { diskOnly, ...loadHooks(hooks) });
      await (this.parts.mark?.starting(reference(state), load) ?? load());
      // Keys that were down when it was saved are not now.
      this.machine.keyboard.sendScancodes(modifierReleases()).catch(() => {});
    });
  }

  /** After `suspend`: goes on from where it was. */
  goOnSuspended(state: StateReference): Promise<void> {
    return this.load(state.id);
  }

  suspend(options: WorkOptions = {}): Promise<void> {
    return this.work.show({ kind: "suspending", name: SUSPENDED_NAME }, options, async (hooks) => {
      this.kept("is suspended");
      await this.parts.mark?.suspending(async () => {
        const snapshot = await this.machine.save(SUSPENDED_NAME, { ...hooks, thenStop: true });
        return { id: snapshot.id, atMs: savedAtMs(snapshot) };
      });
    });
  }

  edit(idOrName: string, change: SnapshotChange): Promise<void> {
    return this.quietly(async () => {
      await this.machine.editSnapshot(this.find(idOrName).id, change);
      this.changed();
    });
  }

  delete(idOrName: string): Promise<void> {
    return this.quietly(async () => {
      const { mark } = this.parts;
      const { id } = this.find(idOrName);
      await this.machine.deleteSnapshot(id);
      if (mark?.suspended?.id === id) await mark.forgetSuspended();
      this.changed();
    });
  }

  startNew(idOrName: string, options: WorkOptions = {}): Promise<string> {
    return this.quietly((hooks) => machineFromSnapshot(this.parts, this.find(idOrName).id, hooks), options);
  }

  /** Shows that the disk is being exported; nothing else is done with its states meanwhile. */
  export(options: WorkOptions, work: (hooks: WorkHooks) => Promise<void>): Promise<void> {
    return this.work.show({ kind: "exporting", name: this.parts.name }, options, work);
  }

  /** Does something while no state is being written, without showing it. */
  quietly<Result>(work: (hooks: WorkHooks) => Promise<Result>, options?: WorkOptions): Promise<Result> {
    return this.work.inTurn(work, options);
  }

  /** Waits until all that was asked for is over; calls nothing off. */
  async settled(): Promise<void> {
    await this.quietly(async () => {}).catch(() => {});
  }

  /** Calls off what is under way, and waits until it is over. */
  callOff(): Promise<void> {
    return this.work.end();
  }

  end(): void {
    this.autosave?.end();
  }

  private get machine(): Machine {
    return this.parts.machine;
  }

  private saveByItself(): void {
    // Whatever is being done is a save, or makes one pointless.
    if (this.work.busy) return;
    this.work
      .show({ kind: "autosaving", name: AUTOSAVE_NAME }, {}, (hooks) =>
        this.machine.save(AUTOSAVE_NAME, hooks),
      )
      .then(
        () => this.dropNotice(AUTOSAVE_NAME),
        (error: unknown) => this.noteFailedAutosave(toByreError(error)),
      )
      .finally(this.changed);
  }

  private noteFailedAutosave({ code, message }: ByreError): void {
    this.dropNotice(AUTOSAVE_NAME);
    if (code === "CANCELLED") return;
    const text = `${this.parts.name} could not save itself. ${message}`;
    this.shownNotices = [...this.shownNotices, { id: AUTOSAVE_NAME, code, message: text }];
  }

  private dropNotice(id: string): void {
    this.shownNotices = this.shownNotices.filter((notice) => notice.id !== id);
  }

  private nameOf(idOrName: string): string {
    const state = this.list().find(({ id, name }) => id === idOrName || name === idOrName);
    return state?.name ?? idOrName;
  }

  private kept(what: string): MachineRecord {
    const { record, name } = this.parts;
    if (record) return record;
    throw new ByreError(
      "UNSUPPORTED_FEATURE",
      `${name} is thrown away when you leave, so it is not a machine that ${what}. Open its image without ` +
        '"ephemeral=1" to keep it.',
      { machine: name },
    );
  }
}

export function savedState(snapshot: Qcow2Snapshot): SavedState {
  const { id, name, vmStateBytes } = snapshot;
  return { id, name, savedAt: savedAtMs(snapshot), stateBytes: vmStateBytes };
}

function reference({ id, savedAt }: SavedState): StateReference {
  return { id, atMs: savedAt };
}

function loadHooks({ onProgress, signal }: WorkHooks) {
  return {
    signal,
    onProgress: ({ loadedBytes, totalBytes }: { loadedBytes: number; totalBytes: number }) =>
      onProgress(totalBytes === 0 ? 1 : loadedBytes / totalBytes),
  };
}
