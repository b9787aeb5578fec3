const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/**
 * How long ago, in words of the reader's language: "just now", "12 seconds ago", "3 days ago".
 *
 * @param then ms since 1970, a Date or an ISO text; null: "never"
 * @param now ms since 1970
 */
export function formatTimeAgo(then: number | string | Date | null | undefined, now = Date.now(), locale?: string): string {
  if (then == null) return "never";
  const seconds = Math.round((now - new Date(then).getTime()) / 1000);
  if (Number.isNaN(seconds)) return "never";
  // A clock that is a little ahead is no future.
  if (seconds < 5) return "just now";
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? (["second", 1] as const);
  return new Intl.RelativeTimeFormat(locale, { numeric: "always" }).format(-Math.floor(seconds / size), unit);
}
