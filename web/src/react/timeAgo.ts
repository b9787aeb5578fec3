const UNITS = { year: 31_557_600, month: 2_629_800, day: 86_400, hour: 3_600, minute: 60, second: 1 };

/**
 * How long ago, in words of the reader's language: "just now", "12 seconds ago", "3 days ago".
 *
 * @param then ms since 1970, a Date or an ISO text; null: "never"
 * @param now ms since 1970
 */
export function formatTimeAgo(then: number | string | Date | null | undefined, now = Date.now(), locale?: string): string {
  const seconds = (now - +new Date(then ?? NaN)) / 1000;
  // A clock that is a little ahead is no future; and what is no time is neither before nor after.
  if (!(seconds >= 5)) return seconds < 5 ? "just now" : "never";
  const [unit, size] = Object.entries(UNITS).find(([, size]) => seconds >= size)!;
  return new Intl.RelativeTimeFormat(locale).format(-Math.floor(seconds / size), unit as Intl.RelativeTimeFormatUnit);
}
