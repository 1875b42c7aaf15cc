import { labelsOfGatewayPods } from "../membership/gateways.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import { namespaceOfService } from "../membership/services.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { type Definition, namespaceOfEntry } from "../traffic/definition-choice.ts";
import { hasAddress } from "../traffic/service-entry-hosts.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isForGateways,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfDefinition,
  waypointBindingOfWorkload,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
} from "../waypoints/bindings.ts";
import { canaryReads, waypointsConfigured, waypointsUsed } from "../waypoints/canaries.ts";
import { namespaceOfWaypoint } from "./enforcement.ts";
import type { Source } from "./outcome.ts";
import { identityIn } from "./sources.ts";

/** What the functions of this file read. */
export const waypointHopReads = [
  namespaceOfService,
  namespaceOfEntry,
  namespaceOfWaypoint,
  waypointBinding,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
  ...canaryReads,
] as const;
type View = MeshView<(typeof waypointHopReads)[number]>;

/** The waypoint that a source sends requests for pods through; undefined: none is named, or the source sends to the pods. */
export const waypointBeforePods = (
  source: Source,
  { workload, namespace }: { readonly workload: Workload; readonly namespace: Namespace },
  mesh: View,
): WaypointBinding | undefined =>
  source.sender === "ztunnel" ? waypointBindingOfWorkload(workload, namespace, mesh) : undefined;

/** The namespace of what defines a host, and the waypoints that a source sends its requests through, which are usable. */
export function waypointsBefore(
  source: Source,
  { definition, name }: { readonly definition: Definition; readonly name: string },
  mesh: View,
): { readonly namespace: Namespace | undefined; readonly bindings: readonly WaypointBinding[] } {
  const namespace = namespaceOf(definition, mesh);
  const isUsed = namespace !== undefined && usesWaypoint(source, definition, namespace, name);
  return { namespace, bindings: isUsed ? usedFor(definition, namespace, mesh) : [] };
}

/**
 * Why a waypoint has nothing for what it is the waypoint of, although clients send their requests there; undefined: it has (Istio
 * pilot/pkg/networking/core/waypoint.go findWaypointResources).
 */
export const leftOutOfWaypoint = (definition: Definition): string | undefined =>
  definition.kind === "ServiceEntry" &&
  definition.spec.resolution === "DYNAMIC_DNS" &&
  definition.spec.location === "MESH_INTERNAL"
    ? `waypoints have nothing for ${idOf(definition)}, which has resolution DYNAMIC_DNS and location MESH_INTERNAL`
    : undefined;

/** Whether a waypoint, as what sends requests on, is one of the waypoints of what they are sent to. */
export function isWaypointOf({ waypoint }: Source, definition: Definition, mesh: View): boolean {
  const namespace = namespaceOf(definition, mesh);
  if (waypoint === undefined || namespace === undefined) return false;
  const name = formatWaypoint(waypoint.metadata);
  const all = waypointsConfigured(
    definition,
    namespace,
    waypointBindingOfDefinition(definition, namespace, mesh),
    mesh,
  );
  return all.some(({ named }) => formatWaypoint(named) === name);
}

function namespaceOf(definition: Definition, mesh: View): Namespace | undefined {
  const [namespace] =
    definition.kind === "Service"
      ? mesh.related(namespaceOfService, definition)
      : mesh.related(namespaceOfEntry, definition);
  return namespace;
}

/** The waypoints that a gateway sends requests for a host to, whatever their subset; none: it sends them to the endpoints. */
export const waypointsBehind = (
  {
    definition,
    namespace,
    name,
  }: { readonly definition: Definition; readonly namespace: Namespace; readonly name: string },
  mesh: View,
): readonly WaypointBinding[] =>
  isBeforeEndpoints(definition, namespace, name) ? usedFor(definition, namespace, mesh) : [];

/** A waypoint as what sends requests on. */
export function sourceAtWaypoint({ named, gateway }: WaypointBinding, mesh: View): Source {
  const { namespace, serviceAccount } = identityOfWaypoint(named, gateway);
  const [at] = gateway === undefined ? [] : mesh.related(namespaceOfWaypoint, gateway);
  const identity = [identityIn(mesh.settings, namespace, serviceAccount)];
  const labels = gateway === undefined ? {} : labelsOfGatewayPods(gateway, mesh.settings);
  return { sender: "proxy", namespace: at, labels, workloads: [], isGateway: false, waypoint: gateway, identity };
}

const usedFor = (definition: Definition, namespace: Namespace, mesh: View): readonly WaypointBinding[] =>
  waypointsUsed(definition, namespace, waypointBindingOfDefinition(definition, namespace, mesh), mesh);

/**
 * ztunnel sends requests for a Service to its waypoint, and gateways do if a label says so; sidecars do not (Istio
 * pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint).
 */
const usesWaypoint = (
  { sender, isGateway }: Source,
  definition: Definition,
  namespace: Namespace,
  name: string,
): boolean => sender === "ztunnel" || (isGateway && isBeforeEndpoints(definition, namespace, name));

/** Whether the waypoint is what gateways have in place of the endpoints of a host. */
const isBeforeEndpoints = (definition: Definition, namespace: Namespace, name: string): boolean =>
  isForGateways(definition.metadata.labels, namespace) &&
  (definition.kind === "Service" || isLoadBalanced(definition, name));

/**
 * Whether a gateway gets the endpoints of a host from istiod, which puts the waypoint in their place, and does so only for hosts with an
 * address (Istio pilot/pkg/networking/core/cluster.go convertResolution).
 */
const isLoadBalanced = (entry: ObjectOf<"ServiceEntry">, name: string): boolean =>
  ["", "STATIC", "NONE"].includes(entry.spec.resolution ?? "") && hasAddress(name, entry);
