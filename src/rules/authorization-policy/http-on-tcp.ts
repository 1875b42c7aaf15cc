import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { asksForHttp, httpFields } from "../../mesh/authorization/rules.ts";
import { declaredProtocol } from "../../mesh/membership/service-protocol.ts";
import { type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, relation } from "../../view/view.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];
type Operation = Rule["to"][number]["operation"];

/** An ALLOW or DENY policy for workloads with attributes of HTTP, and its namespace. */
const namespaceOfHttpPolicy = relation(
  "namespaceOfHttpPolicy",
  index("AuthorizationPolicy", (policy, settings) => {
    const isForWorkloads = targetRefsOf(policy).length === 0 && isEnforced(policy, settings);
    return isForWorkloads && policy.spec.rules.some(asksForHttp) ? [policy.metadata.namespace] : [];
  }),
  namespaceByName,
);

export const authorizationPolicyHttpOnTcp = defineRule({
  id: "authorization-policy-http-on-tcp",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfHttpPolicy, servicesOfNamespace],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  tags: ["authorization"],
  summary:
    "A rule with attributes of HTTP applies to a port that is declared as TCP, where it denies more or allows nothing.",
  why: "A proxy does not parse HTTP on a port whose Service declares TCP, TLS or a database protocol. There it leaves attributes of HTTP out of DENY rules, so that a rule with methods or paths alone denies every connection, and drops ALLOW rules that have one (Istio pilot/pkg/security/authz/builder/builder.go, pilot/pkg/security/authz/model/model.go Generate).",
  fix: "List the HTTP ports in `ports` of the operation, and write a rule without attributes of HTTP for the TCP ports. If the port serves HTTP, correct the name or the appProtocol of the Service's port.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway"],
    seen: "Connections to the TCP port are closed as soon as they are made: the DENY rule matches all of them, or the ALLOW rule that was meant for the port does not exist there. Requests to the HTTP ports behave as intended.",
    wayOut:
      "Apply the previous version of the policy. If it has always been so, add the HTTP ports to `ports` of the operation.",
    silentWhen:
      "The policy is in the root namespace, the Service has no selector, or its port declares no protocol, so that the proxy detects it.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfHttpPolicy, policy);
    // The root namespace has policies for other namespaces.
    if (namespace === undefined || policy.metadata.namespace === mesh.settings.rootNamespace) return;
    const ports = tcpPortsOf(policy, mesh.related(servicesOfNamespace, namespace));
    if (ports.size === 0) return;
    for (const [i, rule] of policy.spec.rules.entries()) {
      if (!asksForHttp(rule)) continue;
      for (const [port, service] of ports) {
        const problem = actionOf(policy) === "DENY" ? denied(rule, port, service) : dropped(rule, port, service);
        if (problem !== undefined)
          yield { at: ["spec", "rules", i], ...problem, related: [service], evidence: [service] };
      }
    }
  },
});

/** The ports of pods that a Service declares as TCP, for workloads that the policy selects. */
function tcpPortsOf({ spec }: AuthorizationPolicy, services: readonly Service[]): ReadonlyMap<number, Service> {
  const labels = spec.selector?.matchLabels ?? {};
  const found = new Map<number, Service>();
  for (const service of services) {
    if (!selectsSame(service.spec.selector, labels)) continue;
    for (const port of service.spec.ports) {
      const target = targetOf(port);
      if (target !== undefined && declaredProtocol(port) === "TCP" && !found.has(target)) found.set(target, service);
    }
  }
  return found;
}

/** Every pod that one selects is selected by the other. A Service without a selector selects none. */
const selectsSame = (service: Service["spec"]["selector"], policy: Service["spec"]["selector"]): boolean =>
  Object.keys(service).length > 0 && (selects(policy, service) || selects(service, policy));

/** The port of the pods; undefined if it has a name, whose number depends on the pod, or if no proxy handles it. */
function targetOf({ port, targetPort, protocol }: Service["spec"]["ports"][number]): number | undefined {
  const target = targetPort ?? port;
  return typeof target === "number" && protocol !== "UDP" ? target : undefined;
}

type Said = Pick<Problem, "message" | "key">;

/** An ALLOW rule is dropped whole; it matters where the rule names the port. */
const dropped = ({ to }: Rule, port: number, service: Service): Said | undefined =>
  to.some(({ operation }) => operation.ports.includes(String(port)))
    ? {
        message: `This rule allows nothing on port ${port}, which ${idOf(service)} declares as TCP: it has attributes of HTTP`,
        key: `dropped ${port}`,
      }
    : undefined;

/** Without its attributes of HTTP, a DENY rule matches all connections, or all of the callers that it names. */
function denied({ from, to }: Rule, port: number, service: Service): Said | undefined {
  if (to.length > 0 && !to.some(({ operation }) => matchesAll(operation, port))) return undefined;
  const whose = from.length === 0 ? "all connections" : "all connections of the callers in `from`";
  return {
    message: `This rule denies ${whose} to port ${port}, which ${idOf(service)} declares as TCP: its attributes of HTTP do not count there`,
    key: `denied ${port}`,
  };
}

/** Whether an operation has attributes of HTTP and is for the port. */
const matchesAll = (operation: Operation, port: number): boolean =>
  httpFields.some((field) => operation[field].length > 0) &&
  (operation.ports.length === 0 || operation.ports.includes(String(port))) &&
  !operation.notPorts.includes(String(port));
