import { useEffect, useState } from "react";
import { formatAgo, formatMoment } from "./format.ts";

/** "5 minutes ago" has to stay true while it is looked at; the words change by the minute. */
const STEP_MS = 20_000;

/** How long ago a time was, in milliseconds since 1970; the exact time is its title. */
export function TimeAgo({ time }: { time: number }) {
  const [, refresh] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => refresh((count) => count + 1), STEP_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <time dateTime={new Date(time).toISOString()} title={formatMoment(time)}>
      {formatAgo(time, Date.now())}
    </time>
  );
}
