import type { Labels } from "../kube/object.ts";
import type { Exception } from "./documents.ts";
import { limitsIn, refusalsOf } from "./exception-limits.ts";
import { daysLeft, isExpired } from "./expiry.ts";
import type { Policies } from "./policies.ts";

/**
 * What somebody should know about an exception:
 * - `expired`, `notAllowed`: it accepts nothing.
 * - `unused`: it accepts no finding of the mesh.
 * - `endsSoon`: its findings will count again soon.
 * - `wide`: it accepts findings on objects that do not exist yet.
 * - `long`: it ends so late that hardly anybody will look at it again.
 */
export type ExceptionState = "expired" | "notAllowed" | "unused" | "endsSoon" | "wide" | "long";

export interface ExceptionRemark {
  readonly exception: Exception;
  readonly state: ExceptionState;
  /** The rest of a sentence that begins with the title. */
  readonly text: string;
}

export interface ExceptionContext {
  readonly now: Date;
  /** The labels of a namespace; empty if it is not known. */
  labelsOf(namespace: string): Labels;
  /** The exceptions that accepted a finding of the whole mesh; undefined: that is not known. */
  readonly used?: ReadonlySet<Exception> | undefined;
}

const soonDays = 14;
const longDays = 366;

/** Everything that is remarkable about the exceptions, in their order; at most one remark of each kind for each. */
export function exceptionRemarks(policies: Policies, context: ExceptionContext): readonly ExceptionRemark[] {
  return policies.exceptions.flatMap((exception) =>
    remarksOn(exception, policies, context).map(([state, text]) => ({ exception, state, text })),
  );
}

type Remark = readonly [state: ExceptionState, text: string];

function remarksOn(
  exception: Exception,
  policies: Policies,
  { now, labelsOf, used }: ExceptionContext,
): readonly Remark[] {
  const { expiresAt, spec, namespace } = exception;
  if (isExpired(exception, now)) return [["expired", `expired, ${expiresAt}, and accepts nothing; delete it`]];
  const limits = limitsIn({ namespace, namespaceLabels: labelsOf(namespace) }, policies.index);
  const refusals = refusalsOf(spec, limits, now);
  const remarks: Remark[] = [];
  if (refusals.length > 0)
    remarks.push([
      "notAllowed",
      `has no effect as far as it is not allowed: ${refusals.map(({ message }) => message).join("; ")}`,
    ]);
  else if (used !== undefined && !used.has(exception))
    remarks.push(["unused", "accepts no finding of this mesh; delete it if it is no longer needed"]);
  const days = daysLeft(expiresAt, now);
  if (days <= soonDays) remarks.push(["endsSoon", `ends in ${days === 1 ? "1 day" : `${days} days`}, ${expiresAt}`]);
  if (days > longDays)
    remarks.push(["long", `ends more than a year from now, ${expiresAt}; give it an earlier expiresAt`]);
  if (isWide(exception)) {
    const what = refusals.length > 0 ? "accepts, as far as it is allowed, every" : "accepts every";
    remarks.push([
      "wide",
      `${what} finding of its rules in its namespace, also on objects that do not exist yet; limit it with spec.match`,
    ]);
  }
  return remarks;
}

/** Whether an exception accepts findings on any object of its namespace. */
export function isWide({ spec }: Exception): boolean {
  const { objects, fingerprints } = spec.match ?? {};
  if (fingerprints !== undefined || objects?.labels !== undefined || objects?.kinds !== undefined) return false;
  return objects?.names === undefined || objects.names.some((name) => /^\*+$/.test(name));
}
