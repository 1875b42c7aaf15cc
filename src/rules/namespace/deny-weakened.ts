import { defineRule, type Problem, type RuleSide } from "../../engine/rule.ts";
import { type ChangedPlace, keyOfGain, losesDefaultDeny } from "../../mesh/authorization/changed-places.ts";
import { formatGain, formatRule, policiesOfGain } from "../../mesh/authorization/gain-wording.ts";
import {
  type Answer,
  anyCallers,
  type Asked,
  type Callers,
  Questions,
} from "../../mesh/authorization/requests/gains.ts";
import type { Gain } from "../../mesh/authorization/requests/policy-change.ts";
import { CertainCallers, kindsOfCertainCallers, readsCertainCallers } from "../../mesh/mtls/certain-callers.ts";
import { type IdleSide, idleReason, readsIdlePlaces } from "../../mesh/waypoints/idle-places.ts";
import { type JoinedWaypoint, joinedWaypoints } from "../../mesh/waypoints/joined-waypoints.ts";
import { notWaypoints, readsNewWays, throughWaypoint } from "../../mesh/waypoints/new-ways.ts";
import { changedPlacesAndServed } from "../../mesh/waypoints/served-places.ts";

const reads = [...readsNewWays, ...readsIdlePlaces, ...readsCertainCallers] as const;
type Side = RuleSide<"Namespace", (typeof reads)[number]>;

export const namespaceDenyWeakened = defineRule({
  id: "namespace-deny-weakened",
  subject: "Namespace",
  reads,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry", ...kindsOfCertainCallers],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A DENY policy no longer denies requests that it denied before, and they are allowed now.",
  why: "DENY policies take precedence over ALLOW policies (Istio pilot/pkg/security/authz/builder/builder.go), so that many gates are built on them. A DENY policy denies less if it is deleted, emptied or narrowed, becomes a dry run, or gets another action, revision, selector or targetRefs; ztunnel ignores the parts of its rules that only have HTTP attributes (pilot/pkg/serviceregistry/ambient/authorization.go handleRule). A policy that is replaced by another one that denies the same loses nothing. Pods that move from sidecars to ztunnel are compared with the waypoint in front of them.",
  fix: "Keep the DENY policy, or create one that denies these requests first.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "The requests in the message, which got 403 before, get answers.",
    wayOut: "Apply the previous DENY policy; the message names it.",
    silentWhen:
      "Another policy still denies these requests, no ALLOW policy and no missing default deny lets them in, they cannot come (without an identity under STRICT, with a token that no RequestAuthentication accepts, to ports of the sidecar itself), the loss is part of a lost default deny, which namespace-default-deny-removed reports, or a policy no longer applies at a waypoint of another namespace, which namespace-waypoint-left reports. It only warns of a waypoint that nothing uses, of a Service without one, and of pods with sidecars that a waypoint begins to reach.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const questions = new Questions((values) => after.mesh.visited(Math.ceil(values / 100)));
    const callers = new CertainCallers(after);
    const reported = new Set<string>();
    const joined = [...joinedWaypoints(before, after)].filter((one) => one !== undefined);
    const apart = apartFrom(
      joined.filter(({ isMigrated }) => isMigrated),
      after,
    );
    for (const place of changedPlacesAndServed(before, after)) {
      yield;
      if (place === undefined || place.future === "none") continue;
      const { gain } = lostAt(questions, place.asked, { ...anyCallers, ...callers.at(place), ...apart(place) });
      if (gain?.lost === undefined || losesDefaultDeny(place) || place.hasLeft?.(gain.lost.policy) === true) continue;
      const doubt = doubtAt(place, before, after);
      const key = keyIn(doubt, keyOfGain(gain, place));
      if (!reported.has(key)) yield problemOf(gain, place, { key, doubt });
      reported.add(key);
    }
    yield* atWaypoints(joined, questions);
  },
});

/** What waypoints let through that the sidecars of the pods, or ztunnel, denied. Where these let only waypoints in, no caller was denied of his own. */
function* atWaypoints(
  joined: readonly JoinedWaypoint[],
  questions: Questions,
): Generator<Problem | undefined, undefined> {
  const reported = new Set<string>();
  for (const { place, doubt, isForWaypointsAlone } of joined) {
    yield;
    if (isForWaypointsAlone()) continue;
    const { gain } = questions.denyLost(place.asked, throughWaypoint);
    if (gain?.lost === undefined) continue;
    const key = `joined ${keyIn(doubt, keyOfGain(gain, place))}`;
    if (!reported.has(key)) yield problemOf(gain, place, { key, doubt });
    reported.add(key);
  }
}

/** At ztunnel, the waypoints are no callers of their own: each is compared with the sidecars whose part it takes. */
function apartFrom(migrated: readonly JoinedWaypoint[], { mesh }: Side): (place: ChangedPlace) => Partial<Callers> {
  if (migrated.length === 0) return () => ({});
  const waypoints = migrated.map(({ waypoint }) => waypoint);
  const apart = notWaypoints(waypoints, mesh.settings);
  return ({ asked: { was, is } }) => (was.place !== "ztunnel" && is.place === "ztunnel" ? { among: apart } : {});
}

/** At a port that is TCP, proxies leave out the attributes of HTTP, so that a DENY rule denies more there. */
function lostAt(questions: Questions, asked: Asked, callers: Callers | undefined): Answer {
  const found = questions.denyLost(asked, callers);
  if (found.gain !== undefined || !asked.change.mayLoseDeny) return found;
  const isOfHttp = asked.was.place === "http" && asked.is.place === "http";
  return isOfHttp ? questions.denyLost(asked.at("tcp"), callers) : found;
}

/** Why nobody may gain anything; undefined: somebody does. */
const doubtAt = (place: ChangedPlace, ...sides: readonly [before: IdleSide, after: IdleSide]): string | undefined =>
  place.future === "several" ? "workloads may get policies of their own" : idleReason(place, ...sides);

/** What only warns at one place must not hide what is denied at another. */
const keyIn = (doubt: string | undefined, key: string): string => (doubt === undefined ? key : `warn ${key}`);

interface Judged {
  readonly key: string;
  readonly doubt: string | undefined;
}

function problemOf(gain: Gain, place: ChangedPlace, { key, doubt }: Judged): Problem {
  const by = gain.lost === undefined ? "" : `, which ${formatRule(gain.lost)} denied before`;
  return {
    at: [],
    message: `A DENY policy is weaker at ${place.name}: ${formatGain(gain)}${by}`,
    key,
    related: policiesOfGain(gain),
    ...(doubt === undefined ? {} : { onlyWarns: doubt }),
  };
}
