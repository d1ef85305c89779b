import { ByreError } from "../errors.ts";

/** What all files have in common that are only read: they take no change, and nothing once they are closed. */
export abstract class ReadOnlyFile {
  readonly writable = false;
  readonly transactional = false;
  readonly dirtyBytes = 0;
  protected closed = false;

  /** @param kind what it is, for the message that refuses a change: "a CD". */
  constructor(
    readonly name: string,
    readonly sizeBytes: number,
    private readonly kind: string,
  ) {}

  canWriteNow(): boolean {
    return false;
  }

  write(): void {
    this.refuseToChange();
  }

  truncate(): void {
    this.refuseToChange();
  }

  forget(): void {
    this.refuseToChange();
  }

  async flush(): Promise<void> {
    this.checkOpen();
  }

  /** @throws ByreError CLOSED. */
  protected checkOpen(): void {
    if (this.closed) throw this.closedError();
  }

  protected closedError(): ByreError {
    return new ByreError("CLOSED", `${this.name} is closed.`, { file: this.name });
  }

  private refuseToChange(): never {
    this.checkOpen();
    throw new ByreError("READ_ONLY", `${this.name} is ${this.kind} and is only read.`, { file: this.name });
  }
}
