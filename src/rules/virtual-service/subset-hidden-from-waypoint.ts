import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { ServedHosts } from "../../mesh/requests/route-conditions.ts";
import { type Definition, entryByHost, serviceByHost } from "../../mesh/traffic/definition-choice.ts";
import { destinationRulesOfVirtualService } from "../../mesh/traffic/destination-rules.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import type { SubsetLookup, SubsetsOfHost } from "../../mesh/traffic/subsets.ts";
import { doubtOfUse } from "../../mesh/traffic/unreachable-routes.ts";
import {
  subsetDestinationsOf,
  type Traffic,
  trafficOf,
  type VirtualService,
} from "../../mesh/traffic/virtual-services.ts";
import { ambientHost, ambientHostReads } from "../../mesh/waypoints/ambient-hosts.ts";
import { formatWaypoint, isUsable, type WaypointName } from "../../mesh/waypoints/bindings.ts";
import { isForMesh } from "../../mesh/waypoints/routed-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** The hosts of a VirtualService that waypoints can apply and that names subsets. */
const hostsWithSubsets = index("VirtualService", (virtualService, settings) => {
  if (!isServed(virtualService, settings) || !isForMesh(virtualService)) return [];
  if ([...subsetDestinationsOf(virtualService)].length === 0) return [];
  const { namespace } = virtualService.metadata;
  return new Set(virtualService.spec.hosts.map((host) => fullHost(host, namespace, settings.domain)));
});
/** A VirtualService with subsets and the Services of its hosts, whose waypoints apply its routes. */
const servicesRoutedToSubsets = relation("servicesRoutedToSubsets", hostsWithSubsets, serviceByHost);
/** A VirtualService with subsets and the ServiceEntries of its hosts, whose waypoints apply its routes. */
const entriesRoutedToSubsets = relation("entriesRoutedToSubsets", hostsWithSubsets, entryByHost);

const reads = [
  servicesRoutedToSubsets,
  entriesRoutedToSubsets,
  ...ambientHostReads,
  destinationRulesOfVirtualService,
  subsetsOfHost,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceSubsetHiddenFromWaypoint = defineRule({
  id: "virtual-service-subset-hidden-from-waypoint",
  subject: "VirtualService",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry"],
  mode: "deny",
  since: "0.1.0",
  tags: ["ambient", "canary"],
  summary: "A waypoint in another namespace applies a route, and no DestinationRule that it uses defines the subset.",
  why: "A waypoint looks a DestinationRule up as any client: in its own namespace, then, of those that are exported to it, in that of the service and in the root namespace (Istio pilot/pkg/model/push_context.go destinationRule). It builds no cluster for a subset that is defined elsewhere (pilot/pkg/networking/core/cluster_waypoint.go buildWaypointInboundVIP), and answers 503.",
  fix: "Define the subset in a DestinationRule that the waypoint uses.",
  incident: {
    symptoms: ["no-cluster"],
    proxies: ["waypoint"],
    seen: "Requests of ambient clients to this subset get 503, and those of clients with a sidecar do not. The access log of the waypoint has the flag NC.",
    wayOut: "Export the DestinationRule to the namespace of the waypoint, or route without the subset.",
    silentWhen:
      "The waypoint is in the namespace of the VirtualService, does not see it, or leaves the route out (matches for gateways, for some clients or for ports that the host lacks), clients in that namespace have no such subset either (virtual-service-subset-not-found), the namespace of the host is not ambient, or the routes are those of a delegate.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(virtualService, mesh) {
    const { domain } = mesh.settings;
    const { namespace: own } = virtualService.metadata;
    const waypoints = waypointsApart(virtualService, mesh);
    if (waypoints.size === 0) return;
    for (const traffic of trafficOf(virtualService)) {
      const { host: said, subset } = traffic.destination;
      if (!subset) continue;
      const host = fullHost(said, own, domain);
      const subsets = mesh.get(subsetsOfHost, host);
      if (subsets.isDefinedForAll(subset) || subsets.lookUp(own, subset).definedFor === "none") continue;
      for (const { named, definition, served } of waypoints.values()) {
        yield;
        const lookup = subsets.lookUp(named.namespace, subset);
        if (lookup.definedFor !== "none" || !served.hasRoute(traffic, virtualService)) continue;
        yield problemOf({ traffic, host, named, definition, lookup, subsets }, virtualService);
      }
    }
  },
});

interface Missing {
  readonly traffic: Traffic;
  /** The host of the destination. */
  readonly host: string;
  readonly named: WaypointName;
  readonly definition: Definition;
  readonly lookup: SubsetLookup;
  readonly subsets: SubsetsOfHost;
}

function problemOf(
  { traffic, host, named, definition, lookup, subsets }: Missing,
  virtualService: VirtualService,
): Problem {
  const { subset = "" } = traffic.destination;
  const doubt = doubtOfUse(traffic, virtualService);
  const [defining] = subsets.rules.defining(subset).map(idOf).sort();
  const fix = `Export ${defining} to namespace ${named.namespace} (exportTo), or define the subset in the DestinationRule that the waypoint uses.`;
  return {
    at: [...traffic.at, "subset"],
    message: `Waypoint ${formatWaypoint(named)} applies this route, and ${foundBy(lookup)} for "${host}", so that it answers 503 for subset "${subset}"`,
    key: JSON.stringify([formatWaypoint(named), host, subset, doubt === undefined]),
    ...(doubt === undefined ? {} : { onlyWarns: doubt }),
    ...(defining === undefined ? {} : { fix }),
    evidence: [definition, ...lookup.used, absent("DestinationRule", named.namespace)],
  };
}

function foundBy({ used }: SubsetLookup): string {
  const [first] = used;
  return first === undefined ? "uses no DestinationRule" : `uses ${idOf(first)}, which does not define it,`;
}

interface Applying {
  readonly named: WaypointName;
  /** What defines one of the hosts. */
  readonly definition: Definition;
  readonly served: ServedHosts;
}

/** The waypoints of other namespaces that apply a VirtualService, each once. */
function waypointsApart(virtualService: VirtualService, mesh: View): ReadonlyMap<string, Applying> {
  const { namespace: own } = virtualService.metadata;
  const visible = visibleTo(virtualService.spec.exportTo, own, mesh.settings.defaultVirtualServiceExportTo);
  const found = new Map<string, Applying>();
  const definitions = [
    ...mesh.related(servicesRoutedToSubsets, virtualService),
    ...mesh.related(entriesRoutedToSubsets, virtualService),
  ];
  for (const definition of definitions) {
    if (definition.metadata.namespace !== own) continue;
    const binding = ambientHost(definition, mesh)?.binding;
    if (!isUsable(binding) || binding.gateway === undefined) continue;
    const { named } = binding;
    if (named.namespace === own || !includesNamespace(visible, named.namespace)) continue;
    const { served } = found.get(named.namespace) ?? { served: new ServedHosts(named.namespace) };
    if (!found.has(named.namespace)) found.set(named.namespace, { named, definition, served });
    served.add(definition, mesh.settings.domain);
  }
  return found;
}
