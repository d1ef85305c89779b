import { Notice } from "../components/notice.tsx";
import type { BaseSnapshotDescription } from "../open/machine-session.ts";

export interface SnapshotProblemsProps {
  description: Pick<BaseSnapshotDescription, "problem"> | undefined;
  /** Why it could not be described. */
  failure: string | undefined;
}

/** What of a snapshot cannot be read, or cannot be restored. */
export function SnapshotProblems({ description, failure }: SnapshotProblemsProps) {
  const problem = description?.problem;
  return (
    <>
      {failure && (
        <Notice tone="caution" title="Not all of it can be read">
          <p>{failure}</p>
        </Notice>
      )}
      {problem && (
        <Notice tone="caution" title="Its memory cannot be restored" code={problem.code}>
          <p>{problem.message}</p>
        </Notice>
      )}
    </>
  );
}
