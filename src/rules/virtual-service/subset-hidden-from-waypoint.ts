import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { ServedHosts } from "../../mesh/requests/route-conditions.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { destinationRulesOfVirtualService } from "../../mesh/traffic/destination-rules.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import type { SubsetLookup, SubsetsOfHost } from "../../mesh/traffic/subsets.ts";
import { doubtOfUse } from "../../mesh/traffic/unreachable-routes.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { formatWaypoint, type WaypointName } from "../../mesh/waypoints/bindings.ts";
import { routedApart, waypointsApart, waypointsApartReads } from "../../mesh/waypoints/subsets-at-waypoints.ts";
import { forWording } from "../../view/view.ts";

/** The pods of a namespace decide which of two rules denies, and not whether there is a problem. */
const apart = forWording(routedApart);

export const virtualServiceSubsetHiddenFromWaypoint = defineRule({
  id: "virtual-service-subset-hidden-from-waypoint",
  subject: "VirtualService",
  reads: [...waypointsApartReads, destinationRulesOfVirtualService, subsetsOfHost, apart],
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Workload"],
  onlyWith: "KubernetesGateway",
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
      "The waypoint is in the namespace of the VirtualService, does not see it, or leaves the route out (matches for gateways, for some clients or for ports that the host lacks), the namespace of the host is not ambient, or the routes are those of a delegate.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(virtualService, mesh) {
    const { domain } = mesh.settings;
    const { namespace: own } = virtualService.metadata;
    const waypoints = [...waypointsApart(virtualService, mesh).values()].map(({ named, definitions }) => ({
      named,
      definition: definitions[0],
      served: new ServedHosts(named.namespace, definitions, domain),
    }));
    if (waypoints.length === 0) return;
    for (const traffic of trafficOf(virtualService)) {
      const { host: said, subset } = traffic.destination;
      if (!subset) continue;
      const host = fullHost(said, own, domain);
      const subsets = mesh.get(subsetsOfHost, host);
      if (subsets.isDefinedForAll(subset)) continue;
      const isLackedByClients = subsets.lookUp(own, subset).definedFor === "none";
      for (const { named, definition, served } of waypoints) {
        yield;
        const lookup = subsets.lookUp(named.namespace, subset);
        if (lookup.definedFor !== "none" || !served.hasRoute(traffic, virtualService)) continue;
        const doubt = isLackedByClients && !mesh.get(apart, virtualService).has(own) ? deniedForClients : undefined;
        yield problemOf({ traffic, host, named, definition, lookup, subsets, doubt }, virtualService);
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
  /** Why the problem only warns, however the route is used. */
  readonly doubt: string | undefined;
}

const deniedForClients = "virtual-service-subset-not-found reports clients that do not have the subset either";

function problemOf(
  { traffic, host, named, definition, lookup, subsets, doubt: other }: Missing,
  virtualService: VirtualService,
): Problem {
  const { subset = "" } = traffic.destination;
  const unused = doubtOfUse(traffic, virtualService);
  const doubt = unused ?? other;
  const [defining] = subsets.rules.defining(subset).map(idOf).sort();
  const fix = `Export ${defining} to namespace ${named.namespace} (exportTo), or define the subset in the DestinationRule that the waypoint uses.`;
  return {
    at: [...traffic.at, "subset"],
    message: `Waypoint ${formatWaypoint(named)} applies this route, and ${foundBy(lookup)} for "${host}", so that it answers 503 for subset "${subset}"`,
    key: JSON.stringify([formatWaypoint(named), host, subset, unused === undefined]),
    ...(doubt === undefined ? {} : { onlyWarns: doubt }),
    ...(defining === undefined ? {} : { fix }),
    evidence: [definition, ...lookup.used, absent("DestinationRule", named.namespace)],
  };
}

function foundBy({ used }: SubsetLookup): string {
  const [first] = used;
  return first === undefined ? "uses no DestinationRule" : `uses ${idOf(first)}, which does not define it,`;
}
