import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, reachedBy, relation } from "../../view/view.ts";
import { actionOf, type AuthorizationPolicy, isDryRun, targetRefsOf } from "../authorization/policies.ts";
import { needsMoreThanZtunnel } from "../authorization/ztunnel-rules.ts";
import { captureOf, enrollmentOf } from "../membership/capture.ts";
import { ambientAmong, captured } from "../membership/captured.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import {
  isOwned,
  isProxy,
  namespaceOfWorkload,
  type Workload,
  workloadByLabel,
  workloadsOfNamespace,
} from "../membership/workloads.ts";
import { namespaceByName, namespaceByNameAndRoot } from "../objects/indexes.ts";
import { keysOfSelector } from "../objects/label-keys.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { matchLabelsOf, selects } from "../objects/selectors.ts";

/** Whether a policy without targetRefs needs what ztunnel does not support: HTTP attributes, trust domains, or an external provider. */
const isBeyondZtunnel = (policy: AuthorizationPolicy, settings: MeshSettings): boolean =>
  isServed(policy, settings) &&
  !isDryRun(policy) &&
  targetRefsOf(policy).length === 0 &&
  actionOf(policy) !== "AUDIT" &&
  (actionOf(policy) === "CUSTOM" || policy.spec.rules.some(needsMoreThanZtunnel));

const isWide = (policy: AuthorizationPolicy): boolean => Object.keys(matchLabelsOf(policy)).length === 0;

/** Such a policy and its namespace. */
const namespaceOfPolicyBeyondZtunnel = relation(
  "namespaceOfPolicyBeyondZtunnel",
  index("AuthorizationPolicy", (policy, settings) =>
    isBeyondZtunnel(policy, settings) ? [policy.metadata.namespace] : [],
  ),
  namespaceByName,
);

/** Such a policy with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearPolicyBeyondZtunnel = relation(
  "workloadsNearPolicyBeyondZtunnel",
  index("AuthorizationPolicy", (policy, settings) =>
    isBeyondZtunnel(policy, settings) ? keysOfSelector(policy.metadata.namespace, matchLabelsOf(policy)) : [],
  ),
  workloadByLabel,
);
/** Such a policy without a selector, and the workloads of its namespace. */
const workloadsOfWidePolicyBeyondZtunnel = relation(
  "workloadsOfWidePolicyBeyondZtunnel",
  index("AuthorizationPolicy", (policy, settings) =>
    isWide(policy) && isBeyondZtunnel(policy, settings) ? [policy.metadata.namespace] : [],
  ),
  workloadsOfNamespace.to,
);

/** Such a policy that applies to the whole mesh, and all namespaces. */
const namespacesOfPolicyBeyondZtunnel = relation(
  "namespacesOfPolicyBeyondZtunnel",
  index("AuthorizationPolicy", (policy, settings) => {
    const isMeshWide = isWide(policy) && policy.metadata.namespace === settings.rootNamespace;
    return isMeshWide && isBeyondZtunnel(policy, settings) ? [policy.metadata.namespace] : [];
  }),
  namespaceByNameAndRoot,
);

/** Such a policy of the root namespace with a selector, indexed by one of its labels, and the workloads with this label. */
const workloadsOfPolicyBeyondZtunnel = relation(
  "workloadsOfPolicyBeyondZtunnel",
  index("AuthorizationPolicy", (policy, settings) => {
    const [label] = Object.entries(matchLabelsOf(policy));
    const isMeshWide = policy.metadata.namespace === settings.rootNamespace;
    return label !== undefined && isMeshWide && isBeyondZtunnel(policy, settings) ? [labelKey(label)] : [];
  }),
  index("Workload", (workload) =>
    isOwned(workload) || isProxy(workload) ? [] : Object.entries(workload.pod.labels).map(labelKey),
  ),
);
const labelKey = ([key, value]: readonly [string, string]): string => `${key}=${value}`;

/** Where ztunnel enforces a policy, or would enforce it. */
export interface ZtunnelScope {
  /** One of the namespaces in which it applies. */
  readonly namespace: Namespace;
  /** The policy applies to the whole mesh. */
  readonly isMeshWide: boolean;
  /** False: the namespace's labels are not known. */
  readonly isCertain: boolean;
}

/**
 * Whether a policy that needs more than ztunnel supports applies to anything that ztunnel captures: an existing workload,
 * or, in its own namespace, future workloads if the namespace is ambient and no selected workload is known to be captured
 * otherwise. Proxies are ignored, although the policy may be intended for them.
 */
export const scopeBeyondZtunnel = fact(
  "scopeBeyondZtunnel",
  "AuthorizationPolicy",
  [
    namespaceOfPolicyBeyondZtunnel,
    namespacesOfPolicyBeyondZtunnel,
    workloadsOfPolicyBeyondZtunnel,
    reachedBy(captured, [workloadsNearPolicyBeyondZtunnel, workloadsOfWidePolicyBeyondZtunnel]),
    namespaceOfWorkload,
  ],
  (policy, mesh): ZtunnelScope | undefined => {
    const [namespace] = mesh.related(namespaceOfPolicyBeyondZtunnel, policy);
    if (namespace === undefined) return undefined;
    const labels = matchLabelsOf(policy);
    if (namespace.metadata.name === mesh.settings.rootNamespace) {
      const ambient =
        Object.keys(labels).length === 0
          ? ambientAmong(mesh.related(namespacesOfPolicyBeyondZtunnel, policy), mesh.settings)[0]
          : namespaceOfAmbient(mesh.related(workloadsOfPolicyBeyondZtunnel, policy), labels, mesh);
      return ambient && { namespace: ambient, isMeshWide: true, isCertain: true };
    }
    if (isTerminating(namespace) || isForProxies(labels)) return undefined;
    const isCertain = isAtZtunnel(namespace, labels, mesh);
    return isCertain === undefined ? undefined : { namespace, isMeshWide: false, isCertain };
  },
);

/** The first one by name, so that the order of objects makes no difference. */
function namespaceOfAmbient(
  workloads: readonly Workload[],
  selector: Labels,
  mesh: MeshView<typeof namespaceOfWorkload>,
): Namespace | undefined {
  let first: Namespace | undefined;
  for (const workload of workloads) {
    const isEarlier = first === undefined || workload.metadata.namespace < first.metadata.name;
    if (!isEarlier || !selects(selector, workload.pod.labels)) continue;
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (captureOf(workload, namespace, mesh.settings) === "ambient") first = namespace;
  }
  return first;
}

/** Whether it is certain that ztunnel enforces the policy there; undefined: it does not. */
function isAtZtunnel(namespace: Namespace, selector: Labels, mesh: MeshView<typeof captured>): boolean | undefined {
  const captures = mesh.get(captured, namespace).capturesOf(selector);
  if (captures.has("ambient")) return true;
  if (mesh.knowsAll("Workload") && captures.size > 0) return captures.has("unknown") ? false : undefined;
  const enrollment = enrollmentOf(namespace, mesh.settings);
  if (enrollment === "ambient") return true;
  return enrollment === "unknown" ? false : undefined;
}

/** Labels that only gateways have: those of istiod's deployments, and those of Istio's charts. */
const isForProxies = (labels: Labels): boolean =>
  labels[gatewayNameLabel] !== undefined || labels.istio?.endsWith("gateway") === true;
