import { keyOf } from "../../kube/identity.ts";
import type { AnyObject, Labels, ObjectOf } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { keysOfLabels } from "../objects/label-keys.ts";
import { gatewayApiGroup, managedGateway, roleLabel, rolesAtRunTime } from "../objects/labels.ts";
import { refusesInjection } from "./capture.ts";
import { injectedProxy } from "./injection-templates.ts";
import { confirmedBy, groupOf, isOwned, type OwnerReference } from "./owners.ts";

export type Workload = ObjectOf<"Workload">;

/** The ports of TCP that containers declare; proxies get nothing else. */
export const tcpPortsOf = ({ pod }: Workload): Workload["pod"]["ports"] =>
  pod.ports.filter(({ protocol }) => protocol === undefined);

/**
 * The ports of TCP with a name. The same name can stand for a port of UDP, which is another one (Istio
 * pilot/pkg/serviceregistry/kube/controller/util.go FindPort, pilot/pkg/serviceregistry/ambient/helpers.go FindPortName).
 */
export const portsNamed = ({ pod }: Workload, name: string): readonly number[] =>
  pod.ports.flatMap((port) => (port.name === name && port.protocol === undefined ? [port.number] : []));

/**
 * Whether pods of a StatefulSet that have the other labels of a selector may get the role in it when they run; `selected` gives what has
 * some labels.
 */
export function mayGetRole(
  { [roleLabel]: role, ...others }: Labels,
  selected: (labels: Labels) => readonly AnyObject[],
  mesh: Pick<MeshView, "visited">,
): boolean {
  if (role === undefined || !rolesAtRunTime.has(role)) return false;
  const found = selected(others);
  mesh.visited(found.length);
  return found.some(
    (one) => one.kind === "Workload" && one.originKind === "StatefulSet" && one.pod.labels[roleLabel] === undefined,
  );
}

export { isOwned } from "./owners.ts";

/**
 * Whether a workload is a gateway or waypoint: one that istiod creates for a Gateway, or one that the injector configures
 * as a gateway (annotation `inject.istio.io/templates: gateway`) and that runs nothing else. They are part of the data
 * plane. A label alone shows nothing, because anyone may set it.
 */
export const isProxy = (workload: Workload): boolean =>
  isOfGateway(workload) || (hasInjectedGateway(workload) && !workload.pod.hasOtherContainers);

/** Whether the injector runs a gateway in these pods. It captures no traffic of other containers beside it. */
export const hasInjectedGateway = ({ pod }: Workload): boolean =>
  injectedProxy(pod) === "router" && !refusesInjection(pod);

/** The Gateway that istiod would have created this workload for, by its ownerReferences. */
export const owningGateway = ({ metadata }: Workload): OwnerReference | undefined =>
  metadata.ownerReferences.find(
    ({ apiVersion, kind }) => kind === "Gateway" && groupOf(apiVersion) === gatewayApiGroup,
  );

/**
 * Whether istiod created the workload for a Gateway, which represents it: istiod labels it and makes the Gateway its owner
 * (Istio manifests/charts/istio-control/istio-discovery/files/kube-gateway.yaml and waypoint.yaml).
 */
export const isOfGateway = (workload: Workload): boolean => {
  const { metadata, originKind, pod } = workload;
  const isLabelled = metadata.labels[managedGateway] !== undefined || pod.labels[managedGateway] !== undefined;
  return isLabelled && originKind === "Deployment" && owningGateway(workload) !== undefined;
};

/**
 * Whether istiod created the workload for a waypoint or an east-west gateway, whose proxies have the type of a waypoint (Istio
 * manifests/charts/istio-control/istio-discovery/files/waypoint.yaml).
 */
export const isWaypointProxy = (workload: Workload): boolean =>
  isOfGateway(workload) &&
  managedAsWaypoint.has(workload.metadata.labels[managedGateway] ?? workload.pod.labels[managedGateway] ?? "");
const managedAsWaypoint: ReadonlySet<string> = new Set(["istio.io-mesh-controller", "istio.io-eastwest-controller"]);

/** A namespace and its workloads, including proxies. */
export const workloadsOfNamespace = relation(
  "workloadsOfNamespace",
  namespaceByName,
  index("Workload", (workload) => (isOwned(workload) ? [] : [workload.metadata.namespace])),
);

/** Workloads by each of their labels. Selectors are looked up by one of theirs. */
export const workloadByLabel = index("Workload", (workload) =>
  isOwned(workload) ? [] : keysOfLabels(workload.metadata.namespace, workload.pod.labels),
);

/** A workload and its namespace. */
export const namespaceOfWorkload = relation(
  "namespaceOfWorkload",
  index("Workload", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

/** The workload of a view that shows that the owner of another one exists. Objects in files have no uid. */
export function ownerIn(
  workload: Workload,
  owner: OwnerReference,
  mesh: MeshView<typeof namespaceOfWorkload | typeof workloadsOfNamespace>,
): Workload | undefined {
  const [namespace] = mesh.related(namespaceOfWorkload, workload);
  if (namespace === undefined) return undefined;
  const isConfirming = confirmedBy(owner);
  const isSame = ({ originKind, metadata: { uid } }: Workload): boolean =>
    originKind !== owner.kind || uid === undefined || owner.uid === undefined || uid === owner.uid;
  return mesh.related(workloadsOfNamespace, namespace).find((other) => isConfirming(other) && isSame(other));
}

/** Only those with one of these names, because a change is about few. */
const byKeyOf = (workloads: readonly Workload[], names: ReadonlySet<string>): Map<string, Workload> =>
  new Map(workloads.flatMap((one) => (names.has(one.metadata.name) ? [[keyOf(one), one] as const] : [])));

/** What each of the workloads after a change was before it; undefined: it did not exist. Most of them are the same object. */
export function formerOf(
  before: readonly Workload[],
  after: readonly Workload[],
): (workload: Workload) => Workload | undefined {
  if (before === after) return (workload) => workload;
  const old = new Set(before);
  let byKey: Map<string, Workload> | undefined;
  return (workload) => {
    if (old.has(workload)) return workload;
    byKey ??= byKeyOf(before, new Set(after.flatMap((one) => (old.has(one) ? [] : one.metadata.name))));
    return byKey.get(keyOf(workload));
  };
}

/** The workloads that exist before and after a change, in the order after it. */
export function* workloadPairs(
  before: readonly Workload[],
  after: readonly Workload[],
): Iterable<readonly [before: Workload, after: Workload]> {
  const former = formerOf(before, after);
  for (const workload of after) {
    const known = former(workload);
    if (known !== undefined) yield [known, workload];
  }
}
