const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** A size in three digits or so: "512 bytes", "1.4 MiB", "24 MiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.5 KiB would be rounded to 1024: go on to the next unit from there.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

const AGO: readonly (readonly [unit: Intl.RelativeTimeFormatUnit, seconds: number])[] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** How long ago, in words, up to a month; then the date. Times are milliseconds since 1970. */
export function formatAgo(time: number, now: number, locale = "en"): string {
  const seconds = Math.max(0, (now - time) / 1000);
  if (seconds < 60) return "just now";
  if (seconds > 30 * 86_400) return new Intl.DateTimeFormat(locale, { dateStyle: "medium" }).format(time);
  const [unit, length] = AGO.find(([, length]) => seconds >= length) ?? ["minute", 60];
  return new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(-Math.floor(seconds / length), unit);
}

/** A moment to the minute, in the person's own time zone: "Nov 21, 2026, 3:04 PM". */
export function formatMoment(time: number, locale = "en"): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(time);
}
