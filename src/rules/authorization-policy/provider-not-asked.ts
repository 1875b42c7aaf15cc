import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { actionOf, type AuthorizationPolicy, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { meshConfigsOfProvider, providerUse } from "../../mesh/authorization/providers.ts";
import { isRuleForPort, portsNamedBy } from "../../mesh/authorization/rule-ports.ts";
import { asksForRequest } from "../../mesh/authorization/rules.ts";
import { type Declaring, isForPorts, readsTcpPorts, servedBy, tcpPortsOf } from "../../mesh/gateways/tcp-ports.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { index, relation } from "../../view/view.ts";

/** A CUSTOM policy for workloads, or for Services or ServiceEntries at their waypoint, and its namespace. */
const namespaceOfCustomPolicy = relation(
  "namespaceOfCustomPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isForPorts(policy) && actionOf(policy) === "CUSTOM" && isServed(policy, settings)
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByName,
);

export const authorizationPolicyProviderNotAsked = defineRule({
  id: "authorization-policy-provider-not-asked",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfCustomPolicy, meshConfigsOfProvider, providerUse, ...readsTcpPorts],
  worksWithout: ["Gateway", "Ingress", "KubernetesGateway", "ServiceEntry", "Workload"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  onlyOwnChanges: true,
  tags: ["authorization"],
  summary:
    "A CUSTOM policy is for a port that is declared as TCP, and its provider is asked over HTTP: connections there pass without a question.",
  why: "A provider with `envoyExtAuthzHttp` has no filter for connections. istiod leaves a CUSTOM policy with such a provider out where a proxy does not parse HTTP, and logs that for debugging alone (Istio pilot/pkg/security/authz/builder/builder.go buildTCP). Other policies decide there, and without one everybody is admitted.",
  fix: "Restrict the callers of the port with an ALLOW or DENY policy, or use a provider with `envoyExtAuthzGrpc`, which is asked about connections, too. If the port serves HTTP, correct the name or the appProtocol of the Service's port.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The provider gets no question about connections to the port, and they are admitted.",
    wayOut: "Deny the port to everybody with a DENY policy until another policy names its callers.",
    silentWhen:
      "The mesh config is not known, the policy is in the root namespace, ztunnel enforces it, the rule has attributes of HTTP and does not name the port, or the Service has no selector or declares no protocol.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-custom/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfCustomPolicy, policy);
    // The root namespace has policies for other namespaces.
    if (namespace === undefined || policy.metadata.namespace === mesh.settings.rootNamespace) return;
    const { provider, rules } = policy.spec;
    if (!mesh.get(providerUse, policy).isOfRequestsAlone) return;
    const configs = mesh.related(meshConfigsOfProvider, policy);
    const services = yield* servedBy(policy, namespace, mesh);
    const ports = tcpPortsOf(services, targetRefsOf(policy).length > 0, mesh);
    for (const [port, place] of placesOf(rules, ports.keys())) {
      const declaring = ports.get(port) as Declaring;
      yield {
        at: ["spec", "rules", place],
        message: `Extension provider ${JSON.stringify(provider?.name)} is not asked about connections to port ${port}, which ${idOf(declaring)} declares as TCP: it is asked over HTTP`,
        key: `port ${port}`,
        related: [declaring],
        evidence: [declaring, ...configs],
      };
    }
  },
});

type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** For each port, the first rule that is for it; a rule with attributes of HTTP is only for the ports that it names. */
function placesOf(rules: readonly Rule[], ports: Iterable<number>): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  const left = new Set(ports);
  for (const [place, rule] of rules.entries())
    for (const port of portsIn(rule, left))
      if (isRuleForPort(rule, port)) {
        found.set(port, place);
        left.delete(port);
      }
  return found;
}

/** The ports that a rule may be for, without a look at all of them for each of many rules that name one. */
function portsIn(rule: Rule, all: ReadonlySet<number>): readonly number[] {
  const named = portsNamedBy(rule);
  if (named.length === 0) return asksForRequest(rule) ? [] : [...all];
  return [...new Set(named)].filter((port) => all.has(port));
}
