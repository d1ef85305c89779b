import { ByreError } from "../disk/index.ts";

/** The operations of one machine, strictly one after the other. */
export class OperationLine {
  private last: Promise<unknown> = Promise.resolve();
  private pressing = 0;
  private readonly hurried = new Set<() => void>();

  /** @param isClosed from then on every operation is refused. */
  constructor(private readonly isClosed: () => boolean) {}

  /** Does something when all that was asked for before it is done. */
  inTurn<Result>(operation: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(() => {
      if (this.isClosed()) throw new ByreError("CLOSED", "The machine is closed.");
      return operation();
    });
    this.last = result.catch(() => undefined);
    return result;
  }

  /** As `inTurn`; what is before it in the line stops waiting, see `orPressed`. */
  pressed<Result>(operation: () => Promise<Result>): Promise<Result> {
    this.pressing++;
    for (const hurry of this.hurried) hurry();
    const turn = this.last.then(() => {
      this.pressing--;
    });
    this.last = turn;
    return this.inTurn(operation);
  }

  /** For an operation that waits for what may never come: resolves then, or when another presses. */
  async orPressed(waiting: Promise<unknown>): Promise<void> {
    if (this.pressing > 0) return;
    let hurry = () => {};
    const hurried = new Promise<void>((resolve) => {
      hurry = resolve;
    });
    this.hurried.add(hurry);
    await Promise.race([waiting, hurried]).finally(() => this.hurried.delete(hurry));
  }
}
