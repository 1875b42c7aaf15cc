import { defineRule } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import { gatewaysOfNamespace, isForIngress, labelsOfGatewayPods } from "../../mesh/membership/gateways.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { listening, portsOfSelected, unknownPort } from "../../mesh/traffic/listening.ts";
import { workloadByLabel, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { keysOfSelector } from "../../mesh/objects/label-keys.ts";
import { matchLabelsOf, selects } from "../../mesh/objects/selectors.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, reachedBy, relation } from "../../view/view.ts";

function isOfPorts(policy: AuthorizationPolicy, settings: MeshSettings): boolean {
  const isRead = isEnforced(policy, settings) && policy.metadata.namespace !== settings.rootNamespace;
  return isRead && targetRefsOf(policy).length === 0 && portsOf(policy).length > 0;
}

/** A policy for workloads that names ports, and its namespace. */
const namespaceOfPortPolicy = relation(
  "namespaceOfPortPolicy",
  index("AuthorizationPolicy", (policy, settings) => (isOfPorts(policy, settings) ? [policy.metadata.namespace] : [])),
  namespaceByName,
);
/** Such a policy with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearPortPolicy = relation(
  "workloadsNearPortPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isOfPorts(policy, settings) ? keysOfSelector(policy.metadata.namespace, matchLabelsOf(policy)) : [],
  ),
  workloadByLabel,
);
/** Such a policy without a selector, and the workloads of its namespace. */
const workloadsOfWidePortPolicy = relation(
  "workloadsOfWidePortPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    Object.keys(matchLabelsOf(policy)).length === 0 && isOfPorts(policy, settings) ? [policy.metadata.namespace] : [],
  ),
  workloadsOfNamespace.to,
);

/** The ports in the rules of a policy, with their paths, without those of Istio's own proxies (150xx). */
function portsOf({ spec }: AuthorizationPolicy): readonly { readonly port: number; readonly at: Path }[] {
  const found = spec.rules.flatMap(({ to, when }, i) => [
    ...to.flatMap(({ operation }, j) =>
      (["ports", "notPorts"] as const).flatMap((field) =>
        operation[field].map((value, k) => ({ value, at: ["spec", "rules", i, "to", j, "operation", field, k] })),
      ),
    ),
    ...when.flatMap((condition, j) =>
      (["values", "notValues"] as const).flatMap((field) =>
        condition.key === "destination.port"
          ? condition[field].map((value, k) => ({ value, at: ["spec", "rules", i, "when", j, field, k] }))
          : [],
      ),
    ),
  ]);
  return found
    .filter(({ value }) => /^[0-9]+$/.test(value) && !/^150[0-9]{2}$/.test(value))
    .map(({ value, at }) => ({ port: Number(value), at }));
}

export const authorizationPolicyPortUnknown = defineRule({
  id: "authorization-policy-port-unknown",
  subject: "AuthorizationPolicy",
  reads: [
    namespaceOfPortPolicy,
    reachedBy(captured, [workloadsNearPortPolicy, workloadsOfWidePortPolicy]),
    listening,
    gatewaysOfNamespace,
    listenersOfGateway,
  ],
  // Without workloads there is nothing to compare with.
  worksWithout: ["KubernetesGateway", "ListenerSet", "Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "None of the selected workloads is known to listen on a port that a rule names.",
  why: "The ports in a policy are those of the pods, not those of the Service (Istio pilot/pkg/security/authz/model/generator.go destPortGenerator). A rule for another port matches no request: an ALLOW rule allows nothing by it, and a DENY rule denies nothing.",
  fix: "Use the port on which the container listens (the Service's targetPort), or declare it in the container's ports.",

  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "ztunnel"],
    seen: "With an ALLOW rule, callers get 403 `RBAC: access denied`, or their connections are closed. With a DENY rule, nobody is denied.",
    wayOut: "Apply the previous version of the policy, or correct the port: it is the targetPort of the Service.",
    silentWhen:
      "No workload that is selected is known, or one of them declares no ports, so that it may listen anywhere.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfPortPolicy, policy);
    if (namespace === undefined) return;
    const known = portsOfSelected(matchLabelsOf(policy), namespace, mesh);
    if (known === undefined) return;
    const unknown = portsOf(policy).filter(({ port }) => !known.ports.has(port));
    const atGateways = unknown.length === 0 ? none : portsOfGateways(matchLabelsOf(policy), namespace, mesh);
    if (atGateways === undefined) return;
    for (const { port, at } of unknown) if (!atGateways.has(port)) yield { at, ...unknownPort(port, known) };
  },
});

const none: ReadonlySet<number> = new Set();

/**
 * The ports of the Gateways in the namespace whose pods, which istiod creates, are selected, too; undefined: ListenerSets that are not
 * known may add some.
 */
function portsOfGateways(
  selector: Readonly<Record<string, string>>,
  namespace: Namespace,
  mesh: MeshView<typeof gatewaysOfNamespace | typeof listenersOfGateway>,
): ReadonlySet<number> | undefined {
  const selected = mesh
    .related(gatewaysOfNamespace, namespace)
    .filter(
      (gateway) =>
        isForIngress(gateway, mesh.settings) && selects(selector, labelsOfGatewayPods(gateway, mesh.settings)),
    )
    .map((gateway) => mesh.get(listenersOfGateway, gateway));
  if (selected.some(({ others }) => others !== undefined)) return undefined;
  return new Set(selected.flatMap(({ all }) => all.flatMap(({ listener }) => listener.port ?? [])));
}
