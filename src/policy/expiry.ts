const date = /^\d{4}-\d{2}-\d{2}$/;
const timestamp = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[-+]\d{2}:\d{2})$/;
const dayMs = 86_400_000;

/**
 * Whether a text is a time when an exception can end: a date that exists, or RFC 3339 as the API server requires it, with
 * seconds and a time zone.
 */
export function isExpiry(text: string): boolean {
  if (!date.test(text) && !timestamp.test(text)) return false;
  if (Number.isNaN(Date.parse(text))) return false;
  // Date.parse reads February 30 as March 2.
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split("-").map(Number);
  return new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day;
}

/** The first moment at which an exception no longer applies, in milliseconds since 1970. A date is a whole day in UTC. */
export const endOf = (expiresAt: string): number => Date.parse(expiresAt) + (date.test(expiresAt) ? dayMs : 0);

export const isExpired = ({ expiresAt }: { readonly expiresAt: string }, now: Date): boolean =>
  now.getTime() >= endOf(expiresAt);

/** Whole days until the end, rounded up; 0 or less: it has ended. */
export const daysLeft = (expiresAt: string, now: Date): number => Math.ceil((endOf(expiresAt) - now.getTime()) / dayMs);

/** The time on the last day of an exception at which it is as late as now: a whole number of days from now. Times stay as they are. */
export const withinItsDay = (expiresAt: string, now: Date): string =>
  date.test(expiresAt) ? `${expiresAt}T${now.toISOString().slice(11, 19)}Z` : expiresAt;

/** The longest time for which Meshward writes an exception, in days: that of `spec.exceptions.maxDays`. */
export const mostDays = 3660;

const unitsMs: Readonly<Record<string, number>> = { w: 7 * dayMs, d: dayMs, h: 3_600_000, m: 60_000, s: 1_000 };
const duration = /^(?:\d{1,9}[wdhms])+$/;

/**
 * When an exception ends that is written now: `90d`, `12w`, `36h` and `1d12h` from now, or what `expiresAt` accepts, which has to
 * be in the future. Days and weeks end with a day. `problem` is a sentence without a full stop.
 */
export function expiryOf(text: string, now: Date): { readonly expiresAt: string } | { readonly problem: string } {
  const expiresAt = isExpiry(text) ? text : duration.test(text) ? after(text, now) : undefined;
  if (expiresAt === undefined)
    return {
      problem:
        "expected a time from now such as 90d, 12w or 36h, a date such as 2027-01-31, or a time with a zone such as 2027-01-31T18:00:00Z",
    };
  if (endOf(expiresAt) <= now.getTime()) return { problem: `${text} is not in the future` };
  return daysLeft(expiresAt, now) > mostDays + 1
    ? { problem: `an exception for more than ${mostDays} days is none: nobody would look at it again` }
    : { expiresAt };
}

/** The time after a duration, as a date if the duration is of whole days. */
function after(text: string, now: Date): string {
  const parts = [...text.matchAll(/(\d+)([wdhms])/g)];
  const ms = parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (unitsMs[unit] ?? 0), 0);
  const time = new Date(Math.min(now.getTime() + ms, latestMs)).toISOString();
  return parts.every(([, , unit]) => unit === "d" || unit === "w") && ms > 0
    ? time.slice(0, 10)
    : `${time.slice(0, 19)}Z`;
}
/** The last time that has four digits for its year. */
const latestMs = Date.UTC(9999, 11, 31);
