import type { AnyObject } from "../../kube/object.ts";

/**
 * Sorts by creation time, then by name, then by namespace (Istio pilot/pkg/model/config.go sortByCreationComparator). An
 * object without a creationTimestamp is about to be created, so it is the newest.
 */
export function oldestFirst(a: AnyObject, b: AnyObject): number {
  return (
    compare(createdAt(a), createdAt(b)) ||
    compare(a.metadata.name, b.metadata.name) ||
    compare(a.metadata.namespace, b.metadata.namespace)
  );
}

/** Whether two objects were created at the same time, so that only the name decides their order. */
export const isSameAge = (a: AnyObject, b: AnyObject): boolean => createdAt(a) === createdAt(b);

/** Sorts behind every RFC 3339 time. */
const youngest = "~";
const createdAt = ({ metadata }: AnyObject) => metadata.creationTimestamp || youngest;
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
