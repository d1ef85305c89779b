import type { ByreError } from "../disk/index.ts";
import { createChangeNotifier } from "./change-notifier.ts";
import type { MachineError, MachineState } from "./machine.ts";

/** The state that a machine is in, and what is wrong where that is `error`. */
export class MachineCondition {
  private currentState: MachineState = "starting";
  private currentError: MachineError | undefined;
  /** Whether the error is one after which the guest is not what it was. */
  private deadly = false;
  private readonly changes = createChangeNotifier();

  get state(): MachineState {
    return this.currentState;
  }

  get error(): MachineError | undefined {
    return this.currentError;
  }

  /** Whether no retry helps. */
  get isDeadly(): boolean {
    return this.deadly;
  }

  change(state: Exclude<MachineState, "error">): void {
    this.set(state, undefined);
  }

  halt(error: ByreError, deadly: boolean): void {
    this.deadly = deadly;
    this.set("error", { code: error.code, message: error.message, cause: error });
  }

  /** Calls back when state or error changed. */
  onChange(listener: () => void): () => void {
    return this.changes.add(listener);
  }

  private set(state: MachineState, error: MachineError | undefined): void {
    this.currentState = state;
    this.currentError = error;
    this.changes.notify();
  }
}
