/**
 * Runs one action at a time, and lets callers share runs.
 *
 * A caller that comes while a run is under way, and needs what came after that run began, gets the next
 * one, together with everyone else who came meanwhile.
 */
export class SingleFlight {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(private readonly action: () => Promise<void>) {}

  /** The run under way, if any. */
  get current(): Promise<void> | undefined {
    return this.running;
  }

  /**
   * @param covered whether the run under way already holds all that the caller needs
   * @throws what the run that the caller shares throws.
   */
  run(covered: boolean): Promise<void> {
    if (!this.running) return this.start();
    if (covered) return this.running;
    this.next ??= this.afterCurrent();
    return this.next;
  }

  private async afterCurrent(): Promise<void> {
    try {
      while (this.running) await settled(this.running);
    } finally {
      this.next = undefined;
    }
    await this.start();
  }

  private start(): Promise<void> {
    const running = this.action().finally(() => {
      if (this.running === running) this.running = undefined;
    });
    this.running = running;
    return running;
  }
}

/** Waits for a promise without caring how it ends. */
export async function settled(promise: Promise<unknown>): Promise<void> {
  await promise.then(
    () => {},
    () => {},
  );
}
