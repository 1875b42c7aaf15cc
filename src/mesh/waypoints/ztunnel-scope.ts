import { index, type MeshView, relation } from "../../view/view.ts";
import { type AuthorizationPolicy, isDryRun, targetRefsOf } from "../authorization/policies.ts";
import { captureOf, enrollmentOf } from "../membership/capture.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { isOwned, isProxy, namespaceOfWorkload, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";
import { gatewayNameLabel } from "../objects/labels.ts";

/** A policy and the namespaces that it applies to: its own, or all of them if it is in the root namespace. */
export const namespacesOfAuthorizationPolicy = relation(
  "namespacesOfAuthorizationPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isServed(policy, settings) && !isDryRun(policy) && targetRefsOf(policy).length === 0
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByNameAndRoot,
);

/** A policy with a selector, indexed by one of its labels, and the workloads with this label, without proxies. */
export const workloadsSelectedByAuthorizationPolicy = relation(
  "workloadsSelectedByAuthorizationPolicy",
  index("AuthorizationPolicy", ({ metadata, spec }, { rootNamespace }) => {
    const [label] = Object.entries(spec.selector?.matchLabels ?? {});
    const where = metadata.namespace === rootNamespace ? "*" : metadata.namespace;
    return label === undefined ? [] : [labelKey(where, label)];
  }),
  index("Workload", (workload) =>
    isOwned(workload) || isProxy(workload)
      ? []
      : Object.entries(workload.pod.labels).flatMap((label) => [
          labelKey(workload.metadata.namespace, label),
          labelKey("*", label),
        ]),
  ),
);
const labelKey = (where: string, [key, value]: readonly [string, string]) => `${where}|${key}=${value}`;

export const readsZtunnelScope = [
  namespacesOfAuthorizationPolicy,
  workloadsSelectedByAuthorizationPolicy,
  workloadsOfNamespace,
  namespaceOfWorkload,
] as const;
export type ReadsZtunnelScope = (typeof readsZtunnelScope)[number];

/** Where ztunnel enforces a policy, or would enforce it. */
export interface ZtunnelScope {
  /** One of the namespaces in which it applies. */
  readonly namespace: Namespace;
  /** The policy is for the whole mesh. */
  readonly isMeshWide: boolean;
  /** False: the namespace's labels are not known. */
  readonly isCertain: boolean;
}

/**
 * Whether a policy without targetRefs applies to anything that ztunnel captures: an existing workload, or, in its own
 * namespace, future workloads if the namespace is ambient and no selected workload is known to be captured otherwise.
 * Proxies are ignored, although the policy may be intended for them.
 */
export function ztunnelScopeOf(
  policy: AuthorizationPolicy,
  mesh: MeshView<ReadsZtunnelScope>,
): ZtunnelScope | undefined {
  const namespaces = mesh.related(namespacesOfAuthorizationPolicy, policy).filter((one) => !isTerminating(one));
  const isMeshWide = policy.metadata.namespace === mesh.settings.rootNamespace;
  const labels = policy.spec.selector?.matchLabels ?? {};
  if (isMeshWide) {
    const ambient =
      Object.keys(labels).length === 0
        ? namespaces.find((namespace) => enrollmentOf(namespace) === "ambient")
        : namespaceOfAmbient(selectedBy(policy, labels, mesh), mesh);
    return ambient && { namespace: ambient, isMeshWide, isCertain: true };
  }
  const [namespace] = namespaces;
  if (namespace === undefined || isForProxies(labels)) return undefined;
  const found = inNamespace(namespace, selectedIn(namespace, policy, labels, mesh), mesh);
  return found === undefined ? undefined : { namespace, isMeshWide, isCertain: found };
}

function selectedBy(
  policy: AuthorizationPolicy,
  labels: Readonly<Record<string, string>>,
  mesh: MeshView<typeof workloadsSelectedByAuthorizationPolicy>,
): readonly Workload[] {
  return mesh
    .related(workloadsSelectedByAuthorizationPolicy, policy)
    .filter((workload) => selects(labels, workload.pod.labels));
}

function selectedIn(
  namespace: Namespace,
  policy: AuthorizationPolicy,
  labels: Readonly<Record<string, string>>,
  mesh: MeshView<ReadsZtunnelScope>,
): readonly Workload[] {
  if (Object.keys(labels).length > 0) return selectedBy(policy, labels, mesh);
  return mesh.related(workloadsOfNamespace, namespace).filter((workload) => !isProxy(workload));
}

function namespaceOfAmbient(
  workloads: readonly Workload[],
  mesh: MeshView<typeof namespaceOfWorkload>,
): Namespace | undefined {
  for (const workload of workloads) {
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (captureOf(workload, namespace) === "ambient") return namespace;
  }
  return undefined;
}

/** Whether it is certain that ztunnel enforces the policy there; undefined: it does not. */
function inNamespace(namespace: Namespace, selected: readonly Workload[], mesh: MeshView): boolean | undefined {
  const captures = new Set(selected.map((workload) => captureOf(workload, namespace)));
  if (captures.has("ambient")) return true;
  if (mesh.knowsAll("Workload") && selected.length > 0) return captures.has("unknown") ? false : undefined;
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "ambient") return true;
  return enrollment === "unknown" ? false : undefined;
}

/** Labels that only gateways have: those of istiod's deployments, and those of Istio's charts. */
const isForProxies = (labels: Readonly<Record<string, string>>): boolean =>
  labels[gatewayNameLabel] !== undefined || labels.istio?.endsWith("gateway") === true;
