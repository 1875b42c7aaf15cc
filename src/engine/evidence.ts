import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, Identified } from "../kube/object.ts";

/** An existing object, or the place of a missing one (without a name: no object of the kind in the namespace). */
export type Evidence =
  | AnyObject
  | { readonly absent: Kind; readonly namespace: string; readonly name: string | undefined; readonly isJoined?: true };
export const absent = (kind: Kind, namespace: string, name?: string): Evidence => ({ absent: kind, namespace, name });

/**
 * A missing object that another cluster of the mesh may have just as well: istiod joins the Services, pods and callers of all
 * clusters (Istio pilot/pkg/serviceregistry/aggregate/controller.go mergeService).
 */
export const absentHere = (kind: "Namespace" | "Service" | "Workload", namespace: string, name?: string): Evidence => ({
  absent: kind,
  namespace,
  name,
  isJoined: true,
});

/** An object of which a rule sees only the identity, as evidence and in messages. */
export const present = (one: Identified): AnyObject => one as AnyObject;

/** Whether the evidence is that this object is missing: by its name, or because no ServiceEntry defines a host any more. */
export const isAbsenceOf = (evidence: Evidence, { kind, metadata: { namespace, name } }: AnyObject): boolean =>
  "absent" in evidence &&
  evidence.absent === kind &&
  (evidence.name === undefined ? kind === "ServiceEntry" : evidence.name === name && evidence.namespace === namespace);
