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

/** The end of an exception that starts now and lasts for so many days, as a date. */
export const dateAfter = (days: number, now: Date): string =>
  new Date(now.getTime() + days * dayMs).toISOString().slice(0, 10);
