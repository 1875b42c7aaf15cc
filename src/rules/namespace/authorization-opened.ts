import { defineRule, type Problem, type RuleSide } from "../../engine/rule.ts";
import { type ChangedPlace, keyOfGain, losesDefaultDeny } from "../../mesh/authorization/changed-places.ts";
import { isOpenToMesh } from "../../mesh/authorization/coverage.ts";
import { formatGain, policiesOfGain } from "../../mesh/authorization/gain-wording.ts";
import { type TcpPlace, tcpPlaces } from "../../mesh/authorization/tcp-places.ts";
import { anyCallers, type Callers, Questions } from "../../mesh/authorization/requests/gains.ts";
import type { Gain } from "../../mesh/authorization/requests/policy-change.ts";
import { type Harmless, usuallyHarmless } from "../../mesh/authorization/requests/strangers.ts";
import { CertainCallers, kindsOfCertainCallers, readsCertainCallers } from "../../mesh/mtls/certain-callers.ts";
import { idleReason, readsIdlePlaces } from "../../mesh/waypoints/idle-places.ts";
import { joinedWaypoints } from "../../mesh/waypoints/joined-waypoints.ts";
import { readsNewWays, throughWaypoint } from "../../mesh/waypoints/new-ways.ts";
import { changedPlacesAndServed } from "../../mesh/waypoints/served-places.ts";

export const namespaceAuthorizationOpened = defineRule({
  id: "namespace-authorization-opened",
  subject: "Namespace",
  reads: [...readsNewWays, ...readsIdlePlaces, ...readsCertainCallers],
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry", ...kindsOfCertainCallers],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  parameters: {
    harmlessPaths: {
      summary:
        "Paths that anybody may request, as patterns of an AuthorizationPolicy (exact, `/x*`, `*x`, `{*}`, `{**}`)",
      default: usuallyHarmless.paths,
    },
    harmlessMethods: {
      summary: "Methods that anybody may use, for all paths",
      default: usuallyHarmless.methods,
    },
  },
  summary: "Callers whom no policy names may send requests that nobody unnamed could send before.",
  why: "A rule of an ALLOW policy without positive callers (principals, namespaces, serviceAccounts, requestPrincipals or narrow ipBlocks) allows its operations to anybody who reaches the port, also without a certificate (Istio pilot/pkg/security/authz/model/generator.go: `notPrincipals` and `notNamespaces` match callers without an identity). Methods, paths, hosts and headers are chosen by the caller, and `principals: [*]` or `namespaces: [*]` accept every workload of the mesh. authorization-policy-allows-everyone and namespace-default-deny-removed report policies that allow everything.",
  fix: "Name the callers in `from` of the rule: principals, namespaces, serviceAccounts or requestPrincipals. If anybody may send these requests, add their paths to the parameter harmlessPaths of this rule.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Requests without a certificate, or from every workload of the mesh, get answers.",
    wayOut: "Delete the policy that the message names, or apply its previous version.",
    silentWhen:
      "The paths are listed in harmlessPaths, only callers without an identity gain something and mTLS is STRICT, or the default deny is lost altogether, which namespace-default-deny-removed reports. At an ingress gateway, which expects callers from outside, at a waypoint that nothing uses, for a Service without one, and for pods with sidecars that a waypoint begins to reach, it only warns.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after, { harmlessPaths: paths, harmlessMethods: methods }) {
    const harmless = { paths, methods };
    const questions = new Questions((values) => after.mesh.visited(Math.ceil(values / 100)));
    const callers = new CertainCallers(after);
    const reported = new Set<string>();
    let isCertain = false;
    for (const place of changedPlacesAndServed(before, after)) {
      yield;
      if (place === undefined) continue;
      const opened = openedAt(place, questions, { harmless, callers: callers.at(place) });
      if (opened === undefined || losesDefaultDeny(place)) continue;
      const doubt = doubtAt(place) ?? idleReason(place, before, after);
      const key = keyOfOpened(opened, place, doubt);
      if (!reported.has(key)) yield problemOf(opened, place, { key, doubt });
      reported.add(key);
      isCertain ||= doubt === undefined;
    }
    const open = (place: ChangedPlace, of: Callers) => openedAt(place, questions, { harmless, callers: of });
    yield* ofTcp(isCertain ? [] : tcpPlaces(before, after), callers, open);
    yield* joined(before, after, (place) => open(place, throughWaypoint));
  },
});

/** What only warns at one place must not hide what is denied at another. */
function keyOfOpened({ gain }: Opened, place: ChangedPlace, doubt: string | undefined): string {
  const key = gain === undefined ? `every name ${place.workload?.metadata.name}` : keyOfGain(gain, place);
  return doubt === undefined ? key : `warn ${key}`;
}

type Side = RuleSide<"Namespace", (typeof readsNewWays)[number]>;

/** What is opened at ports of TCP alone, because a policy allowed every request of HTTP before. */
function* ofTcp(
  places: Iterable<TcpPlace | undefined>,
  callers: CertainCallers,
  ask: (place: ChangedPlace, callers: Callers) => Opened | undefined,
): Generator<Problem | undefined, undefined> {
  const reported = new Set<string>();
  for (const one of places) {
    yield;
    const opened = one && ask(one.place, { ...anyCallers, ...callers.at(one.place), toPorts: one.toPorts });
    if (one === undefined || opened?.gain === undefined || losesDefaultDeny(one.place)) continue;
    const key = `TCP ${keyOfGain(opened.gain, one.place)}`;
    if (!reported.has(key)) yield problemOf(opened, one.place, { key, doubt: undefined });
    reported.add(key);
  }
}

/** What begins to be reached through a waypoint that has no policies, or whose policies allow everybody something. */
function* joined(
  before: Side,
  after: Side,
  ask: (place: ChangedPlace) => Opened | undefined,
): Generator<Problem | undefined, undefined> {
  const reported = new Set<string>();
  for (const joined of joinedWaypoints(before, after)) {
    yield;
    const opened = joined && ask(joined.place);
    if (joined === undefined || opened === undefined) continue;
    const { place, doubt } = joined;
    const key = `joined ${doubt === undefined ? "" : "warn "}${opened.gain === undefined ? place.name : keyOfGain(opened.gain, place)}`;
    if (!reported.has(key)) yield problemOf(opened, place, { key, doubt });
    reported.add(key);
  }
}

interface Opened {
  readonly who: "Anybody" | "Every workload of the mesh";
  /** Undefined: no single rule accepts them, but patterns that together leave nobody out. */
  readonly gain: Gain | undefined;
}

interface Among {
  readonly harmless: Harmless;
  readonly callers: Callers | undefined;
}

/** Whoever has no identity is anybody; any identity is every workload. */
function openedAt(place: ChangedPlace, questions: Questions, { harmless, callers }: Among): Opened | undefined {
  if (!place.asked.mayGain) return undefined;
  const isReal = ({ by }: Gain): boolean => by !== undefined || place.future !== "none";
  const { gain } = questions.opened(place.asked, harmless, callers);
  if (gain !== undefined && isReal(gain)) return { who: anybody(callers), gain };
  const { gain: ofMesh } = questions.openedToMesh(place.asked, harmless, callers);
  if (ofMesh !== undefined && isReal(ofMesh)) return { who: "Every workload of the mesh", gain: ofMesh };
  const isOpened =
    place.future !== "none" && isOpenToMesh(place.coverageAfter()) && !isOpenToMesh(place.coverageBefore());
  return isOpened ? { who: "Every workload of the mesh", gain: undefined } : undefined;
}

const anybody = (callers: Callers | undefined): Opened["who"] =>
  callers?.haveIdentity === true ? "Every workload of the mesh" : "Anybody";

interface Judged {
  readonly key: string;
  /** Why it may be meant, or opens nothing; undefined: it opens something. */
  readonly doubt: string | undefined;
}

function problemOf({ who, gain }: Opened, place: ChangedPlace, { key, doubt }: Judged): Problem {
  return {
    at: [],
    message: `${who} may send requests to ${place.name}: ${gain === undefined ? "together, the patterns of the rules match every name" : formatGain(gain)}`,
    key,
    related: gain === undefined ? [] : policiesOfGain(gain),
    ...(doubt === undefined ? {} : { onlyWarns: doubt }),
  };
}

/** Callers from outside the mesh have no identity, so that a gateway may be meant to accept them. */
function doubtAt({ isIngress, future }: ChangedPlace): string | undefined {
  if (isIngress) return "gateways expect callers from outside the mesh";
  return future === "several" ? "workloads may get policies of their own" : undefined;
}
