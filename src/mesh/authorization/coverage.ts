import { oldestFirst } from "../objects/creation-order.ts";
import type { AuthorizationPolicy } from "./policies.ts";

/** The combined effect of the policies that apply to one workload, gateway or service. */
export interface Coverage {
  /** A DENY policy that matches every request; no other policy can override it. */
  readonly sealedBy: AuthorizationPolicy | undefined;
  /** An ALLOW policy that does not allow everyone, so that requests which no ALLOW policy matches are denied. */
  readonly closedBy: AuthorizationPolicy | undefined;
  /** An ALLOW policy that allows everyone. One matching ALLOW policy is enough, so the others have no effect. */
  readonly openedBy: AuthorizationPolicy | undefined;
}

export const noCoverage: Coverage = { sealedBy: undefined, closedBy: undefined, openedBy: undefined };

/** The combined effect of two sets of policies. Of several policies with the same effect, the oldest is returned. */
export function together(a: Coverage, b: Coverage): Coverage {
  if (a === noCoverage) return b;
  if (b === noCoverage) return a;
  return {
    sealedBy: older(a.sealedBy, b.sealedBy),
    closedBy: older(a.closedBy, b.closedBy),
    openedBy: older(a.openedBy, b.openedBy),
  };
}

export const older = (
  a: AuthorizationPolicy | undefined,
  b: AuthorizationPolicy | undefined,
): AuthorizationPolicy | undefined => {
  if (a === undefined || b === undefined) return a ?? b;
  return oldestFirst(a, b) <= 0 ? a : b;
};

/** Whether some policy denies by default, even if another policy cancels its effect. */
export const hasDefaultDeny = ({ sealedBy, closedBy }: Coverage): boolean =>
  sealedBy !== undefined || closedBy !== undefined;

/**
 * Whether a request that no policy allows is denied. DENY takes precedence over ALLOW, and one matching ALLOW is
 * enough.
 */
export const isDeniedByDefault = ({ sealedBy, closedBy, openedBy }: Coverage): boolean =>
  sealedBy !== undefined || (closedBy !== undefined && openedBy === undefined);
