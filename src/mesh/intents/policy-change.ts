import type { AnyObject } from "../../kube/object.ts";
import type { Change } from "../../view/overlay.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { actionOf, type AuthorizationPolicy, isEnforced } from "../authorization/policies.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import { type Box, everyRequest } from "../authorization/requests/boxes.ts";
import { matchOf } from "../authorization/requests/changed-rules.ts";
import { inside, outside } from "../authorization/requests/difference.ts";
import type { Match, Place } from "../authorization/requests/matches.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { type Ruled, rulesAt, textOf } from "../authorization/requests/policies.ts";
import { type Part, Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import { Undecided, Work, workOfQuestion } from "../authorization/requests/work.ts";
import { decisionsOf, isOfToken } from "../requests/decisions.ts";
import type { Guard } from "../requests/enforcement.ts";
import type { Caller } from "../requests/question.ts";

/** What a change of one AuthorizationPolicy changes for requests. */
export interface PolicyChange {
  /** The versions that are enforced, one or two. */
  readonly policies: readonly AuthorizationPolicy[];
  /** Both versions are enforced, with one action at the same workloads. */
  readonly isSameScope: boolean;
  /** What is allowed or denied by rules of one version that the other one does not cover, at each place. What none of them matches is decided as before... */
  readonly allowing: Matches;
  readonly denying: Matches;
  /** ... unless a pod has its first ALLOW policy, or loses its last one, which this change can do. */
  readonly isOfDefault: boolean;
}
export type Matches = Readonly<Record<Place, readonly Match[]>>;

const known = new WeakMap<Change, { readonly settings: MeshSettings; readonly changed: PolicyChange | undefined }>();

/** Computed once for a change, because a change of the root namespace reaches many intents. Undefined: it is not known. */
export function changeOfPolicy(change: Change, settings: MeshSettings): PolicyChange | undefined {
  const found = known.get(change);
  if (found?.settings === settings) return found.changed;
  const changed = computed(change, settings);
  known.set(change, { settings, changed });
  return changed;
}

function computed({ old, object }: Change, settings: MeshSettings): PolicyChange | undefined {
  const versions = [old, object].filter((one) => one !== undefined) as readonly AuthorizationPolicy[];
  if (versions.some((one) => one.malformed !== undefined || actionOf(one) === "CUSTOM")) return undefined;
  const policies = versions.filter((one) => isEnforced(one, settings));
  const isSameScope = policies.length === 2 && new Set(policies.map(scopeOf)).size === 1;
  const work = new Work(workOfQuestion);
  const matchesOf = (version: AnyObject | undefined, action: string): Matches =>
    byPlace((place) => {
      const rules = policies
        .filter((policy) => policy === version && actionOf(policy) === action)
        .flatMap((policy) => rulesAt(policy, place, settings));
      const others = isSameScope ? policies.filter((policy) => policy !== version) : [];
      return notCovered(
        rules,
        others.flatMap((policy) => rulesAt(policy, place, settings)),
        work,
      );
    });
  return {
    policies,
    isSameScope,
    allowing: joined(matchesOf(object, "ALLOW"), matchesOf(old, "DENY")),
    denying: joined(matchesOf(object, "DENY"), matchesOf(old, "ALLOW")),
    isOfDefault: !isSameScope && policies.some((one) => actionOf(one) === "ALLOW"),
  };
}

const byPlace = (of: (place: Place) => readonly Match[]): Matches => ({
  http: of("http"),
  tcp: of("tcp"),
  ztunnel: of("ztunnel"),
});
const joined = (a: Matches, b: Matches): Matches => byPlace((place) => [...a[place], ...b[place]]);

/** Without the rules of which the others match every request. What would take too much work counts as not covered. */
function notCovered(rules: readonly Ruled[], others: readonly Ruled[], work: Work): readonly Match[] {
  const texts = new Set(others.map(textOf));
  const left: Match[] = [];
  for (const ruled of rules)
    if (!texts.has(textOf(ruled)) && ifDecided(() => isCovered(ruled.match, others, work)) !== true)
      left.push(ruled.match);
  return left;
}

/** By rules that ask for nothing else: where what a rule asks for is not known, neither is what they match. */
function isCovered(match: Match, others: readonly Ruled[], work: Work): boolean {
  work.spend(others.length);
  const attributes = attributesOf(match);
  const covering = others.map(matchOf).filter((other) => attributesOf(other).isSubsetOf(attributes));
  return (
    covering.length > 0 &&
    inside(everyRequest, match, work).every((box) => outside(box, covering, work).next().done === true)
  );
}

const attributesOf = ({ sources, operations, conditions }: Match): ReadonlySet<Attribute> =>
  new Set([...sources.flat(), ...operations.flat(), ...conditions].map(({ attribute }) => attribute));

/** The workloads of a policy and its action, in a comparable form. */
const scopeOf = (policy: AuthorizationPolicy): string => {
  const { metadata, spec } = policy;
  return JSON.stringify([actionOf(policy), metadata.labels, { ...spec, action: undefined, rules: undefined }]);
};

/**
 * How requests may appear at a pod that nothing but routes is before: with the identity of the caller, or without one if the
 * connection is in plaintext. What a server may read otherwise than the caller sends it is left out.
 */
export function seenAs(caller: Caller, requests: Box, isUnchanged: boolean): readonly Box[] {
  const plaintext = withoutIdentity(requests, isUnchanged);
  if (caller.kind === "outside") return [plaintext];
  const sent = certain(requests, isUnchanged);
  if (caller.kind === "mesh") return [sent, plaintext];
  const named = sent.with(
    { attribute: "identity", values: new Texts(identitiesOf(caller)), not: false },
    new Work(mostWork),
  );
  return named === undefined ? [plaintext] : [named, plaintext];
}

/** The same of requests in plaintext. */
export function withoutIdentity(requests: Box, isUnchanged: boolean): Box {
  const sent = certain(requests, isUnchanged).without((attribute) => attribute === "identity");
  return sent.with({ attribute: "identity", values: absent, not: false }, new Work(mostWork)) ?? sent;
}

/** What routes can change. */
const isOfRoutes = (attribute: Attribute): boolean =>
  attribute === "path" || attribute === "host" || attribute.startsWith("header ");

const certain = (requests: Box, isUnchanged: boolean): Box =>
  requests.without(
    (attribute) => attribute === "port" || isOfToken(attribute) || (!isUnchanged && isOfRoutes(attribute)),
  );

function identitiesOf(caller: Caller): readonly (readonly Part[])[] {
  switch (caller.kind) {
    case "serviceAccount":
      return [[anything, caller.namespace.metadata.name, caller.name]];
    case "namespace":
      return [[anything, caller.namespace.metadata.name, anything]];
    case "workload":
      return [[anything, caller.namespace.metadata.name, caller.workload.pod.serviceAccountName]];
    case "ingress":
      return caller.proxies.map(({ namespace, serviceAccount }) => [anything, namespace.metadata.name, serviceAccount]);
    default:
      return [];
  }
}

/** The work for one question, in compared values: it has to take less than following the requests. */
const mostWork = 4_000;

/** What some rules match of some requests; undefined: to find it would take too much work. */
export function matchedOf(boxes: readonly Box[], matches: readonly Match[]): readonly Box[] | undefined {
  const work = new Work(mostWork);
  return ifDecided(() => boxes.flatMap((box) => matches.flatMap((match) => [...inside(box, match, work)])));
}

/** Whether policies certainly deny all of these requests at a pod. */
export function areDenied(boxes: readonly Box[], { enforcement, unclear }: Guard): boolean {
  if (enforcement === undefined || unclear !== undefined) return false;
  const work = new Work(mostWork);
  const areAll = (box: Box): boolean => {
    for (const { outcome } of decisionsOf(box, enforcement, work)) if (outcome.result !== "denied") return false;
    return true;
  };
  return ifDecided(() => boxes.every(areAll)) ?? false;
}

function ifDecided<T>(compute: () => T): T | undefined {
  try {
    return compute();
  } catch (error) {
    if (error instanceof Undecided) return undefined;
    throw error;
  }
}

const asking = new WeakMap<AuthorizationPolicy, boolean>();

/** Whether a rule of a policy asks for a token or a claim. */
export function asksForTokens(policy: AuthorizationPolicy, settings: MeshSettings): boolean {
  let asks = asking.get(policy);
  if (asks === undefined) {
    const all = rulesAt(policy, "http", settings).flatMap(({ match: { sources, operations, conditions } }) => [
      ...sources.flat(),
      ...operations.flat(),
      ...conditions,
    ]);
    asking.set(policy, (asks = all.some(({ attribute }) => isOfToken(attribute))));
  }
  return asks;
}
