import { absent, absentHere, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { readsOfSidecarMoves, type SidecarMove, sidecarMoves } from "../../mesh/traffic/sidecar-moves.ts";
import { type BrokenRoute, sidecarRoutes } from "../../mesh/traffic/sidecar-routes.ts";
import { scopeOfNamespace } from "../../mesh/traffic/sidecar-scope.ts";
import { doubtOfUse } from "../../mesh/traffic/unreachable-routes.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";

// Other rules say what a change of a route, a destination or a workload does.
const reads = [...readsOfSidecarMoves, reachedBy(sidecarRoutes, []), scopeOfNamespace] as const;
interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const namespaceFollowsBrokenRoute = defineRule({
  id: "namespace-follows-broken-route",
  subject: "Namespace",
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "Service", "ServiceEntry", "Workload"],
  onlyWith: "Sidecar",
  mode: "warn",
  since: "0.1.0",
  // Whether clients send the requests that fail is known of their own hosts alone.
  stage: "trial",
  tags: ["canary"],
  summary: "A change of a Sidecar has sidecars follow a route that leads to a host or a subset which does not exist.",
  why: "A sidecar follows the VirtualServices that its Sidecar imports, in place of the service itself (Istio pilot/pkg/model/sidecar.go convertIstioListenerToWrapper, pilot/pkg/model/virtualservice.go SelectVirtualServices). If a Sidecar that hid one is deleted, widened, or selects a workload no longer, or if it hides the one that was followed, requests that were answered follow another route. Where that route has no cluster, Envoy answers 503 (pilot/pkg/networking/core/route/route.go GetDestinationCluster).",
  fix: "Correct the destination of the VirtualService first, or limit its clients with `exportTo`.",
  incident: {
    symptoms: ["no-cluster"],
    proxies: ["sidecar"],
    seen: "Only clients in the namespace of the Sidecar fail, since the Sidecar was changed.",
    wayOut: "Apply the previous version of the Sidecar, or correct the destination of the VirtualService.",
    silentWhen:
      "The host is neither in the namespace, nor routed by a VirtualService there, nor named by the egress of the Sidecar, the route is for TCP or TLS or that of a delegate, or a workload gets other labels and with them another Sidecar.",
    page: "https://istio.io/latest/docs/reference/config/networking/sidecar/",
  },

  *compare(before, after) {
    const moves = sidecarMoves(before, after);
    if (moves.length === 0) return;
    const known = new Set<string>();
    const places = (side: Side, used: (move: SidecarMove) => SidecarMove["to"]) =>
      side.mesh
        .get(sidecarRoutes, side.object)
        .hostsKnown(new Set(moves.flatMap((move) => ownOf(used(move), side.object) ?? [])));
    for (const host of places(before, ({ from }) => from)) known.add(host);
    for (const host of places(after, ({ to }) => to)) known.add(host);
    for (const host of known) {
      yield;
      yield* lossAt(host, moves, before, after);
    }
  },
});

/** What the Sidecar of the root namespace names says nothing of one namespace. */
const ownOf = (sidecar: SidecarMove["to"], { metadata }: Namespace): SidecarMove["to"] =>
  sidecar?.metadata.namespace === metadata.name ? sidecar : undefined;

/** One problem for a host, the worst. */
function* lossAt(host: string, moves: readonly SidecarMove[], before: Side, after: Side): Iterable<Problem> {
  let found: Problem | undefined;
  for (const move of moves) {
    const problem = lossOf(host, move, before, after);
    if (problem !== undefined && (found === undefined || problem.onlyWarns === undefined)) found = problem;
    if (found !== undefined && found.onlyWarns === undefined) break;
  }
  if (found !== undefined) yield found;
}

function lossOf(host: string, { from, to, isKnown }: SidecarMove, before: Side, after: Side): Problem | undefined {
  const [was, is] = [before, after].map(({ object, mesh }) => mesh.get(sidecarRoutes, object)) as [Routes, Routes];
  const [old, now] = [was.followed(host, from), is.followed(host, to)];
  if (now === undefined || (old !== undefined && idOf(old) === idOf(now))) return undefined;
  const broken = is.brokenIn(now);
  if (broken === undefined || isSaidOfRoute(now, broken, before)) return undefined;
  const isLost = old === undefined ? was.reaches(host, from) : was.brokenIn(old) === undefined;
  const onlyWarns = isLost ? (isKnown ? doubtOfUse(broken.traffic, now) : unknown) : notLost;
  return { ...problemOf(host, now, broken, after), ...(onlyWarns === undefined ? {} : { onlyWarns }) };
}
type Routes = ReturnType<typeof sidecarRoutes.compute>;
const unknown = "it is not known which workloads there are";
const notLost = "it is not known whether these requests were answered before";

/**
 * Whether virtual-service-subset-not-found names the clients in the namespace: the route is meant for them, and no sidecar there had it
 * before.
 */
function isSaidOfRoute(route: VirtualService, { without }: BrokenRoute, { object, mesh }: Side): boolean {
  const { name } = object.metadata;
  const isMeant = route.metadata.namespace === name || without?.subsets.serviceNamespaces.has(name) === true;
  return (
    without !== undefined && isMeant && mesh.get(scopeOfNamespace, object)?.importsVirtualService(route, mesh) === false
  );
}

function problemOf(host: string, route: VirtualService, broken: BrokenRoute, { object, mesh }: Side): Problem {
  const { isSeen, registered, traffic } = broken;
  const isThere = registered.definitions.length > 0;
  const what = isSeen
    ? `subset "${traffic.destination.subset}" of "${broken.host}", which does not exist for them`
    : `"${broken.host}", which ${isThere ? "is not exported to them" : "does not exist"}`;
  return {
    at: [],
    message: `Workloads in "${object.metadata.name}" follow ${idOf(route)} for "${host}" from now on, which leads to ${what}`,
    key: JSON.stringify([host, idOf(route)]),
    related: [route],
    evidence: [route, ...witnesses(broken, mesh)],
  };
}

/** What is missing, or is there and does not help. */
function witnesses(
  { host, isSeen, registered, without }: BrokenRoute,
  { settings }: Side["mesh"],
): readonly Evidence[] {
  const namespace = namespaceOfHost(host, settings.domain);
  const used = without?.lookup.used ?? [];
  if (isSeen) return used.length > 0 ? used : [absent("DestinationRule", namespace ?? settings.rootNamespace)];
  if (registered.definitions.length > 0) return registered.definitions;
  return namespace === undefined
    ? [absent("ServiceEntry", "")]
    : [absentHere("Service", namespace, host.split(".")[0] ?? "")];
}
