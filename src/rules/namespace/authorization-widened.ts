import { defineRule, type Problem, type RuleSide } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import {
  type ChangedPlace,
  keyOfGain,
  losesDefaultDeny,
  placesBetween,
} from "../../mesh/authorization/changed-places.ts";
import {
  customAuthorization,
  customLevels,
  customPolicies,
  hasCustomPolicies,
  readsCustomAuthorization,
} from "../../mesh/authorization/custom-authorization.ts";
import { formatGain, formatRequest, formatRule, policiesOfGain } from "../../mesh/authorization/gain-wording.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { reachOf } from "../../mesh/authorization/reach.ts";
import type { Applied } from "../../mesh/authorization/requests/applied.ts";
import { type Answer, anyCallers, type Callers, Questions } from "../../mesh/authorization/requests/gains.ts";
import type { Gain } from "../../mesh/authorization/requests/policy-change.ts";
import { usuallyHarmless } from "../../mesh/authorization/requests/strangers.ts";
import { tcpPlaces } from "../../mesh/authorization/tcp-places.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { CertainCallers, kindsOfCertainCallers, readsCertainCallers } from "../../mesh/mtls/certain-callers.ts";
import {
  changedPlacesAndServed,
  placesServedBetween,
  readsServedPlaces,
  readsServedPolicies,
  ServedPolicies,
} from "../../mesh/waypoints/served-places.ts";

const reads = [
  ...readsServedPlaces,
  ...readsServedPolicies,
  ...readsCustomAuthorization,
  ...readsCertainCallers,
] as const;
type Side = RuleSide<"Namespace", (typeof reads)[number]>;

export const namespaceAuthorizationWidened = defineRule({
  id: "namespace-authorization-widened",
  subject: "Namespace",
  reads,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry", ...kindsOfCertainCallers],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary: "Callers may send requests that they could not send before.",
  why: "ALLOW policies are additive (Istio pilot/pkg/security/authz/builder/builder.go): each rule adds callers and operations, and a CUSTOM policy that is removed no longer calls its provider. Often that is the purpose of the change; the warning says who gains what. namespace-authorization-opened reports callers whom no policy names, and namespace-deny-weakened reports what a DENY policy no longer denies.",
  fix: "Check that the callers in the message should be allowed to send these requests.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "The callers in the message get answers to the requests in the message.",
    wayOut: "If it was not intended, delete the policy that the message names, or apply its previous version.",
    silentWhen:
      "Policies were rewritten and allow the same, they allow only tokens where no RequestAuthentication accepts any (authorization-policy-needs-token), or another rule reports the same change as a more serious problem.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const questions = new Questions((values) => after.mesh.visited(Math.ceil(values / 100)));
    const reported = new Set<string>();
    const callers = new CertainCallers(after);
    const opened = new OpenedAtTcp([before, after], callers);
    for (const place of changedPlacesAndServed(before, after)) {
      yield;
      if (place === undefined) continue;
      const found = widening(questions, place, callers.at(place));
      const { gain, isUndecided } = found;
      if (losesDefaultDeny(place) || (gain === undefined && !isUndecided)) continue;
      const key = gain === undefined ? "undecided" : keyOfGain(gain, place);
      if (reported.has(key) || (yield* opened.includes(found))) continue;
      yield gain === undefined ? undecidedAt(place) : problemOf(gain, place, key);
      reported.add(key);
    }
    yield* providersLost(before, after);
  },
});

/** What namespace-authorization-opened denies at ports of TCP, where nothing is gained at those of HTTP. Found when it is asked for. */
class OpenedAtTcp {
  readonly #sides: readonly [before: Side, after: Side];
  readonly #callers: CertainCallers;
  #rules: ReadonlySet<unknown> | undefined;

  constructor(sides: readonly [before: Side, after: Side], callers: CertainCallers) {
    this.#sides = sides;
    this.#callers = callers;
  }

  *includes({ gain, isOfTcp }: Widening): Generator<undefined, boolean> {
    if (isOfTcp !== true || gain?.by === undefined) return false;
    this.#rules ??= yield* this.#find();
    return this.#rules.has(gain.by);
  }

  *#find(): Generator<undefined, ReadonlySet<unknown>> {
    const [before, after] = this.#sides;
    const questions = new Questions((values) => after.mesh.visited(Math.ceil(values / 100)));
    const rules = new Set<unknown>();
    for (const one of tcpPlaces(before, after)) {
      yield;
      if (one === undefined || losesDefaultDeny(one.place)) continue;
      const of = { ...anyCallers, ...this.#callers.at(one.place), toPorts: one.toPorts };
      rules.add(questions.opened(one.place.asked, usuallyHarmless, of).gain?.by);
    }
    return rules;
  }
}

interface Widening extends Answer {
  /** Only ports that are not HTTP gain something. */
  readonly isOfTcp?: true;
}

/** Without what other rules report: an opening, and a policy of the namespace that allows every workload of the mesh. */
function widening(questions: Questions, place: ChangedPlace, callers: Callers | undefined): Widening {
  const nothing = { gain: undefined, isUndecided: false };
  const all = questions.widened(place.asked, callers);
  if (all.gain === undefined)
    return place.asked.is.place === "http" ? wideningOfTcp(questions, place, { callers, ofHttp: all }) : all;
  if (questions.opened(place.asked, usuallyHarmless, callers).gain !== undefined) return nothing;
  return isForEveryIdentity(all.gain, place) ? nothing : all;
}

function isForEveryIdentity({ by }: Gain, { asked: { is }, namespace }: ChangedPlace): boolean {
  const enforcer = is.place === "ztunnel" ? "ztunnel" : "proxy";
  return by?.policy.metadata.namespace === namespace && reachOf(by.policy, enforcer, is.settings) !== "some";
}

/** On a TCP port, proxies read rules in another way. What HTTP requests gain says enough. */
function wideningOfTcp(
  questions: Questions,
  { asked }: ChangedPlace,
  { callers, ofHttp }: { readonly callers: Callers | undefined; readonly ofHttp: Answer },
): Widening {
  if (asked.was.place !== "http" || questions.hasAnswered) return ofHttp;
  if (questions.denyLost(asked, callers).gain !== undefined) return ofHttp;
  const asTcp = asked.at("tcp");
  const found = [questions.widened(asTcp, callers), questions.denyLost(asTcp, callers)];
  const gain = found.find((answer) => answer.gain !== undefined)?.gain;
  return { gain, isUndecided: ofHttp.isUndecided || found.some(({ isUndecided }) => isUndecided), isOfTcp: true };
}

const problemOf = (gain: Gain, place: ChangedPlace, key: string): Problem => ({
  at: [],
  message: () => `Callers gain requests to ${place.name}: ${formatGain(gain)}`,
  key,
  related: policiesOfGain(gain),
});

const undecidedAt = (place: ChangedPlace): Problem => ({
  at: [],
  message: `It takes too much work to find out which requests to ${place.name} the changed policies allow`,
  key: "undecided",
  fix: "Use fewer rules and patterns in one change, or ask the owner of the namespace to review the policies.",
});

/** Requests for which a CUSTOM policy called a provider. What the provider answers is not known. */
function* providersLost(before: Side, after: Side): Generator<Problem | undefined, undefined> {
  if (isTerminating(before.object) || isTerminating(after.object)) return;
  const reported = new Reported(after);
  if ([before, after].some(({ object, mesh }) => hasCustomPolicies(mesh.get(customLevels, object)))) {
    const [old, now] = [customAuthorization(before.object, before.mesh), customAuthorization(after.object, after.mesh)];
    for (const place of placesBetween(old, now, { isThere: () => true })) yield* reported.lostAt(place);
    if (!old.own.isSame(now.own)) yield* reported.changed(old.own.policies, now.own.policies);
  }
  for (const place of placesServedBetween(servedCustom(before), servedCustom(after))) {
    yield* reported.lostAt(place);
    if (place !== undefined) yield* reported.changed(policiesOf(place.asked.was), policiesOf(place.asked.is));
  }
}

const servedCustom = ({ object, mesh }: Side): ServedPolicies =>
  new ServedPolicies(object, mesh, (one) => customPolicies(one, mesh));

type Policies = readonly AuthorizationPolicy[];
const policiesOf = ({ lists }: Applied): Policies => lists.flatMap(({ policies }) => policies);

/** ztunnel calls none. */
const asksProviders = ({ asked, future }: ChangedPlace): boolean => asked.is.place !== "ztunnel" && future !== "none";

/** What is said of providers, each thing once. */
class Reported {
  readonly #questions: Questions;
  readonly #keys = new Set<string>();

  constructor({ mesh }: Side) {
    this.#questions = new Questions((values) => mesh.visited(Math.ceil(values / 100)));
  }

  *lostAt(place: ChangedPlace | undefined): Generator<Problem | undefined, undefined> {
    yield;
    if (place === undefined || !asksProviders(place)) return;
    const { gain } = this.#questions.denyLost(place.asked);
    // What has left a waypoint of another namespace is reported by namespace-waypoint-left.
    if (gain?.lost === undefined || place.hasLeft?.(gain.lost.policy) === true) return;
    if (!this.#isNew(keyOfGain(gain, place))) return;
    yield {
      at: [],
      message: `CUSTOM ${formatRule(gain.lost)} no longer calls its provider at ${place.name}, such as for ${formatRequest(gain.request, "http")}`,
      key: JSON.stringify(["custom", keyOfGain(gain, place)]),
      related: [gain.lost.policy],
      fix: "Keep the CUSTOM policy, or restrict these requests with ALLOW and DENY policies first.",
    };
  }

  *changed(old: Policies, now: Policies): Generator<Problem, undefined> {
    const before = new Map(old.map((policy) => [keyOf(policy), policy.spec.provider?.name]));
    for (const policy of now) {
      const [was, is] = [before.get(keyOf(policy)), policy.spec.provider?.name];
      if (was === undefined || was === is || !this.#isNew(`provider ${keyOf(policy)}`)) continue;
      yield {
        at: [],
        message: `CUSTOM ${idOf(policy)} calls the provider ${is ?? "(not set)"} instead of ${was}`,
        key: JSON.stringify(["provider", idOf(policy)]),
        related: [policy],
        fix: "Check that the new provider refuses what the old one refused.",
      };
    }
  }

  #isNew(key: string): boolean {
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    return true;
  }
}
