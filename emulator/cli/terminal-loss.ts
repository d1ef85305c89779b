import type { EventEmitter } from "node:events";
import { isatty } from "node:tty";
import { RunExit } from "./run-exit.ts";

/** How a run ends whose terminal, or what stands in its place, is gone. */
export interface TerminalLoss {
  readonly exitCode: number;
  readonly message?: string;
}

/**
 * Keeps SIGHUP and errors of the streams from ending the process, which has something to store first. Where there is
 * one there are others, of each write, of the terminal's mode, a SIGHUP of the kernel and one of the shell: the first
 * counts, and the others are no wish to end at once.
 */
export class TerminalWatch {
  private first: TerminalLoss | undefined;
  private readonly listeners = new Set<(loss: TerminalLoss) => void>();

  constructor(private readonly streams: readonly EventEmitter[]) {}

  get loss(): TerminalLoss | undefined {
    return this.first;
  }

  begin(): void {
    for (const stream of this.streams) stream.on("error", this.onError);
    process.on("SIGHUP", this.onHangup);
  }

  stop(): void {
    for (const stream of this.streams) stream.off("error", this.onError);
    process.off("SIGHUP", this.onHangup);
  }

  /** Calls back with the first loss, at once if it has been. */
  onLoss(listener: (loss: TerminalLoss) => void): () => void {
    this.listeners.add(listener);
    if (this.first) listener(this.first);
    return () => void this.listeners.delete(listener);
  }

  private readonly onHangup = () => this.lose({ exitCode: RunExit.HANGUP });

  private readonly onError = ({ code, message }: NodeJS.ErrnoException) => {
    // Nobody reads any more what the machine says.
    if (code === "EPIPE") this.lose({ exitCode: RunExit.OK });
    // A window that was closed, of which SIGHUP may tell only later.
    else if (code === "EIO") this.onHangup();
    else this.lose({ exitCode: RunExit.FAILED, message: `standard input or output failed: ${message}.` });
  };

  private lose(loss: TerminalLoss): void {
    if (this.first) return;
    this.first = loss;
    for (const listener of this.listeners) listener(loss);
  }
}

/**
 * Node aborts at its end where a terminal is gone that it began with. The process ends as one that SIGHUP ends then,
 * which a shell counts as 129 too.
 */
export function endWithTerminal(): void {
  const terminals = [0, 1, 2].filter(isatty);
  process.once("exit", () => {
    if (!terminals.every(isatty)) process.kill(process.pid, "SIGHUP");
  });
}
