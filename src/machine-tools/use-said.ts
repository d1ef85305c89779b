import { useEffect, useState } from "react";

/** Long enough to be read. */
const STAYS_MS = 4000;

/** A word or two on what was just done, which goes away by itself. */
export function useSaid(): readonly [string | undefined, (text: string) => void] {
  const [said, setSaid] = useState<{ readonly text: string }>();
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(undefined), STAYS_MS);
    return () => clearTimeout(timer);
  }, [said]);
  return [said?.text, (text) => setSaid({ text })];
}
