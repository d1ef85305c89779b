import type { Machine } from "../../emulator/index.ts";
import { library } from "../library/library.ts";
import type { MachineRecord, StateReference } from "../library/machine-record.ts";

type RunFields = Pick<MachineRecord, "openedAt" | "startedFrom" | "suspended">;

/**
 * Keeps in a machine's record whether it is on and where it would go on from, so that whoever opens it after a
 * crash finds out. Changes that belong together are one transaction: a machine is never on and suspended.
 */
export class RunMark {
  private line: Promise<unknown> = Promise.resolve();
  private fields: RunFields;
  /** Set while something else decides what a stop or start means. */
  private held = false;
  /** Holds the mark against the machine. */
  private look = () => {};

  private readonly id: string;

  constructor(record: MachineRecord) {
    const { id, openedAt, startedFrom, suspended } = record;
    this.id = id;
    this.fields = { openedAt, startedFrom, suspended };
  }

  get suspended(): StateReference | undefined {
    return this.fields.suspended;
  }

  /**
   * Marks the machine as on, from the state it starts from if it is one of its own; then starts it. The mark
   * comes first: a crash between the two makes the next opening ask, and never roll the disk back unasked.
   * What the mark was is put back when the start fails.
   */
  async starting<Result>(from: StateReference | undefined, start: () => Promise<Result>): Promise<Result> {
    const before = this.fields;
    return this.holding(async () => {
      await this.write({ openedAt: Date.now(), startedFrom: from, suspended: undefined });
      try {
        return await start();
      } catch (error) {
        await this.write(before).catch(() => {});
        throw error;
      }
    });
  }

  /** Keeps the record of a machine that was just made and started. */
  async keep(record: MachineRecord): Promise<void> {
    this.fields = { openedAt: Date.now(), startedFrom: undefined, suspended: undefined };
    await library.put({ ...record, ...this.fields });
  }

  /** Suspends: `save` switches the machine off and gives the state, which is then where to go on. */
  async suspending(save: () => Promise<StateReference>): Promise<void> {
    await this.holding(async () => {
      const suspended = await save();
      await this.write({ openedAt: undefined, startedFrom: undefined, suspended });
    });
  }

  /** The suspended state was deleted: the disk is booted next. */
  async forgetSuspended(): Promise<void> {
    await this.write({ ...this.fields, suspended: undefined });
  }

  /** Follows the machine's own stops and starts. Returns a function that ends it. */
  follow(machine: Machine): () => void {
    this.look = () => {
      const on = machine.state !== "stopped";
      if (this.held || on === (this.fields.openedAt !== undefined)) return;
      if (!on && this.fields.suspended) return;
      // That the mark could not be written only makes the next opening ask too much, or too little.
      this.write({
        openedAt: on ? Date.now() : undefined,
        startedFrom: undefined,
        suspended: undefined,
      }).catch(() => {});
    };
    return machine.onChange(() => this.look());
  }

  /** Resolves when everything is written. */
  async settled(): Promise<void> {
    await this.line;
  }

  private async holding<Result>(work: () => Promise<Result>): Promise<Result> {
    this.held = true;
    try {
      return await work();
    } finally {
      this.held = false;
      this.look();
    }
  }

  private write(fields: RunFields): Promise<void> {
    this.fields = fields;
    const turn = this.line.then(async () => {
      await library.update(this.id, fields);
    });
    this.line = turn.catch(() => {});
    return turn;
  }
}
