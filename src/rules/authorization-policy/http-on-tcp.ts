import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { isForPort, isRuleForPort, portsNamedBy } from "../../mesh/authorization/rule-ports.ts";
import { asksForRequest, httpFields } from "../../mesh/authorization/rules.ts";
import {
  type Declaring,
  hasOnlyTcp,
  isForPorts,
  readsTcpPorts,
  servedBy,
  tcpPortsOf,
} from "../../mesh/gateways/tcp-ports.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { index, relation } from "../../view/view.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** An ALLOW or DENY policy for workloads, or for Services or ServiceEntries at their waypoint, with attributes of HTTP, and its namespace. */
const namespaceOfHttpPolicy = relation(
  "namespaceOfHttpPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isForPorts(policy) && isEnforced(policy, settings) && policy.spec.rules.some(asksForRequest)
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByName,
);

export const authorizationPolicyHttpOnTcp = defineRule({
  id: "authorization-policy-http-on-tcp",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfHttpPolicy, ...readsTcpPorts],
  worksWithout: ["Gateway", "Ingress", "KubernetesGateway", "ServiceEntry", "Workload"],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  tags: ["authorization"],
  summary:
    "A rule with attributes of HTTP applies to a port that is declared as TCP, where it denies more or allows nothing.",
  why: "A proxy does not parse HTTP on a port whose Service or ServiceEntry declares TCP, TLS or a database protocol, at a waypoint too, and a gateway does not where a server of its Gateways is for TCP, or for TLS that it does not end as HTTPS. There it leaves attributes of HTTP out of DENY rules, so that a rule with methods or paths alone denies every connection, and drops ALLOW rules that have one (Istio pilot/pkg/security/authz/builder/builder.go, pilot/pkg/security/authz/model/model.go Generate).",
  fix: "List the HTTP ports in `ports` of the operation, and write a rule without attributes of HTTP for the TCP ports. If the port serves HTTP, correct the name or the appProtocol of the Service's port, or the protocol of the ServiceEntry's.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Connections to the TCP port are closed as soon as they are made: the DENY rule matches all of them, or the ALLOW rule that was meant for the port does not exist there. Requests to the HTTP ports behave as intended.",
    wayOut:
      "Apply the previous version of the policy. If it has always been so, add the HTTP ports to `ports` of the operation.",
    silentWhen:
      "The policy is in the root namespace or targets a whole waypoint, ztunnel enforces it (authorization-policy-not-enforced-l7), the Service has no selector, its port declares no protocol, so that the proxy detects it, or an ALLOW rule names no port and some port of the workloads is not TCP.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfHttpPolicy, policy);
    // The root namespace has policies for other namespaces.
    if (namespace === undefined || policy.metadata.namespace === mesh.settings.rootNamespace) return;
    const services = yield* servedBy(policy, namespace, mesh);
    const ports = tcpPortsOf(services, targetRefsOf(policy).length > 0, mesh);
    if (ports.size === 0) return;
    const isAllOfTcp = services.every((one) => hasOnlyTcp(one, mesh));
    for (const [i, rule] of policy.spec.rules.entries()) {
      const at = ["spec", "rules", i];
      if (!asksForRequest(rule)) continue;
      if (actionOf(policy) === "DENY") yield* onEach(ports, (port, declaring) => denied(rule, port, declaring), at);
      else if (isAllOfTcp && isForAnyPort(rule))
        yield {
          at,
          ...(services.some(({ kind }) => kind === "ServiceEntry") ? droppedAtTargets : droppedEverywhere)(ports),
          related: services.slice(0, mostShown),
          evidence: services.slice(0, mostShown),
        };
      else yield* onEach(ports, (port, declaring) => dropped(rule, port, declaring), at);
    }
  },
});

function* onEach(
  ports: ReadonlyMap<number, Declaring>,
  said: (port: number, declaring: Declaring) => Said | undefined,
  at: Problem["at"],
): Iterable<Problem> {
  for (const [port, declaring] of ports) {
    const problem = said(port, declaring);
    if (problem !== undefined) yield { at, ...problem, related: [declaring], evidence: [declaring] };
  }
}

type Said = Pick<Problem, "message" | "key">;

/** An ALLOW rule is dropped whole; it matters where the rule names the port. */
const dropped = (rule: Rule, port: number, declaring: Declaring): Said | undefined =>
  portsNamedBy(rule).includes(port)
    ? {
        message: `This rule allows nothing on port ${port}, which ${idOf(declaring)} declares as TCP: it has attributes of HTTP`,
        key: `dropped ${port}`,
      }
    : undefined;

/** A namespace can have thousands of Services, and a policy thousands of rules. */
const mostShown = 5;
const portsShown = (ports: ReadonlyMap<number, Declaring>): string => {
  const more = ports.size > mostShown ? ` and ${ports.size - mostShown} more` : "";
  return `${[...ports.keys()].slice(0, mostShown).join(", ")}${more}`;
};
const isForAnyPort = ({ to, when }: Rule): boolean =>
  to.every(({ operation }) => operation.ports.length === 0) &&
  when.every(({ key, values }) => key !== "destination.port" || values.length === 0);

/**
 * A rule for any port is often meant for the HTTP ports beside this one, but no Service declares one. At other ports of the pods, a proxy
 * detects HTTP (Istio pilot/pkg/networking/core/listener_inbound.go buildInboundPassthroughChains).
 */
const droppedEverywhere = (ports: ReadonlyMap<number, Declaring>): Said => {
  const kinds = new Set([...ports.values()].map(({ kind }) => kind));
  const isAtGateways = kinds.size === 1 && kinds.has("Gateway");
  return {
    message: `This rule allows nothing on the ports of these workloads, which ${[...kinds].sort().join("s and ")}s declare as TCP (${portsShown(ports)}): it has attributes of HTTP${isAtGateways ? "" : countsElsewhere}`,
    key: "dropped everywhere",
  };
};
/** A gateway listens at the ports of its servers alone. */
const countsElsewhere = ". It counts at ports that no Service declares, where proxies detect HTTP";

/** A waypoint serves no other ports than those that its Services and ServiceEntries declare. */
const droppedAtTargets = (ports: ReadonlyMap<number, Declaring>): Said => ({
  message: `This rule allows nothing on the ports of its targets, which are declared as TCP (${portsShown(ports)}): it has attributes of HTTP`,
  key: "dropped everywhere",
});

/** Without its attributes of HTTP, a DENY rule matches all connections, or all of the callers that it names. */
function denied(rule: Rule, port: number, declaring: Declaring): Said | undefined {
  const { from, to, when } = rule;
  if (!isRuleForPort(rule, port)) return undefined;
  const operations = to.filter(({ operation }) => isForPort(operation.ports, operation.notPorts, port));
  if (!(operations.some(hasHttp) || asksForRequest({ from, to: [], when }))) return undefined;
  const whose = whoseConnections(rule);
  return {
    message: `This rule denies ${whose} to port ${port}, which ${idOf(declaring)} declares as TCP: its attributes of HTTP do not count there`,
    key: `denied ${port}`,
  };
}

/** What is left of a rule limits it to callers, or by conditions that are not about the request. */
function whoseConnections({ from, when }: Rule): string {
  const callers = from.some(isAnybody) || from.length === 0 ? [] : ["of the callers in `from`"];
  const isLimiting = ({ key, values, notValues }: Rule["when"][number]) =>
    key !== "destination.port" && !key.startsWith("request.") && values.length + notValues.length > 0;
  const conditions = when.some(isLimiting) ? ["that meet the conditions in `when`"] : [];
  return ["all connections", ...callers, ...conditions].join(" ");
}

const hasHttp = ({ operation }: Rule["to"][number]): boolean => httpFields.some((field) => operation[field].length > 0);

/** Whether nothing is left of a source without its tokens. */
const isAnybody = ({ source }: Rule["from"][number]): boolean =>
  Object.entries(source).every(
    ([field, values]) => values.length === 0 || field === "requestPrincipals" || field === "notRequestPrincipals",
  );
