import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { protocolsOf } from "../../mesh/gateways/attachment.ts";
import { gatewayService } from "../../mesh/gateways/gateway-services.ts";
import type { Gateway } from "../../mesh/gateways/servers.ts";
import { asksForRequest, httpFields } from "../../mesh/authorization/rules.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { declaredProtocol } from "../../mesh/membership/service-protocol.ts";
import { type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];
type Operation = Rule["to"][number]["operation"];

/** An ALLOW or DENY policy for workloads with attributes of HTTP, and its namespace. */
const namespaceOfHttpPolicy = relation(
  "namespaceOfHttpPolicy",
  index("AuthorizationPolicy", (policy, settings) => {
    const isForWorkloads = targetRefsOf(policy).length === 0 && isEnforced(policy, settings);
    return isForWorkloads && policy.spec.rules.some(asksForRequest) ? [policy.metadata.namespace] : [];
  }),
  namespaceByName,
);

const reads = [namespaceOfHttpPolicy, servicesOfNamespace, gatewayService] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyHttpOnTcp = defineRule({
  id: "authorization-policy-http-on-tcp",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["Gateway"],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  tags: ["authorization"],
  summary:
    "A rule with attributes of HTTP applies to a port that is declared as TCP, where it denies more or allows nothing.",
  why: "A proxy does not parse HTTP on a port whose Service declares TCP, TLS or a database protocol, and a gateway does not where a server of its Gateways is for TCP, or for TLS that it does not end as HTTPS. There it leaves attributes of HTTP out of DENY rules, so that a rule with methods or paths alone denies every connection, and drops ALLOW rules that have one (Istio pilot/pkg/security/authz/builder/builder.go, pilot/pkg/security/authz/model/model.go Generate).",
  fix: "List the HTTP ports in `ports` of the operation, and write a rule without attributes of HTTP for the TCP ports. If the port serves HTTP, correct the name or the appProtocol of the Service's port.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway"],
    seen: "Connections to the TCP port are closed as soon as they are made: the DENY rule matches all of them, or the ALLOW rule that was meant for the port does not exist there. Requests to the HTTP ports behave as intended.",
    wayOut:
      "Apply the previous version of the policy. If it has always been so, add the HTTP ports to `ports` of the operation.",
    silentWhen:
      "The policy is in the root namespace, the Service has no selector, its port declares no protocol, so that the proxy detects it, or an ALLOW rule names no port and some port of the workloads is not TCP.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfHttpPolicy, policy);
    // The root namespace has policies for other namespaces.
    if (namespace === undefined || policy.metadata.namespace === mesh.settings.rootNamespace) return;
    const services = mesh.related(servicesOfNamespace, namespace).filter((one) => isForSame(one, policy));
    const ports = tcpPortsOf(services, mesh);
    if (ports.size === 0) return;
    // What ztunnel drops is reported by another rule.
    const isAllOfTcp = enrollmentOf(namespace) !== "ambient" && services.every((one) => hasOnlyTcp(one, mesh));
    for (const [i, rule] of policy.spec.rules.entries()) {
      const at = ["spec", "rules", i];
      if (!asksForRequest(rule)) continue;
      if (actionOf(policy) === "DENY") yield* onEach(ports, (port, declaring) => denied(rule, port, declaring), at);
      else if (isAllOfTcp && isForAnyPort(rule))
        yield {
          at,
          ...droppedEverywhere(ports),
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

const isForSame = ({ spec }: Service, policy: AuthorizationPolicy): boolean =>
  selectsSame(spec.selector, policy.spec.selector?.matchLabels ?? {});

type Port = Service["spec"]["ports"][number];
const isOfTcp = (port: Port): boolean => declaredProtocol(port) === "TCP" && port.protocol !== "UDP";

/** What makes a port of pods one of TCP: the Service that declares it, or the Gateway with its server. */
type Declaring = Service | Gateway;

const hasOnlyTcp = (service: Service, mesh: View): boolean =>
  mesh.get(gatewayService, service) === undefined && service.spec.ports.every(isOfTcp);

/** The ports of pods that are declared as TCP. */
function tcpPortsOf(services: readonly Service[], mesh: View): ReadonlyMap<number, Declaring> {
  const found = new Map<number, Declaring>();
  for (const service of services)
    for (const [port, declaring] of tcpPortsOfService(service, mesh)) if (!found.has(port)) found.set(port, declaring);
  return found;
}

function tcpPortsOfService(service: Service, mesh: View): Iterable<readonly [number, Declaring]> {
  const proxies = mesh.get(gatewayService, service);
  return proxies === undefined ? declaredAsTcp(service) : tcpPortsAtGateways(service, proxies.gateways);
}

function* declaredAsTcp(service: Service): Iterable<readonly [number, Declaring]> {
  for (const port of service.spec.ports) {
    const target = targetOf(port);
    if (target !== undefined && isOfTcp(port)) yield [target, service];
  }
}

/** A server listens at the target of the Service's port with its number (Istio pilot/pkg/model/gateway.go resolvePorts). */
function* tcpPortsAtGateways({ spec }: Service, gateways: readonly Gateway[]): Iterable<readonly [number, Declaring]> {
  for (const gateway of gateways)
    for (const server of gateway.spec.servers) {
      const isStream = protocolsOf(server).some((protocol) => protocol !== "http");
      const port = spec.ports.find((one) => one.port === server.port?.number);
      const target = port && targetOf(port);
      if (isStream && target !== undefined) yield [target, gateway];
    }
}

/** Every pod that one selects is selected by the other. A Service without a selector selects none. */
const selectsSame = (service: Service["spec"]["selector"], policy: Service["spec"]["selector"]): boolean =>
  Object.keys(service).length > 0 && (selects(policy, service) || selects(service, policy));

/** The port of the pods; undefined if it has a name, whose number depends on the pod. */
function targetOf({ port, targetPort }: Port): number | undefined {
  const target = targetPort ?? port;
  return typeof target === "number" ? target : undefined;
}

type Said = Pick<Problem, "message" | "key">;

/** An ALLOW rule is dropped whole; it matters where the rule names the port. */
const dropped = ({ to }: Rule, port: number, declaring: Declaring): Said | undefined =>
  to.some(({ operation }) => operation.ports.includes(String(port)))
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
const isForAnyPort = ({ to }: Rule): boolean => to.every(({ operation }) => operation.ports.length === 0);

/** A rule for any port is often meant for the HTTP ports beside this one, but here there are none. */
const droppedEverywhere = (ports: ReadonlyMap<number, Declaring>): Said => ({
  message: `This rule allows nothing on the ports of these workloads, which Services declare as TCP (${portsShown(ports)}): it has attributes of HTTP`,
  key: "dropped everywhere",
});

/** Without its attributes of HTTP, a DENY rule matches all connections, or all of the callers that it names. */
function denied({ from, to }: Rule, port: number, declaring: Declaring): Said | undefined {
  if (to.length > 0 && !to.some(({ operation }) => matchesAll(operation, port))) return undefined;
  const whose = from.length === 0 ? "all connections" : "all connections of the callers in `from`";
  return {
    message: `This rule denies ${whose} to port ${port}, which ${idOf(declaring)} declares as TCP: its attributes of HTTP do not count there`,
    key: `denied ${port}`,
  };
}

/** Whether an operation has attributes of HTTP and is for the port. */
const matchesAll = (operation: Operation, port: number): boolean =>
  httpFields.some((field) => operation[field].length > 0) &&
  (operation.ports.length === 0 || operation.ports.includes(String(port))) &&
  !operation.notPorts.includes(String(port));
