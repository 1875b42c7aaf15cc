import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { Labels } from "../../kube/object.ts";
import {
  authorization,
  type Coverage,
  hasDefaultDeny,
  type NamespaceAuthorization,
} from "../../mesh/authorization/effective-authorization.ts";
import { actionOf, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { fixOfUndiscovered } from "../../mesh/membership/control-plane.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { fact, index, relation } from "../../view/view.ts";

/** An ALLOW policy that selects workloads, and its namespace. */
const namespaceOfSelectingPolicy = relation(
  "namespaceOfSelectingPolicy",
  index("AuthorizationPolicy", (policy, settings) => {
    // Without a selector the policy is a default deny; with targetRefs it is for a waypoint, see namespace-default-deny-missing.
    const isSelecting = policy.spec.selector !== undefined && targetRefsOf(policy).length === 0;
    return isSelecting && actionOf(policy) === "ALLOW" && isEnforced(policy, settings)
      ? [policy.metadata.namespace]
      : [];
  }),
  namespaceByName,
);

const noLabels: Labels = Object.freeze({});

/** Which selectors select what has a default deny of its own. Each is evaluated once, regardless of the number of policies. */
class GuardedSelections {
  readonly #authorization: NamespaceAuthorization;
  readonly #areGuarded = new Map<readonly Workload[], boolean>();

  constructor(of: NamespaceAuthorization) {
    this.#authorization = of;
  }

  /** Whether other policies guard whatever these labels select, or every such workload, and leave others open. */
  isOldGap(labels: Labels): boolean {
    const of = this.#authorization;
    return leavesOpen(of) && (isSelected(of.ofLabels(labels)) || this.#isEachGuarded(labels));
  }

  #isEachGuarded(labels: Labels): boolean {
    const of = this.#authorization;
    const selected = of.knowsWorkloads ? of.workloadsByLabel.selected(labels) : [];
    let found = this.#areGuarded.get(selected);
    if (found === undefined) {
      found = selected.length > 0 && selected.every((workload) => isSelected(of.ofWorkload(workload)));
      this.#areGuarded.set(selected, found);
    }
    return found;
  }
}

/** Guarded, or selected by an ALLOW policy that allows everyone, which leaves nothing to guard. */
const isSelected = (coverage: Coverage): boolean =>
  hasDefaultDeny(coverage) || coverage.openedAloneBy?.spec.selector !== undefined;

/** Which labels of a namespace without a default deny select what policies guard. */
const guardedSelections = fact(
  "guardedSelections",
  "Namespace",
  [authorization],
  (namespace, mesh) => new GuardedSelections(mesh.get(authorization, namespace)),
);

export const authorizationPolicyWithoutDefaultDeny = defineRule({
  id: "authorization-policy-without-default-deny",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfSelectingPolicy, authorization, guardedSelections],
  worksWithout: ["Workload", "KubernetesGateway"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  // namespace-default-deny-removed reports a lost default deny; created and deleted workloads are not the policy's fault.
  onlyOwnChanges: true,
  tags: ["deny-all-gap"],
  summary: "An ALLOW policy protects the workloads that it selects, and there is no default deny for the others.",
  why: "A workload that no ALLOW policy selects accepts every request (Istio pilot/pkg/model/authorization.go ListAuthorizationPolicies, pilot/pkg/security/authz/builder/builder.go). An ALLOW policy with a selector has no effect on the rest of its namespace.",
  fix: "Create the default deny first: an AuthorizationPolicy with `spec: {}` in this namespace, or, where requests arrive already, one without a selector that names their callers. Flux, Argo CD and Helm may apply them in any order.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Workloads of the namespace that no policy selects answer every caller, while those that the policy selects deny as intended.",
    wayOut:
      "Create the default deny only after an ALLOW policy for each caller that the other workloads need: it denies everything else at once.",
    silentWhen:
      "The policy is in the root namespace, a default deny of the mesh applies, or ALLOW policies select each workload of the namespace, one by one. The rule only warns of a policy for workloads that others selected before.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const { rootNamespace } = mesh.settings;
    const { namespace: name } = policy.metadata;
    // The root namespace contains policies for other namespaces; its workloads are the control plane.
    if (name === rootNamespace) return;
    for (const namespace of mesh.related(namespaceOfSelectingPolicy, policy)) {
      const found = mesh.get(authorization, namespace);
      if (isTerminating(namespace) || !leavesOpen(found)) continue;
      const isUndiscovered = found.isUndiscovered(policy);
      const open = isUndiscovered ? "workloads" : openedBeside(found);
      yield {
        at: ["spec", "selector"],
        message: `Namespace ${name} has no default deny: ${open} accept requests from everyone`,
        key: "no default deny",
        ...(open === "future workloads" ? { onlyWarns: "every known workload has a default deny of its own" } : {}),
        ...(isUndiscovered ? { fix: fixOfUndiscovered(name) } : {}),
        evidence: [absent("AuthorizationPolicy", name), absent("AuthorizationPolicy", rootNamespace)],
      };
    }
  },

  // Whoever selects the same workloads as others do leaves nothing open that was not.
  wasSo: (policy, _problem, before) =>
    before
      .related(namespaceOfSelectingPolicy, policy)
      .some((namespace) =>
        before.get(guardedSelections, namespace).isOldGap(policy.spec.selector?.matchLabels ?? noLabels),
      ),
});

const openedBeside = (found: NamespaceAuthorization): string =>
  isCovered(found) ? "future workloads" : "workloads that this policy does not select";

const leavesOpen = (found: NamespaceAuthorization): boolean =>
  !hasDefaultDeny(found.ofUnselected) && !found.isGuardedOneByOne;

/** Whether all existing workloads are protected, so that only future workloads lack a default deny. A single workload is not enough to show that. */
const isCovered = ({ knowsWorkloads, workloads, isEachGuarded }: NamespaceAuthorization): boolean =>
  knowsWorkloads && workloads.length > 1 && isEachGuarded;
