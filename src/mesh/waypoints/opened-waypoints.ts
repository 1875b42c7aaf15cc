import type { ObjectOf } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import { together } from "../authorization/coverage.ts";
import { authorization, hasDefaultDeny } from "../authorization/effective-authorization.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import { type Workload, workloadPairs, workloadsOfNamespace } from "../membership/workloads.ts";
import { formatLabels } from "../objects/selectors.ts";
import { formatWaypoint, isOfMeshGateway, takesPods, type WaypointName, waypointNamed } from "./bindings.ts";
import { isUnusedWaypoint } from "./users.ts";

/** What `openedWaypoints` reads. */
export const readsOpenedWaypoints = [
  authorization,
  workloadsOfNamespace,
  servicesOfNamespace,
  selectingEntriesOfNamespace,
  gatewaysOfNamespace,
  isUnusedWaypoint,
] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsOpenedWaypoints)[number]>;
}

/**
 * The names of the waypoints without a default deny for Services and ServiceEntries that are new, select other pods or are reached through
 * another waypoint than before, and of those that nothing used before. The pods may be those of other Services, which policies protect, and
 * ztunnel lets the waypoint in.
 */
export function openedWaypoints(before: Side, after: Side): ReadonlySet<string> {
  const opened = [servicesOfNamespace, selectingEntriesOfNamespace].flatMap((fronts) => {
    const [old, now] = [before, after].map(({ object, mesh }): readonly Front[] => mesh.related(fronts, object));
    if (old === undefined || now === undefined || (old === now && before.object === after.object)) return [];
    const known = new Map(old.map((front) => [front.metadata.name, front]));
    return now.flatMap((front) => {
      const key = openWaypointOf(front, after);
      const was = known.get(front.metadata.name);
      return key === undefined || (was !== undefined && isOpenAlready(was, front, key, before)) ? [] : key;
    });
  });
  return new Set([...opened, ...joinedByPods(before, after), ...usedSince(before, after)]);
}

/** Whether the same pods were reached through the same waypoint, or through another one without a default deny. */
function isOpenAlready(was: Front, front: Front, key: string, before: Side): boolean {
  if (was !== front && formatLabels(selectorOf(was)) !== formatLabels(selectorOf(front))) return false;
  const named = waypointOf(was, before.object);
  return named !== undefined && (nameIn(named, before.object) === key || openWaypointOf(was, before) !== undefined);
}

/** What clients ask for, and behind which pods are. */
type Front = Service | ObjectOf<"ServiceEntry">;
const selectorOf = (front: Front) =>
  front.kind === "Service" ? front.spec.selector : (front.spec.workloadSelector?.labels ?? {});

/** The name of the waypoint through which it is reached, if neither a policy for the waypoint nor one for it denies by default there. */
function openWaypointOf(front: Front, { object, mesh }: Side): string | undefined {
  const named = waypointOf(front, object);
  if (named === undefined) return undefined;
  const found = mesh.get(authorization, object);
  const isOwn = named.namespace === object.metadata.name;
  const gateway = isOwn ? found.gateways.find(({ name }) => name === named.name) : undefined;
  const target = found.ofTargetAlone(front, gateway?.controlPlane ?? found.controlPlaneOfWaypoint);
  const coverage = gateway === undefined ? target : together(target, found.ofGateway(gateway));
  return hasDefaultDeny(coverage) ? undefined : nameIn(named, object);
}

function waypointOf({ metadata: { labels } }: Front, namespace: Namespace): WaypointName | undefined {
  if (isOfMeshGateway(labels)) return undefined;
  const { name } = namespace.metadata;
  const named = waypointNamed(labels, name) ?? waypointNamed(namespace.metadata.labels, name);
  return named === "none" ? undefined : named;
}

const nameIn = (named: WaypointName, { metadata }: Namespace): string =>
  named.namespace === metadata.name ? named.name : formatWaypoint(named);

/** The names of the waypoints of the namespace that something uses only since the change. */
function* usedSince(before: Side, after: Side): Iterable<string> {
  const old = unusedWaypoints(before);
  if (old.size === 0) return;
  const now = unusedWaypoints(after);
  for (const name of old) if (!now.has(name)) yield name;
}

/** The names of the waypoints of the namespace that process the traffic of pods whose own labels name them only since the change. */
function* joinedByPods(before: Side, after: Side): Iterable<string> {
  const [old, now] = [before, after].map(({ object, mesh }) => mesh.related(workloadsOfNamespace, object));
  if (old === undefined || now === undefined || old === now) return;
  const known = new Set(old);
  const joining = now.filter((workload) => !known.has(workload) && nameForPods(workload) !== undefined);
  if (joining.length === 0) return;
  const former = new Map([...workloadPairs(old, joining)].map(([was, is]) => [is, was]));
  const forPods = waypointsForPods(after);
  for (const workload of joining) {
    const name = nameForPods(workload);
    const was = former.get(workload);
    if (name !== undefined && forPods.has(name) && (was === undefined || nameForPods(was) !== name)) yield name;
  }
}

/** The waypoint of the namespace itself that the labels of pods name. */
function nameForPods({ metadata: { namespace }, pod: { labels } }: Workload): string | undefined {
  const named = waypointNamed(labels, namespace);
  return named === undefined || named === "none" || named.namespace !== namespace ? undefined : named.name;
}

const waypointsForPods = ({ object, mesh }: Side): ReadonlySet<string> =>
  new Set(
    mesh
      .related(gatewaysOfNamespace, object)
      .filter((gateway) => takesPods(gateway))
      .map(({ metadata }) => metadata.name),
  );

/** The names of the waypoints of the namespace that are those of nothing, so that the policies may still follow. */
export const unusedWaypoints = ({ object, mesh }: Side): ReadonlySet<string> =>
  new Set(
    mesh
      .related(gatewaysOfNamespace, object)
      .filter((gateway) => mesh.get(isUnusedWaypoint, gateway))
      .map(({ metadata }) => metadata.name),
  );
