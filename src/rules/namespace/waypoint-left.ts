import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import { waypointTraffic } from "../../mesh/membership/gateways.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { isHeadless } from "../../mesh/membership/services.ts";
import { labelsOfWorkloadEntry } from "../../mesh/membership/workload-entries.ts";
import { gatewayNameLabel, ingressUseWaypoint, managedGateway, useWaypoint } from "../../mesh/objects/labels.ts";
import { admittedInFull } from "../../mesh/waypoints/admitted-callers.ts";
import {
  formatWaypoint,
  isOfMeshGateway,
  isUsable,
  isWithoutAddress,
  waypointNamed,
} from "../../mesh/waypoints/bindings.ts";
import { type Departure, departures, isAnotherClass } from "../../mesh/waypoints/departures.ts";
import { type Addressed, servingWaypoints } from "../../mesh/waypoints/served-traffic.ts";
import { accountOf, usedWays, waypointAccountsNamed, waypointGuards } from "../../mesh/waypoints/guarded-traffic.ts";
import { keptByZtunnel, podsBehind } from "../../mesh/waypoints/ztunnel-behind.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

export const namespaceWaypointLeft = defineRule({
  id: "namespace-waypoint-left",
  subject: "Namespace",
  reads: [waypointGuards, servingWaypoints, waypointAccountsNamed, keptByZtunnel],
  worksWithout: ["Service", "ServiceEntry", "Workload", "WorkloadEntry", "KubernetesGateway", "RequestAuthentication"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["ambient", "authorization"],
  summary: "Requests bypass the waypoint that enforced policies on them, or go to one with other policies.",
  why: "A policy with targetRefs is enforced only at a waypoint. A label on the Service, the pod or the namespace selects the waypoint, and another one a canary for a share of the connections; without a usable one, ztunnel sends requests directly to the pods, and no request fails (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget, pilot/pkg/model/policyattachment.go ShouldAttachPolicy). So it does with those to a host or an address outside the cluster whose ServiceEntry or WorkloadEntry is gone. Callers that the policies refused get in.",
  fix: "Keep the label and the waypoint. To move to another waypoint, bind the same policies to it first. To stop using waypoints, first apply policies without targetRefs that ztunnel enforces.",
  incident: {
    symptoms: ["waypoint-bypassed", "open-access"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests that got 403 at the waypoint get answers, with the identity of the client instead of that of the waypoint.",
    wayOut:
      "Put the label back, or apply the waypoint again; ztunnel sends new connections through it as soon as it is ready.",
    silentWhen:
      "The new waypoint has the same policies, no policy was bound to the old one, or another ServiceEntry or WorkloadEntry of the namespace has the hosts or the address of one that is deleted.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *compare(before, after) {
    for (const departure of departures(before, after)) yield problemOf(departure, after);
  },
});

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof keptByZtunnel | typeof waypointAccountsNamed>;
}

function problemOf(departure: Departure, side: Side): Problem {
  const { was, is, lost, wider, gone } = departure;
  const onlyWarns = warningOf(departure, side);
  return {
    at: [],
    message: `${whoOf(departure, side.object)} ${leavingOf(departure, side.mesh.settings)}; ${lossOf(departure)}`,
    key: JSON.stringify([
      departure.isOfIngress,
      was.kind,
      was.object && idOf(was.object),
      lost && idOf(lost),
      wider && idOf(wider),
      ...(gone === undefined ? [] : [gone]),
    ]),
    ...(fixOfGateway(departure) ?? fixOf(departure)),
    related: [was.object, lost, wider, is.binding?.gateway].filter((object) => object !== undefined),
    ...(onlyWarns === undefined ? {} : { onlyWarns }),
  };
}

/** Why it is not certain that somebody gets in; undefined: it is. */
function warningOf(departure: Departure, side: Side): string | undefined {
  const { lost, isOpened, isOfShare, gone } = departure;
  if (gone !== undefined) return "it is not known whether anybody still calls it";
  if (lost === undefined) return isOpened ? undefined : "it is not known who gains access";
  if (
    isOfUnknownClass(departure) &&
    departure.is.binding?.controller === undefined &&
    !side.mesh.knowsAll("GatewayClass")
  )
    return "the GatewayClass of the waypoint is not known, and may be one of Istio's";
  const kept = keptReason(departure, side);
  if (kept !== undefined) return kept;
  return isOfShare === true ? "another waypoint served the other connections without it" : undefined;
}

/** Why nobody gets in, because ztunnel itself refuses others; undefined: it does not. */
function keptReason(departure: Departure, side: Side): string | undefined {
  const { object, mesh } = side;
  const { was, isOpened, isStaying, isOfIngress } = departure;
  const selector = podsBehind(was);
  // What the same waypoint lets through comes from the waypoint.
  if (isOpened || selector === undefined || (isStaying && !isOfIngress)) return undefined;
  const left = accountOf(was.binding);
  const kept = mesh.get(keptByZtunnel, object);
  if (kept.from((account) => account === left, selector)) return "ztunnel still rejects every caller but the waypoint";
  const others = waypointsBeside(departure, side);
  const isWaypoint = (account: string) => account === left || others.has(account);
  if (others.size > 0 && kept.from(isWaypoint, selector)) return "ztunnel still rejects every caller but waypoints";
  const isAdmitted = admittedInFull(was.policies, mesh.settings);
  return kept.from((account) => isWaypoint(account) || isAdmitted(account), selector)
    ? "ztunnel still rejects every caller but those whose every request the waypoint allowed"
    : undefined;
}

/**
 * The accounts of the waypoints that objects of the namespace name themselves. They send only what is for these objects, after their
 * own policies. None, if what leaves goes through another waypoint from then on, because it may send that too.
 */
function waypointsBeside({ is }: Departure, { object, mesh }: Side): ReadonlySet<string> {
  return usedWays(is).length > 0 ? noAccounts : mesh.get(waypointAccountsNamed, object);
}
const noAccounts: ReadonlySet<string> = new Set();

function whoOf({ was, isOfIngress }: Departure, { metadata }: Namespace): string {
  const requests = isOfIngress ? "Requests from ingress gateways" : "Requests";
  if (was.object !== undefined) return `${requests} to ${idOf(was.object)}`;
  return was.kind === "Service"
    ? `${requests} to Services of namespace ${metadata.name}`
    : `Requests to the addresses of pods in namespace ${metadata.name}`;
}

function leavingOf({ was, is, isStaying, isOfIngress, share, gone }: Departure, settings: MeshSettings): string {
  const waypoint = `waypoint ${formatWaypoint(was.binding.named)}`;
  if (gone !== undefined) return `bypass ${waypoint}: ${goneOf(gone)}`;
  if (isOfIngress) return `bypass ${waypoint}: label ${ingressUseWaypoint} is not "true" any more`;
  if (share !== undefined && is.binding !== undefined)
    return `go in part through waypoint ${formatWaypoint(is.binding.named)}${share === "canary" ? `, the canary of ${waypoint}` : ` instead of ${formatWaypoint(was.binding.named)}`}`;
  if (isStaying) return `still go through ${waypoint}`;
  const { binding } = is;
  if (binding !== undefined && binding.trouble === undefined && !isAnotherClass(was.binding, binding))
    return `go through waypoint ${formatWaypoint(binding.named)} instead of ${formatWaypoint(was.binding.named)}`;
  return bypassing(was, is, settings);
}

const bypassing = (was: Departure["was"], is: Departure["is"], settings: MeshSettings): string =>
  `${isOfUnknownClass({ was, is }) ? "may bypass" : "bypass"} waypoint ${formatWaypoint(was.binding.named)}: ${reasonOf(was.binding, is, settings)}`;

/**
 * Whether the waypoint is still there, with a class that is not known to be one for Istio's waypoints. istiod takes every Gateway with an address for a waypoint (Istio
 * pilot/pkg/serviceregistry/ambient/waypoints.go gatewayToWaypointTransform), and deploys one for each class of its controller
 * (pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go).
 */
function isOfUnknownClass({ was, is: { binding } }: Pick<Departure, "was" | "is">): boolean {
  return binding !== undefined && isUsable(binding) && isAnotherClass(was.binding, binding);
}

/** ztunnel passes connections to an address that it does not know on as they are. */
function goneOf(gone: NonNullable<Departure["gone"]>): string {
  if (gone === "object") return "ztunnel does not know it any more";
  const names = gone
    .slice(0, 3)
    .map((host) => JSON.stringify(host))
    .join(", ");
  const more = gone.length > 3 ? ` and ${gone.length - 3} more` : "";
  return `ztunnel does not know ${names}${more} any more`;
}

function reasonOf(
  was: Departure["was"]["binding"],
  { object, binding, kind }: Departure["is"],
  settings: MeshSettings,
): string {
  if (binding === undefined) return unlabelledReason(object);
  const { gateway, named, trouble } = binding;
  if (gateway === undefined) return `Gateway ${formatWaypoint(named)} does not exist`;
  if (isAnotherClass(was, binding) || trouble === "not a waypoint")
    return `Gateway ${formatWaypoint(named)} has class ${JSON.stringify(gateway.spec.gatewayClassName)}`;
  if (trouble === "deleting") return `Gateway ${formatWaypoint(named)} is being deleted`;
  if (trouble === "not ready") return `Gateway ${formatWaypoint(named)} is not ready`;
  if (trouble === "not allowed")
    return `the listener of Gateway ${formatWaypoint(named)} does not accept the namespace`;
  const traffic = kind === "Workload" || kind === "WorkloadEntry" ? "workload" : "service";
  return `Gateway ${formatWaypoint(named)} is for ${JSON.stringify(waypointTraffic(gateway, settings))} (istio.io/waypoint-for), not for "${traffic}"`;
}

function unlabelledReason(object: Departure["is"]["object"]): string {
  const none = "no label names a waypoint any more";
  if (object === undefined) return none;
  const labels = labelsOf(object);
  const isPods = object.kind === "Workload" || object.kind === "WorkloadEntry";
  if (!isPods && isOfMeshGateway(labels)) return `label ${managedGateway} makes it a gateway's own`;
  const named = waypointNamed(labels, object.metadata.namespace);
  if (named === "none") return `label ${useWaypoint} is "none"`;
  return (isPods ? ownGatewayReason(object.kind, labels) : unaddressedReason(object)) ?? none;
}

/** ztunnel finds a waypoint by the address that a client connects to. */
function unaddressedReason(
  object: Extract<Addressed, { readonly kind: "Service" | "ServiceEntry" }>,
): string | undefined {
  if (object.kind === "Service")
    return isHeadless(object) ? "it is headless, so that clients connect to its pods" : undefined;
  return isWithoutAddress(object) ? "it has no address any more, by which ztunnel would know its hosts" : undefined;
}

function ownGatewayReason(kind: "Workload" | "WorkloadEntry", labels: Labels): string | undefined {
  if (labels[gatewayNameLabel] === undefined) return undefined;
  return `label ${gatewayNameLabel} makes ${kind === "Workload" ? "its pods those" : "it one"} of a Gateway`;
}

function labelsOf(object: Addressed): Readonly<Record<string, string>> {
  if (object.kind === "Workload") return object.pod.labels;
  return object.kind === "WorkloadEntry" ? labelsOfWorkloadEntry(object) : object.metadata.labels;
}

function lossOf({ lost, wider, isOpened, was, is }: Departure): string {
  if (lost === undefined && wider !== undefined)
    return isOpened ? `${idOf(wider)} allows everyone` : `${idOf(wider)} may allow more callers`;
  if (lost === undefined) return "more callers are allowed";
  const who = was.kind === "Workload" ? "pods" : "them";
  return isOpened && wider !== undefined
    ? `${idOf(lost)} no longer restricts ${who}, and ${idOf(wider)} allows everyone`
    : `${idOf(lost)} ${isOfUnknownClass({ was, is }) ? "may no longer apply" : "no longer applies"} to ${who}`;
}

function fixOfGateway({ was, is: { binding } }: Departure): { readonly fix: string } | undefined {
  if (binding === undefined) return undefined;
  const isSameGateway = formatWaypoint(was.binding.named) === formatWaypoint(binding.named);
  if (isSameGateway && isAnotherClass(was.binding, binding))
    return {
      fix: `Let Gateway ${formatWaypoint(binding.named)} keep its class, and keep the GatewayClass, whose controller is \`istio.io/mesh-controller\`. To move to another waypoint, bind the same policies to it first, then change the label.`,
    };
  if (binding.trouble !== "not ready") return undefined;
  return {
    fix: `Wait until Gateway ${formatWaypoint(binding.named)} has an address in its status, then change the label. Its conditions say why it has none.`,
  };
}

/** Nothing if the fix of the rule, which is for traffic that leaves its waypoint, applies. */
function fixOf({ isStaying, isOfIngress, share, lost, wider, was, gone }: Departure): { readonly fix?: string } {
  if (gone !== undefined)
    return {
      fix: `Keep the ${was.kind} as long as anybody calls it, or first refuse its address where connections leave the cluster. Nothing is lost if nobody calls it any more.`,
    };
  if (share === "canary")
    return {
      fix: "Bind the same policies to the canary waypoint first, or target the Service with them: such policies apply at every waypoint.",
    };
  if (isOfIngress)
    return {
      fix: `Keep the label \`${ingressUseWaypoint}: "true"\`, or bind the same policies to the ingress gateways first.`,
    };
  if (isStaying && lost !== undefined) {
    const isOfEntry = was.kind === "ServiceEntry" && lost.metadata.namespace === was.namespace;
    const target = isOfEntry ? "ServiceEntry" : "waypoint";
    return {
      fix: `Keep ${idOf(lost)}, or first apply another policy that targets the ${target} and restricts the same callers.`,
    };
  }
  if (lost === undefined && wider !== undefined)
    return {
      fix: `Restrict the callers in ${idOf(wider)} to those that the policies at waypoint ${formatWaypoint(was.binding.named)} allow.`,
    };
  return {};
}
