import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import { namespaceOfService } from "../membership/services.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { ingressUseWaypoint } from "../objects/labels.ts";
import { isTrueText } from "../objects/parse-bool.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isUsable,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  waypointBindingOfWorkload,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
} from "../waypoints/bindings.ts";
import type { Backend } from "./destinations.ts";
import { namespaceOfEntry } from "./definitions.ts";
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
] as const;
type View = MeshView<(typeof waypointHopReads)[number]>;

/** The waypoint that a source sends requests for pods through; undefined: none is named, or the source sends to the pods. */
export const waypointBeforePods = (
  source: Source,
  { workload, namespace }: { readonly workload: Workload; readonly namespace: Namespace },
  mesh: View,
): WaypointBinding | undefined =>
  source.sender === "ztunnel" ? waypointBindingOfWorkload(workload, namespace, mesh) : undefined;

/** The namespace of what defines a host, and the waypoint that a source sends its requests through, usable or not. */
export function waypointBefore(
  source: Source,
  definition: Definition,
  mesh: View,
): { readonly namespace: Namespace | undefined; readonly binding: WaypointBinding | undefined } {
  const namespace = namespaceOf(definition, mesh);
  const isUsed = namespace !== undefined && usesWaypoint(source, definition, namespace);
  return { namespace, binding: isUsed ? bindingOf(definition, namespace, mesh) : undefined };
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

/** Whether requests for both go through the same waypoint. */
export function areAtOneWaypoint(one: Definition, other: Definition, mesh: View): boolean {
  const name = waypointOf(one, mesh);
  return name !== undefined && name === waypointOf(other, mesh);
}

function waypointOf(definition: Definition, mesh: View): string | undefined {
  const namespace = namespaceOf(definition, mesh);
  const binding = namespace && bindingOf(definition, namespace, mesh);
  return isUsable(binding) ? formatWaypoint(binding.named) : undefined;
}

function namespaceOf(definition: Definition, mesh: View): Namespace | undefined {
  const [namespace] =
    definition.kind === "Service"
      ? mesh.related(namespaceOfService, definition)
      : mesh.related(namespaceOfEntry, definition);
  return namespace;
}

/** Whether a gateway sends what it routes to a Service to a waypoint. */
export const isBehindWaypoint = ({ object, namespace }: Backend, mesh: View): boolean =>
  object !== undefined &&
  namespace !== undefined &&
  isForGateways(object, namespace) &&
  isUsable(bindingOf(object, namespace, mesh));

/** A waypoint as what sends requests on. */
export function sourceAtWaypoint({ named, gateway }: WaypointBinding, mesh: View): Source {
  const { namespace, serviceAccount } = identityOfWaypoint(named, gateway);
  const [at] = gateway === undefined ? [] : mesh.related(namespaceOfWaypoint, gateway);
  const identity = [identityIn(mesh.settings, namespace, serviceAccount)];
  return { sender: "proxy", namespace: at, labels: {}, workloads: [], isGateway: false, identity };
}

const bindingOf = (definition: Definition, namespace: Namespace, mesh: View): WaypointBinding | undefined =>
  definition.kind === "Service"
    ? waypointBindingOfService(definition, namespace, mesh)
    : waypointBindingOfServiceEntry(definition, namespace, mesh);

/**
 * ztunnel sends requests for a Service to its waypoint, and gateways do if a label says so; sidecars do not (Istio
 * pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint).
 */
const usesWaypoint = ({ sender, isGateway }: Source, definition: Definition, namespace: Namespace): boolean =>
  sender === "ztunnel" || (isGateway && isForGateways(definition, namespace));

const isForGateways = ({ metadata }: Definition, namespace: Namespace): boolean =>
  isTrueText(metadata.labels[ingressUseWaypoint] ?? namespace.metadata.labels[ingressUseWaypoint]);
