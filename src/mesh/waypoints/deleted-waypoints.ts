import type { AnyObject } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { formatWaypoint, isUsable, namespaceOfGateway, type WaypointBinding, type WaypointName } from "./bindings.ts";
import { isGone } from "./departures.ts";
import { destinationKinds, type ServedTraffic, servingWaypoints, type ServingWaypoints } from "./served-traffic.ts";

/** Objects and the waypoint that their labels request. */
type Bound = Pick<ServedTraffic, "object" | "binding"> & { readonly kind?: ServedTraffic["kind"] };

/** What `deletedWaypoints` reads. */
export const readsDeletedWaypoints = [servingWaypoints, namespaceOfGateway] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsDeletedWaypoints)[number]>;
}

/** A waypoint that served objects of a namespace, serves them no longer, and is still named. */
export interface DeletedWaypoint {
  /** The requests of the namespace that it no longer processes by its label; undefined: it is deleted. */
  readonly leaves: "Services" | "pods" | undefined;
  readonly named: WaypointName;
  /** As it was before. */
  readonly gateway: KubernetesGateway;
  /** The objects whose own labels name it. */
  readonly users: readonly AnyObject[];
  /** Whether the label of the namespace names it, and objects of the namespace use it by that. */
  readonly isOfNamespace: boolean;
}

/** Very many objects can name one waypoint. */
interface Found extends DeletedWaypoint {
  readonly users: AnyObject[];
  isOfNamespace: boolean;
}

/**
 * The waypoints that a change deletes, or makes process other requests, while labels of a namespace, or of what is in it, still name them,
 * also together with the namespace that they are in. A Gateway of the same name that is there after the change is none, and neither is one that served nothing.
 */
export function deletedWaypoints(before: Side, after: Side): readonly DeletedWaypoint[] {
  if (isTerminating(before.object) || isGone(before.object, after.object)) return [];
  const old = before.mesh.get(servingWaypoints, before.object);
  if (old.areNone) return [];
  const found = new Map<string, Found>();
  const now = after.mesh.get(servingWaypoints, after.object);
  for (const [was, is] of pairs(old, now)) {
    const loss = lossOf(was, is, [before, after]);
    if (loss === undefined) continue;
    const { named, leaves } = loss;
    const key = `${formatWaypoint(named)} ${leaves ?? ""}`;
    const deleted = found.get(key) ?? { named, gateway: loss.gateway, leaves, users: [], isOfNamespace: false };
    found.set(key, deleted);
    if (loss.user === undefined) deleted.isOfNamespace = true;
    else deleted.users.push(loss.user);
  }
  return [...found.values()];
}

interface Loss extends Pick<DeletedWaypoint, "named" | "gateway" | "leaves"> {
  /** The object whose own label names the waypoint; undefined: that of the namespace. */
  readonly user: AnyObject | undefined;
}

function lossOf(was: Bound, is: Bound, sides: readonly [Side, Side]): Loss | undefined {
  if (is.binding === undefined) return undefined;
  const leaves = leftTraffic(was, is);
  const gateway = leaves === undefined ? deletedGateway(was, is, sides) : was.binding?.gateway;
  if (gateway === undefined) return undefined;
  const { named, by } = is.binding;
  return { named, gateway, leaves, user: by === "own" ? is.object : undefined };
}

/** What labels give a waypoint, before and after. */
function* pairs(old: ServingWaypoints, now: ServingWaypoints): Iterable<readonly [Bound, Bound]> {
  for (const kind of ["Service", "Workload"] as const) {
    const was = old.ofUnlabelled(kind);
    if (isUsable(was.binding) && old.hasUnlabelled(kind) && now.hasUnlabelled(kind))
      yield [was, now.ofUnlabelled(kind)];
  }
  for (const kind of destinationKinds)
    for (const name of old.labelled(kind)) {
      const [was, is] = [old.bound(kind, name), now.bound(kind, name)];
      if (was !== undefined && is !== undefined) yield [was, is];
    }
}

/**
 * The requests that another `istio.io/waypoint-for` takes away from a waypoint that the label of the namespace names. A label of an object
 * itself has no effect then, which waypoint-not-found reports.
 */
function leftTraffic(was: Bound, { object, binding, kind }: Bound): DeletedWaypoint["leaves"] {
  if (object !== undefined || binding?.trouble !== "other traffic" || !isNamedStill(was, binding)) return undefined;
  return kind === "Service" ? "Services" : "pods";
}

/** Whether the label names the waypoint that served the traffic. */
const isNamedStill = (was: Bound, { named }: WaypointBinding): boolean =>
  isUsable(was.binding) && formatWaypoint(was.binding.named) === formatWaypoint(named);

/** The Gateway that served the traffic and that is gone, or will be, although the same one is still named. */
function deletedGateway(was: Bound, is: Bound, sides: readonly [Side, Side]): KubernetesGateway | undefined {
  if (is.binding === undefined || !isNamedStill(was, is.binding)) return undefined;
  const { trouble } = is.binding;
  if (trouble === undefined) return gatewayOfDeletedNamespace(was.binding?.gateway, sides);
  return trouble === "missing" || trouble === "deleting" ? was.binding?.gateway : undefined;
}

/** The Gateway if its namespace, another one, is deleted: Kubernetes then deletes the Gateway. */
function gatewayOfDeletedNamespace(
  gateway: KubernetesGateway | undefined,
  sides: readonly [Side, Side],
): KubernetesGateway | undefined {
  if (gateway === undefined) return undefined;
  const [old, now] = sides.map(({ mesh }) => mesh.related(namespaceOfGateway, gateway)[0]);
  if (old === undefined || isTerminating(old)) return undefined;
  return now === undefined || isGone(old, now) ? gateway : undefined;
}
