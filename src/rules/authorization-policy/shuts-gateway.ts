import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { authorization, type NamespaceAuthorization } from "../../mesh/authorization/effective-authorization.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import type { Gateway } from "../../mesh/gateways/servers.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { isWildcard } from "../../mesh/traffic/hosts.ts";
import { gatewaysOfVirtualService, workloadsOfGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** An ALLOW policy with a selector whose rules are all for some hosts, and its namespace. */
const namespaceOfHostPolicy = relation(
  "namespaceOfHostPolicy",
  index("AuthorizationPolicy", (policy, settings) => {
    const isForSome = targetRefsOf(policy).length === 0 && policy.spec.selector !== undefined;
    return isForSome && actionOf(policy) === "ALLOW" && isEnforced(policy, settings) && isForHosts(policy)
      ? [policy.metadata.namespace]
      : [];
  }),
  namespaceByName,
);
/** A workload and the Gateways that have one of its labels in their selectors. */
const gatewaysOfWorkload = relation("gatewaysOfWorkload", workloadsOfGateway.to, workloadsOfGateway.from);
/** A Gateway and the VirtualServices that are bound to it. */
const virtualServicesOfGateway = relation(
  "virtualServicesOfGateway",
  gatewaysOfVirtualService.to,
  gatewaysOfVirtualService.from,
);

const reads = [namespaceOfHostPolicy, authorization, gatewaysOfWorkload, virtualServicesOfGateway] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyShutsGateway = defineRule({
  id: "authorization-policy-shuts-gateway",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary: "An ALLOW policy at an ingress gateway is for some hosts, so requests for all its other hosts are denied.",
  why: "Once a workload has an ALLOW policy, every request that no rule matches is denied (Istio pilot/pkg/security/authz/builder/builder.go). At a gateway, the first policy for one host closes the gateway for the hosts of all other teams.",
  fix: "Use action DENY with notPaths, notMethods or other negative values for this host, or add rules for the other hosts of the gateway.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["gateway"],
    seen: "Requests for hosts of other teams get 403 from the ingress gateway since the policy was applied, and the host that it is for works.",
    wayOut: "Delete the policy or apply its previous version: the gateway accepts the other hosts again at once.",
    silentWhen:
      "No VirtualService with a full host name is known for the gateway, or some ALLOW rule there is for every host.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-ingress/",
  },

  *check(policy, mesh) {
    for (const namespace of mesh.related(namespaceOfHostPolicy, policy)) {
      const found = mesh.get(authorization, namespace);
      const { matchLabels = {} } = policy.spec.selector ?? {};
      for (const workload of found.workloadsAndProxies) {
        if (!selects(matchLabels, workload.pod.labels)) continue;
        yield;
        const closed = closedHosts(workload, found, mesh);
        const [first, ...others] = closed.hosts;
        if (first === undefined) continue;
        const more = others.length === 0 ? "" : ` and ${others.length} more`;
        yield {
          at: ["spec", "rules"],
          message: `Requests at ${idOf(workload)} for ${JSON.stringify(first)}${more} are denied: no ALLOW policy there is for these hosts`,
          key: idOf(workload),
          related: closed.gateways,
          evidence: [workload, ...closed.virtualServices],
        };
      }
    }
  },
});

interface Closed {
  readonly hosts: readonly string[];
  readonly gateways: readonly Gateway[];
  readonly virtualServices: readonly VirtualService[];
}

/** The hosts of VirtualServices at a workload's gateways that no ALLOW rule can match. */
function closedHosts(workload: Workload, found: NamespaceAuthorization, mesh: View): Closed {
  const gateways = mesh
    .related(gatewaysOfWorkload, workload)
    .filter(({ spec }) => Object.keys(spec.selector).length > 0 && selects(spec.selector, workload.pod.labels));
  if (gateways.length === 0) return { hosts: [], gateways, virtualServices: [] };
  const patterns = found
    .appliedTo(workload)
    .lists.flatMap(({ policies }) => policies)
    .filter((policy) => actionOf(policy) === "ALLOW")
    .flatMap(hostsOfRules);
  const isOpen = openHosts(patterns);
  const routed = [...new Set(gateways.flatMap((gateway) => mesh.related(virtualServicesOfGateway, gateway)))];
  const closed = routed.filter(({ spec }) => spec.hosts.some((host) => !isWildcard(host) && !isOpen(host)));
  const hosts = new Set(closed.flatMap(({ spec }) => spec.hosts.filter((host) => !isWildcard(host) && !isOpen(host))));
  return { hosts: [...hosts].sort(), gateways, virtualServices: closed };
}

/** The host patterns of the rules; a rule without hosts is for all of them. */
const hostsOfRules = ({ spec }: AuthorizationPolicy): readonly string[] =>
  spec.rules.flatMap(({ to }) =>
    to.length === 0 ? ["*"] : to.flatMap(({ operation }) => (operation.hosts.length === 0 ? ["*"] : operation.hosts)),
  );

const isForHosts = (policy: AuthorizationPolicy): boolean =>
  policy.spec.rules.length > 0 && !hostsOfRules(policy).includes("*");

/**
 * Whether a pattern matches a host, perhaps with a port: exactly, by a prefix or by a suffix, without case (Istio
 * pilot/pkg/security/authz/matcher/header.go HostMatcherWithRegex).
 */
function openHosts(patterns: readonly string[]): (host: string) => boolean {
  const all = new Set(patterns.map((pattern) => pattern.toLowerCase()));
  const exact = new Set(
    [...all].filter((pattern) => !pattern.includes("*")).map((pattern) => pattern.replace(/:\d+$/, "")),
  );
  const ends = [...all]
    .filter((pattern) => pattern.startsWith("*"))
    .map((pattern) => pattern.slice(1).replace(/:\d+$/, ""));
  const starts = [...all].filter((pattern) => pattern.endsWith("*")).map((pattern) => pattern.slice(0, -1));
  return (host) => {
    const name = host.toLowerCase();
    return (
      exact.has(name) ||
      ends.some((end) => name.endsWith(end)) ||
      starts.some((start) => name.startsWith(start) || start.startsWith(`${name}:`))
    );
  };
}
