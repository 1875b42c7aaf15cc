import type { AnyObject } from "../../kube/object.ts";

/**
 * Sorts by creation time, then by name, then by namespace (Istio pilot/pkg/model/config.go configCompareByCreationTime). An
 * object without a creationTimestamp is about to be created, so it is the newest.
 */
export function oldestFirst(a: AnyObject, b: AnyObject): number {
  return (
    compare(createdAt(a), createdAt(b)) ||
    compare(a.metadata.name, b.metadata.name) ||
    compare(a.metadata.namespace, b.metadata.namespace)
  );
}

/** The same for routes of the Gateway API, which istiod sorts by their namespaces before their names (Istio pilot/pkg/config/kube/gateway/conversion.go sortRoutesByCreationTime). */
export const oldestRouteFirst = (a: AnyObject, b: AnyObject): number =>
  compare(createdAt(a), createdAt(b)) || compare(a.metadata.namespace, b.metadata.namespace) || oldestFirst(a, b);

/**
 * The same for TCPRoutes and TLSRoutes: istiod sorts the VirtualServices that it makes of them, whose names are longer (Istio
 * pilot/pkg/config/kube/gateway/route_collections.go TCPRouteCollection, TLSRouteCollection).
 */
export const oldestStreamFirst = (a: AnyObject, b: AnyObject): number =>
  compare(createdAt(a), createdAt(b)) || compare(streamName(a), streamName(b)) || oldestFirst(a, b);
const streamName = ({ metadata, originKind }: AnyObject): string => `${metadata.name}~${originKind}`;

/** The same for ListenerSets, which istiod sorts by namespace and name as one text (Istio pilot/pkg/config/kube/gatewaycommon/listener_conflict.go orderedMergedListeners). */
export const oldestSetFirst = (a: AnyObject, b: AnyObject): number =>
  compare(createdAt(a), createdAt(b)) || compare(pathOf(a), pathOf(b));
const pathOf = ({ metadata }: AnyObject): string => `${metadata.namespace}/${metadata.name}`;

/** The order by creation time alone: 0 for two of one second. */
export const olderThan = (a: AnyObject, b: AnyObject): number => compare(createdAt(a), createdAt(b));

/** Whether two objects were created at the same time, so that only the name decides their order. */
export const isSameAge = (a: AnyObject, b: AnyObject): boolean => createdAt(a) === createdAt(b);

/** Sorts behind every RFC 3339 time. */
const youngest = "~";
const createdAt = ({ metadata }: AnyObject) => metadata.creationTimestamp || youngest;
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** Why an object comes before another one, to be read after its name: `is older`. */
export function precedence(first: AnyObject, second: AnyObject): string {
  if (!isSameAge(first, second)) return "is older";
  return second.metadata.creationTimestamp
    ? "was created in the same second and comes first by name"
    : "comes first by name if both are created at the same time";
}
