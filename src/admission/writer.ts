import type { MeshSettings } from "../view/settings.ts";
import type { Writer } from "../engine/ruling.ts";
import type { Requester } from "../policy/match.ts";
import type { Policies } from "../policy/policies.ts";
import type { AdmissionRequest } from "./review.ts";

export type { Writer };

const garbageCollectors = new Set([
  "system:serviceaccount:kube-system:namespace-controller",
  "system:serviceaccount:kube-system:generic-garbage-collector",
]);
/** The name of istiod's service account: `istiod`, or `istiod-<revision>` (Istio manifests/charts/istio-control). */
const controlPlane = /^istiod(-.+)?$/;

export const requesterOf = ({ operation, user, fieldManager }: AdmissionRequest): Requester => ({
  operation,
  user: user.name,
  groups: user.groups,
  fieldManager,
});

/** Garbage garbageCollectors and the control plane are recognized by their full user name, which no other user can have. */
export function writerOf(
  requester: Requester,
  policies: Pick<Policies, "isReconciler">,
  { rootNamespace }: MeshSettings,
): Writer {
  if (garbageCollectors.has(requester.user)) return "garbage collector";
  const account = `system:serviceaccount:${rootNamespace}:`;
  if (requester.user.startsWith(account) && controlPlane.test(requester.user.slice(account.length)))
    return "control plane";
  return policies.isReconciler(requester) ? "reconciler" : "person";
}
