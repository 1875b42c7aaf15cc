import { oldestFirst } from "../objects/creation-order.ts";
import type { AuthorizationPolicy } from "./policies.ts";
import type { Matched } from "./reach.ts";
import {
  everyOrdinary,
  isForEveryone,
  isForMesh,
  isOfEveryone,
  noOrdinary,
  type Ordinary,
  unite,
} from "./requests/ordinary.ts";

/**
 * The combined effect of the policies that apply to one workload, gateway or service. A *default deny* is what refuses
 * ordinary requests of unnamed callers (`requests/ordinary.ts`): ALLOW policies that do not allow them, or DENY policies
 * that deny them.
 */
export interface Coverage {
  /** A DENY policy that matches every request; no other policy can override it. */
  readonly sealedBy: AuthorizationPolicy | undefined;
  /** A DENY policy that denies every unnamed caller, but not everyone. */
  readonly deniedBy: AuthorizationPolicy | undefined;
  /** An ALLOW policy that does not allow everyone, so that requests which no ALLOW policy matches are denied; one without rules, if there is one. */
  readonly closedBy: AuthorizationPolicy | undefined;
  /** An ALLOW policy that allows everyone. One matching ALLOW policy is enough, so the others have no effect. */
  readonly openedAloneBy: AuthorizationPolicy | undefined;
  /** The youngest ALLOW policy that allows some ordinary requests of unnamed callers, but not all of them. */
  readonly partlyOpenedBy: AuthorizationPolicy | undefined;
  /** The ordinary requests that ALLOW policies allow together. */
  readonly allowed: Ordinary;
  /** The ordinary requests that DENY policies deny together. */
  readonly denied: Ordinary;
}

export const noCoverage: Coverage = {
  sealedBy: undefined,
  deniedBy: undefined,
  closedBy: undefined,
  openedAloneBy: undefined,
  partlyOpenedBy: undefined,
  allowed: noOrdinary,
  denied: noOrdinary,
};

/** The combined effect of two sets of policies. Of several policies with the same effect, the oldest is returned; of ALLOW policies, one without rules. */
export function together(a: Coverage, b: Coverage): Coverage {
  if (a === noCoverage) return b;
  if (b === noCoverage) return a;
  return {
    sealedBy: older(a.sealedBy, b.sealedBy),
    deniedBy: older(a.deniedBy, b.deniedBy),
    closedBy: closing(a.closedBy, b.closedBy),
    openedAloneBy: older(a.openedAloneBy, b.openedAloneBy),
    partlyOpenedBy: younger(a.partlyOpenedBy, b.partlyOpenedBy),
    allowed: unite(a.allowed, b.allowed),
    denied: unite(a.denied, b.denied),
  };
}

/** The effect of one policy. */
export function coverageOf(policy: AuthorizationPolicy, isAllow: boolean, { ordinary, reach }: Matched): Coverage {
  const isForAll = reach === "everyone";
  if (isAllow && isForAll) return { ...noCoverage, openedAloneBy: policy, allowed: ordinary };
  const isPartlyOpen = ordinary.strangers.some((bits) => bits !== 0);
  if (isAllow)
    return { ...noCoverage, closedBy: policy, partlyOpenedBy: isPartlyOpen ? policy : undefined, allowed: ordinary };
  return {
    ...noCoverage,
    sealedBy: isForAll ? policy : undefined,
    deniedBy: isOfEveryone(ordinary) && !isForAll ? policy : undefined,
    denied: ordinary,
  };
}

const older = (
  a: AuthorizationPolicy | undefined,
  b: AuthorizationPolicy | undefined,
): AuthorizationPolicy | undefined => {
  if (a === undefined || b === undefined) return a ?? b;
  return oldestFirst(a, b) <= 0 ? a : b;
};
/** One without rules is there for nothing but the default deny. */
const closing: typeof older = (a, b) => {
  const empty = [a, b].filter((policy) => policy?.spec.rules.length === 0);
  return empty.length === 1 ? empty[0] : older(a, b);
};
const younger = (
  a: AuthorizationPolicy | undefined,
  b: AuthorizationPolicy | undefined,
): AuthorizationPolicy | undefined => (older(a, b) === a ? (b ?? a) : a);

/** An ALLOW policy that allows everyone, or that does so together with others. */
export const openedBy = ({ openedAloneBy, partlyOpenedBy, allowed }: Coverage): AuthorizationPolicy | undefined =>
  openedAloneBy ?? (isForEveryone(allowed) ? partlyOpenedBy : undefined);

/** Whether some policy denies by default, even if another policy cancels its effect. */
export const hasDefaultDeny = (coverage: Coverage): boolean =>
  coverage.sealedBy !== undefined ||
  coverage.closedBy !== undefined ||
  isOfEveryone(coverage.denied) ||
  isDeniedByDefault(coverage);

/** Whether workloads of the mesh may send every ordinary request, whatever they are called. */
export function isOpenToMesh(coverage: Coverage): boolean {
  const { sealedBy, closedBy, openedAloneBy, allowed, denied } = coverage;
  if (sealedBy !== undefined || isForMesh(denied)) return false;
  if (closedBy === undefined && openedAloneBy === undefined) return true;
  return isForMesh(allowed) || isForEveryone(allowed);
}

/**
 * Whether ordinary requests of unnamed callers are denied: DENY policies deny all of them, or there are ALLOW policies which
 * do not allow all of them. DENY takes precedence over ALLOW, and one matching ALLOW is enough.
 */
export function isDeniedByDefault(coverage: Coverage): boolean {
  const { sealedBy, closedBy, openedAloneBy, allowed, denied } = coverage;
  if (sealedBy !== undefined || isOfEveryone(denied)) return true;
  if (closedBy === undefined && openedAloneBy === undefined) return false;
  if (!isForEveryone(allowed)) return true;
  return allowed.strangers.every((bits, i) => bits !== everyOrdinary || denied.strangers[i] === everyOrdinary);
}
