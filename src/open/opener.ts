import { ByreError, toByreError } from "../../disk/index.ts";
import { plainName } from "./file-names.ts";
import { imageHash } from "./machine-link.ts";
import type { MachineSession } from "./machine-session.ts";
import type { FileQuestion } from "./open-imported.ts";
import type { OpenRequest, ResumeQuestion } from "./open-machine.ts";
import { createProgress, type Progress } from "./progress.ts";
import type { StartQuestion } from "./start-question.ts";

/** What this tab does with machines: it has one at a time. */
export type OpenState =
  | { readonly phase: "none" }
  | {
      readonly phase: "opening";
      readonly request: OpenRequest;
      readonly progress: Progress;
      readonly cancel: () => void;
    }
  /**
   * Another machine is on in this tab, or something is done with its disk. `goOn` switches it off first, and calls off
   * what is done; one that was suspended meanwhile is off.
   */
  | {
      readonly phase: "asking";
      readonly request: OpenRequest;
      readonly running: MachineSession;
      readonly goOn: () => void;
      readonly cancel: () => void;
    }
  /** The machine was not switched off: it goes on from its last state, or its disk is booted as it is now. */
  | {
      readonly phase: "asking-resume";
      readonly request: OpenRequest;
      readonly name: string;
      /** When the state was saved, in milliseconds since 1970. */
      readonly savedAtMs: number;
      /** When the machine was opened before. */
      readonly lastUsedAtMs: number;
      readonly goOn: (fromState: boolean) => void;
      readonly cancel: () => void;
    }
  /** A file of the machine's is needed again: its copy in this browser is not whole. */
  | {
      readonly phase: "asking-file";
      readonly request: OpenRequest;
      readonly question: FileQuestion;
      /** With all that the person gave: another file of them may be needed next. */
      readonly goOn: (files: readonly File[]) => void;
      readonly cancel: () => void;
    }
  /** A new machine is about to be made: whether it may run. */
  | {
      readonly phase: "asking-start";
      readonly request: OpenRequest;
      readonly question: StartQuestion;
      readonly goOn: () => void;
      readonly cancel: () => void;
    }
  | { readonly phase: "failed"; readonly request: OpenRequest; readonly error: ByreError }
  | { readonly phase: "open"; readonly request: OpenRequest; readonly session: MachineSession };

export interface OpenOptions {
  /** Answers every question as accepted. */
  readonly unattended?: boolean;
}

export interface Opener {
  state(): OpenState;
  /** The machine that is open, whatever else is being opened. */
  session(): MachineSession | undefined;
  /**
   * Opens a machine; what was being opened before is called off. Asking for what is open or being opened
   * already gives that.
   *
   * @throws ByreError what `openMachine` throws; CANCELLED.
   */
  open(request: OpenRequest, options?: OpenOptions): Promise<MachineSession>;
  /**
   * Closes the open machine, if there is one; what the guest wrote is made durable first.
   *
   * @throws ByreError as `MachineSession.close`; the machine is still open then.
   */
  close(): Promise<void>;
  /**
   * Nobody looks at the open machine any more: one that is off is closed, once nothing is done with its disk. One that
   * is opened again until then stays.
   */
  leave(): void;
  /** Forgets a failure, or calls off what is being opened. */
  dismiss(): void;
  onChange(listener: () => void): () => void;
}

function createOpener(): Opener {
  const listeners = new Set<() => void>();
  let state: OpenState = { phase: "none" };
  /** The open machine and what was asked for to open it. */
  let here: { session: MachineSession; request: OpenRequest } | undefined;
  /** While the open machine is being closed. */
  let closing: Promise<void> | undefined;
  /** The last time that the open machine was left, until something is opened. */
  let left: object | undefined;
  let current:
    | { key: string; unattended: boolean; opening: Promise<MachineSession>; abort: AbortController }
    | undefined;

  function become(next: OpenState): void {
    state = next;
    for (const listener of listeners) listener();
  }

  function open(request: OpenRequest, options: OpenOptions = {}): Promise<MachineSession> {
    const key = keyOf(request);
    left = undefined;
    // One that is being closed is no use to anybody: it is opened anew.
    if (here && !closing && meansSame(here, request)) {
      current?.abort.abort();
      if (state.phase !== "open") become({ phase: "open", ...here });
      return Promise.resolve(here.session);
    }
    const { unattended = false } = options;
    // One that waits for answers is no good to whoever has nobody to give them.
    const serves =
      current?.key === key && !current.abort.signal.aborted && (current.unattended || !unattended);
    if (current && serves) return current.opening;
    current?.abort.abort();
    const abort = new AbortController();
    const before = current?.opening.catch(() => {});
    const progress = createProgress();
    const opened = { phase: "opening", request, progress, cancel: () => abort.abort() } as const;
    // At once: whoever looks next must see that something is being opened.
    become(opened);
    const opening = (async () => {
      // Two openings never overlap: the first may still hold a lock, or half-made files.
      await before;
      // Whoever closes it says what became of that.
      await closing?.catch(() => {});
      return openNow(opened, options, abort);
    })();
    current = { key, unattended, opening, abort };
    const mine = current;
    const end = () => {
      if (current === mine) current = undefined;
    };
    opening.then(end, end);
    return opening;
  }

  async function openNow(
    opening: Extract<OpenState, { phase: "opening" }>,
    options: OpenOptions,
    abort: AbortController,
  ): Promise<MachineSession> {
    const { signal } = abort;
    const { request, progress } = opening;
    /** What to try again with, should it fail: what was answered is not asked again. */
    let answered = request;
    try {
      // It could not be closed, and is still on.
      if (here && !signal.aborted && meansSame(here, request)) {
        become({ phase: "open", ...here });
        return here.session;
      }
      // The machine that is on does not make way for files that none can be made of.
      if (here && request.kind === "files")
        await (await import("./import-files.ts")).checkFiles(request.files);
      const same = here && (await leadsTo(here.session, request));
      if (here) {
        // Called off meanwhile, it asks nothing and switches nothing off.
        if (signal.aborted) throw staysOn(here.session);
        if (same) {
          become({ phase: "open", ...here });
          return here.session;
        }
        const isIdle = here.session.state === "stopped" && !here.session.busy;
        const accepted = isIdle || options.unattended;
        if (!accepted) await ask(request, here.session, abort);
        if (signal.aborted) throw staysOn(here.session);
        become(opening);
        await close();
      }
      const { openMachine } = await import("./open-machine.ts");
      const askResume = async (question: ResumeQuestion) => {
        if (options.unattended) return true;
        const goOn = await askFor<boolean>(question.name, abort, (answer) => ({
          phase: "asking-resume",
          request,
          ...question,
          ...answer,
        }));
        become(opening);
        return goOn;
      };
      const askStart = async (question: StartQuestion) => {
        if (options.unattended) return true;
        await askFor<void>(question.name, abort, (answer) => ({
          phase: "asking-start",
          request,
          question,
          ...answer,
        }));
        if (request.kind === "image") answered = { ...request, seen: true };
        become(opening);
        return true;
      };
      let given: readonly File[] = [];
      const askFile = async (question: FileQuestion) => {
        const named = () => given.find(({ name }) => plainName(name) === question.fileName);
        const before = question.problem ? undefined : named();
        if (before) return before;
        given = await askFor<readonly File[]>(question.fileName, abort, (answer) => ({
          phase: "asking-file",
          request,
          question,
          ...answer,
        }));
        become(opening);
        const file = named() ?? given[0];
        if (!file) throw cancelled(question.fileName);
        return file;
      };
      const session = await openMachine(request, {
        progress,
        signal,
        askResume,
        askStart,
        ...(!options.unattended && { askFile }),
      });
      // Nobody is there to read it.
      if (options.unattended) session.greeted();
      here = { session, request };
      // Called off when nothing looked any more.
      if (signal.aborted) {
        await close();
        throw cancelled(session.name);
      }
      // Done: whoever asks for something else now does not call this one off.
      if (current?.abort === abort) current = undefined;
      become({ phase: "open", ...here });
      return session;
    } catch (error) {
      const failure = toByreError(error);
      // Who called it off shows something else by now.
      if (!signal.aborted) become({ phase: "failed", request: answered, error: failure });
      else if (state.phase === "opening" && state.request === request) become({ phase: "none" });
      throw failure;
    }
  }

  function ask(request: OpenRequest, running: MachineSession, abort: AbortController): Promise<void> {
    return new Promise((resolve, reject) => {
      const refuse = () => {
        if (here) become({ phase: "open", ...here });
        reject(staysOn(running));
      };
      abort.signal.addEventListener("abort", refuse, { once: true });
      const cancel = () => abort.abort();
      become({ phase: "asking", request, running, cancel, goOn: resolve });
    });
  }

  /** Shows a question on the way; whoever calls it off opens nothing. */
  function askFor<Answer>(
    name: string,
    abort: AbortController,
    question: (answer: { goOn: (answer: Answer) => void; cancel: () => void }) => OpenState,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let asking: OpenState | undefined;
      const refuse = () => {
        if (state === asking) become({ phase: "none" });
        reject(cancelled(name));
      };
      if (abort.signal.aborted) return refuse();
      abort.signal.addEventListener("abort", refuse, { once: true });
      asking = question({ goOn: resolve, cancel: () => abort.abort() });
      become(asking);
    });
  }

  async function close(): Promise<void> {
    if (!here) return;
    closing ??= closeHere(here.session);
    await closing;
  }

  async function closeHere(session: MachineSession): Promise<void> {
    try {
      // May fail: then the machine is still there, with all that it has not stored.
      await session.close();
      here = undefined;
    } finally {
      closing = undefined;
    }
    if (state.phase === "open") become({ phase: "none" });
  }

  async function leave(): Promise<void> {
    const session = here?.session;
    const mine = {};
    left = mine;
    // An export that is under way, or a copy, is not called off unasked.
    while (session?.busy) {
      await session.settled();
      if (left !== mine) return;
    }
    // A machine that is on goes on behind the gallery; one that is off has no reason to keep its memory.
    // While its files are being copied it is what copies them.
    if (session?.state === "stopped" && session.copying?.progress.state !== "copying") await close();
  }

  return {
    state: () => state,
    session: () => here?.session,
    open,
    close,
    leave: () => void leave().catch(() => {}),
    dismiss() {
      current?.abort.abort();
      if (state.phase === "failed") become({ phase: "none" });
    },
    onChange(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

function staysOn({ name }: MachineSession): ByreError {
  return new ByreError("CANCELLED", `${name} goes on; nothing else was opened.`);
}

function cancelled(name: string): ByreError {
  return new ByreError("CANCELLED", `${name} was not opened.`);
}

/** Whether `request` means the machine that is open already. */
function meansSame(
  { session, request: openedBy }: { session: MachineSession; request: OpenRequest },
  request: OpenRequest,
): boolean {
  // A suspended machine is opened again to go on.
  if (session.suspended) return false;
  if (request.kind === "machine") return session.id === request.id;
  if (request.kind === "image" && request.fresh) return false;
  return keyOf(openedBy) === keyOf(request);
}

/** Whether `request` is a link to what the machine that is on was made of, however that was opened. */
async function leadsTo(session: MachineSession, request: OpenRequest): Promise<boolean> {
  if (request.kind !== "image" || request.fresh || request.diskOnly || session.suspended) return false;
  const { isThrownAway, machineFrom } = await import("./open-machine.ts");
  if (isThrownAway(request)) return false;
  const known = await machineFrom(request.image);
  return known !== undefined && known.id === session.id;
}

let counted = 0;

function keyOf(request: OpenRequest): string {
  const how = request.diskOnly ? "disk of " : "";
  if (request.kind === "machine") return `${how}machine ${request.id}`;
  // Files have no name that tells them apart: every drop is a request of its own.
  if (request.kind === "files") return `files ${counted++}`;
  return `${how}image ${imageHash(request.image, document.baseURI)}`;
}

/** The opener of this tab. */
export const opener: Opener = createOpener();
