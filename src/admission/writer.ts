import type { MeshSettings } from "../view/settings.ts";
import type { Requester } from "../policy/match.ts";
import type { Policies } from "../policy/policies.ts";
import type { AdmissionRequest } from "./review.ts";

/**
 * Who asks, as far as it makes a difference.
 * - `collector`: Kubernetes clearing away what belongs to something deleted; a denial would wedge a namespace for ever.
 * - `control plane`: istiod, which makes the proxies that Gateways ask for.
 * - `reconciler`: applies a set in its own order, and would wait for ever for what it sends later.
 */
export type Writer = "person" | "reconciler" | "control plane" | "collector";

const collectors = new Set([
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

/** Collectors and the control plane are known by their whole user name, which nobody can choose. */
export function writerOf(
  requester: Requester,
  policies: Pick<Policies, "isReconciler">,
  { rootNamespace }: MeshSettings,
): Writer {
  if (collectors.has(requester.user)) return "collector";
  const account = `system:serviceaccount:${rootNamespace}:`;
  if (requester.user.startsWith(account) && controlPlane.test(requester.user.slice(account.length)))
    return "control plane";
  return policies.isReconciler(requester) ? "reconciler" : "person";
}
