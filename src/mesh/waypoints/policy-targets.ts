import type { Kind } from "../../kube/kinds.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { idOf } from "../../kube/identity.ts";
import { index, type Index, type MeshView } from "../../view/view.ts";
import type { TargetRef } from "../authorization/policies.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isExternalName, isHeadless } from "../membership/services.ts";
import { waypointClass } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import {
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfDefinition,
  waypointOfService,
  waypointOfServiceEntry,
} from "./bindings.ts";

/** The kinds of objects that istiod attaches to proxies by targetRefs (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). */
export type AttachedKind =
  | "AuthorizationPolicy"
  | "RequestAuthentication"
  | "Telemetry"
  | "WasmPlugin"
  | "TrafficExtension"
  | "EnvoyFilter";
type Attached = ObjectOf<AttachedKind>;

/** The kinds that an object can be attached to. */
export type TargetKind = "Service" | "ServiceEntry" | "KubernetesGateway" | "GatewayClass";
/** What an object can be attached to, other than a class. */
export type Target = ObjectOf<"Service" | "ServiceEntry" | "KubernetesGateway">;

const targetKinds: ReadonlyMap<string, TargetKind> = new Map([
  ["core/Service", "Service"],
  ["networking.istio.io/ServiceEntry", "ServiceEntry"],
  ["gateway.networking.k8s.io/Gateway", "KubernetesGateway"],
  ["gateway.networking.k8s.io/GatewayClass", "GatewayClass"],
]);

/**
 * Undefined: Istio attaches no such object to this kind. An empty group is the core group. EnvoyFilters are matched with no Service
 * (Istio pilot/pkg/model/push_context.go getMatchedEnvoyFilters).
 */
export function targetKindOf({ group, kind }: TargetRef, of: Kind): TargetKind | undefined {
  const found = targetKinds.get(`${group || "core"}/${kind}`);
  return of === "EnvoyFilter" && (found === "Service" || found === "ServiceEntry") ? undefined : found;
}

/** The targets of an object. The singular form counts only without a list (policyattachment.go GetTargetRefs). */
export const refsOf = ({ spec }: Attached): readonly TargetRef[] =>
  spec.targetRefs.length === 0 && "targetRef" in spec && spec.targetRef !== undefined
    ? [spec.targetRef]
    : spec.targetRefs;

const kindsOfTargets = (object: Attached): readonly (TargetKind | undefined)[] =>
  refsOf(object).map((ref) => targetKindOf(ref, object.kind));

/** Objects of a kind, by the `namespace/name` of their targets of another one. */
export const byTarget = <K extends AttachedKind>(kind: K, target: TargetKind): Index<K> =>
  index(kind, (one, settings) => {
    const object = one as Attached;
    return isServed(object, settings)
      ? refsOf(object).flatMap((ref) =>
          targetKindOf(ref, kind) === target ? [`${object.metadata.namespace}/${ref.name}`] : [],
        )
      : [];
  });

/** Objects of a kind that target Services or ServiceEntries, by their namespace, whose labels can name a waypoint. */
export const byNamespaceOfTargets = <K extends AttachedKind>(kind: K): Index<K> =>
  index(kind, (one, settings) => {
    const object = one as Attached;
    const kinds = kindsOfTargets(object);
    const isForServices = kinds.includes("Service") || kinds.includes("ServiceEntry");
    return isForServices && isServed(object, settings) ? [object.metadata.namespace] : [];
  });

/** ServiceEntries that istiod reads, by their `namespace/name`. */
export const servedEntryByName = index("ServiceEntry", (entry, settings) =>
  isServed(entry, settings) ? [`${entry.metadata.namespace}/${entry.metadata.name}`] : [],
);

/** What is known of the namespace of an object with targets. */
export interface TargetPlace {
  /** The object that a reference names. */
  targetNamed(kind: Target["kind"], name: string): Target | undefined;
  /** The namespace itself, if the object targets Services or ServiceEntries. */
  readonly namespace: Namespace | undefined;
}

/** Why an object has no effect at one of its targets. */
export interface TargetFault {
  readonly message: string;
  readonly fix: string;
  /** The object that is missing. */
  readonly missing?: { readonly kind: Target["kind"]; readonly name: string };
  /** The target that has no waypoint, and its namespace. */
  readonly found?: readonly [Target, Namespace];
}

/** What `faultOfTarget` reads. */
export const targetReads = [waypointBinding, waypointOfService, waypointOfServiceEntry] as const;
type View = MeshView<(typeof targetReads)[number]>;

/** Undefined: the object has an effect at the target, as far as is known. */
export function faultOfTarget(
  ref: TargetRef,
  object: Attached,
  place: TargetPlace,
  mesh: View,
): TargetFault | undefined {
  const { namespace } = object.metadata;
  const kind = targetKindOf(ref, object.kind);
  const what = nounOf(object);
  if (kind === undefined)
    return {
      message: `Istio attaches no ${what} to ${ref.kind} of group ${JSON.stringify(ref.group || "core")}, so the ${what} has no effect there`,
      fix: `Target ${object.kind === "EnvoyFilter" ? "" : 'a Service (group ""), a ServiceEntry (networking.istio.io) or '}a Gateway (gateway.networking.k8s.io). To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.`,
    };
  if (ref.namespace && ref.namespace !== namespace)
    return {
      message: `A target in namespace ${JSON.stringify(ref.namespace)} is never found: only the ${what}'s own namespace is searched`,
      fix: `Create the ${what} in namespace ${ref.namespace}, or target an object in namespace ${namespace} and remove \`namespace\` from the target.`,
    };
  if (kind === "GatewayClass") return ofClass(ref, object, mesh.settings.rootNamespace);
  const target = place.targetNamed(kind, ref.name);
  if (mesh.knows(kind) && target === undefined)
    return {
      message: `${ref.kind} ${namespace}/${ref.name} does not exist, so the ${what} has no effect there`,
      fix: `Create ${ref.kind} ${namespace}/${ref.name} first, or correct the name of the target.`,
      missing: { kind, name: ref.name },
    };
  return withoutWaypoint(target, object, place, mesh);
}

const nounOf = ({ kind }: Attached): string => (kind === "AuthorizationPolicy" ? "policy" : kind);

function ofClass({ name }: TargetRef, object: Attached, rootNamespace: string): TargetFault | undefined {
  const what = nounOf(object);
  if (object.metadata.namespace !== rootNamespace)
    return {
      message: `A GatewayClass is a valid target only in the root namespace ${rootNamespace}, so the ${what} has no effect there`,
      fix: `To target all waypoints, create the ${what} in namespace ${rootNamespace}. To target one waypoint, use kind Gateway and its name.`,
    };
  if (name === waypointClass) return undefined;
  return {
    message: `The only GatewayClass that can have policies is istio-waypoint, not ${JSON.stringify(name)}`,
    fix: `Use the name istio-waypoint. To target an ingress gateway, create the ${what} in its namespace, with kind Gateway and its name.`,
  };
}

/** A waypoint that is asked for and cannot be used is reported where it is asked for. */
function withoutWaypoint(
  target: Target | undefined,
  object: Attached,
  { namespace }: TargetPlace,
  mesh: View,
): TargetFault | undefined {
  if (target === undefined || target.kind === "KubernetesGateway" || namespace === undefined || namespace.implied)
    return undefined;
  if (!isForOthers(waypointBindingOfDefinition(target, namespace, mesh))) return undefined;
  return { ...lackOf(target, nounOf(object)), found: [target, namespace] };
}

function lackOf(target: Target, what: string): Pick<TargetFault, "message" | "fix"> {
  const none = `so the ${what} has no effect there`;
  if (target.kind === "Service" && isExternalName(target))
    return {
      message: `${idOf(target)} is another name for a host and has no waypoint, ${none}`,
      fix: "Name the Service or the ServiceEntry of the host itself.",
    };
  if (target.kind === "Service" && isHeadless(target))
    return {
      message: `${idOf(target)} is headless, so clients connect to its pods past any waypoint, and the ${what} has no effect there`,
      fix: "Name another Service of these pods, one with a cluster IP, or use a selector with rules that ztunnel or sidecars enforce.",
    };
  return {
    message: `${idOf(target)} uses no waypoint, ${none}`,
    fix: "Set the label istio.io/use-waypoint on the target or its namespace, to a waypoint for services. For workloads with sidecars, use a selector instead of targetRefs.",
  };
}

/** Whether there is no waypoint, or that of the namespace is only for requests to the addresses of pods. */
const isForOthers = (binding: WaypointBinding | undefined): boolean =>
  binding === undefined || (binding.by === "namespace" && binding.trouble === "other traffic");
