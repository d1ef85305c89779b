/** One thing that a server does, as a person is told. */
export interface HostFinding {
  /** `good`; `poor`: machines start, with a drawback; `bad`: none starts, or another one. */
  readonly level: "good" | "poor" | "bad";
  readonly what: string;
  /** How to mend it. */
  readonly remedy?: string;
}

/** Told of each thing that is found. */
export type Find = (level: HostFinding["level"], what: string, remedy?: string) => void;
