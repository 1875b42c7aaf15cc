import type { Exception, Labels } from "./documents.ts";
import { compileWhere, type Place } from "./match.ts";

/** The exceptions, indexed by their namespace. */
export interface AcceptedFindings {
  find(ruleId: string, place: Place, now: Date): Exception | undefined;
}

interface Accepted {
  readonly exception: Exception;
  readonly rules: ReadonlySet<string>;
  readonly expiresAt: number;
  isObject(name: string, labels: Labels): boolean;
}

/** An exception applies only in its own namespace, so that whoever may write there may accept findings there. */
export function acceptedFindings(exceptions: readonly Exception[]): AcceptedFindings {
  const byNamespace = Map.groupBy(exceptions.map(compile), ({ exception }) => exception.namespace);
  return {
    find(ruleId, { namespace, name, labels }, now) {
      const accepted = byNamespace.get(namespace)?.find((one) => {
        return one.rules.has(ruleId) && now.getTime() < one.expiresAt && one.isObject(name, labels);
      });
      return accepted?.exception;
    },
  };
}

const compile = (exception: Exception): Accepted => ({
  exception,
  rules: new Set(exception.spec.rules),
  expiresAt: Date.parse(exception.expiresAt),
  isObject: compileWhere(exception.spec.match?.objects),
});

const isExpired = ({ expiresAt }: Exception, now: Date): boolean => now.getTime() >= Date.parse(expiresAt);

/** Exceptions that accepted no finding of a run and can be removed. Expired exceptions do not count as unused. */
export function unusedExceptions(
  exceptions: readonly Exception[],
  used: ReadonlySet<Exception>,
  now: Date,
): readonly Exception[] {
  return exceptions.filter((exception) => !used.has(exception) && !isExpired(exception, now));
}

const longestMs = 366 * 86_400_000;

/** Exceptions that end more than a year from now, so that hardly anybody will look at them again. */
export const longExceptions = (exceptions: readonly Exception[], now: Date): readonly Exception[] =>
  exceptions.filter(({ expiresAt }) => Date.parse(expiresAt) - now.getTime() > longestMs);

const timestamp = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[-+]\d{2}:\d{2})$/;

/** Whether a text is RFC 3339 as the API server requires it: with seconds, a time zone and a day that exists. */
export function isTimestamp(text: string): boolean {
  if (!timestamp.test(text) || Number.isNaN(Date.parse(text))) return false;
  // Date.parse reads February 30 as March 2.
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split("-").map(Number);
  return new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day;
}
