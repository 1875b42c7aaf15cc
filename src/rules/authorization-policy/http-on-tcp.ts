import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  actionOf,
  type AuthorizationPolicy,
  isEnforced,
  servicesTargeted,
  targetRefsOf,
} from "../../mesh/authorization/policies.ts";
import { protocolsOf } from "../../mesh/gateways/attachment.ts";
import { gatewayService } from "../../mesh/gateways/gateway-services.ts";
import type { Gateway } from "../../mesh/gateways/servers.ts";
import { asksForRequest, httpFields } from "../../mesh/authorization/rules.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { declaredProtocol } from "../../mesh/membership/service-protocol.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** An ALLOW or DENY policy for workloads or for Services at their waypoint, with attributes of HTTP, and its namespace. */
const namespaceOfHttpPolicy = relation(
  "namespaceOfHttpPolicy",
  index("AuthorizationPolicy", (policy, settings) => {
    const isForServices = targetRefsOf(policy).length === 0 || servicesTargeted(policy).length > 0;
    return isForServices && isEnforced(policy, settings) && policy.spec.rules.some(asksForRequest)
      ? [policy.metadata.namespace]
      : [];
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
  why: "A proxy does not parse HTTP on a port whose Service declares TCP, TLS or a database protocol, at a waypoint too, and a gateway does not where a server of its Gateways is for TCP, or for TLS that it does not end as HTTPS. There it leaves attributes of HTTP out of DENY rules, so that a rule with methods or paths alone denies every connection, and drops ALLOW rules that have one (Istio pilot/pkg/security/authz/builder/builder.go, pilot/pkg/security/authz/model/model.go Generate).",
  fix: "List the HTTP ports in `ports` of the operation, and write a rule without attributes of HTTP for the TCP ports. If the port serves HTTP, correct the name or the appProtocol of the Service's port.",
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
    const services = servicesOf(policy, namespace, mesh);
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

/** The Services whose ports the policy is for: those that it targets, or those of the workloads that it selects. */
function servicesOf(policy: AuthorizationPolicy, namespace: Namespace, mesh: View): readonly Service[] {
  const all = mesh.related(servicesOfNamespace, namespace);
  if (targetRefsOf(policy).length > 0) {
    const targeted = new Set(servicesTargeted(policy));
    return all.filter(({ metadata }) => targeted.has(metadata.name));
  }
  const selected = all.filter((one) => isForSame(one, policy));
  // ztunnel knows HTTP at no port, which another rule reports, but the pods of a gateway are proxies.
  return enrollmentOf(namespace) === "ambient"
    ? selected.filter((one) => mesh.get(gatewayService, one) !== undefined)
    : selected;
}

const isForSame = ({ spec }: Service, policy: AuthorizationPolicy): boolean =>
  selectsSame(spec.selector, policy.spec.selector?.matchLabels ?? {});

type Port = Service["spec"]["ports"][number];
const isOfTcp = (port: Port): boolean => declaredProtocol(port) === "TCP" && port.protocol !== "UDP";

/** What makes a port of pods one of TCP: the Service that declares it, or the Gateway with its server. */
type Declaring = Service | Gateway;

const hasOnlyTcp = (service: Service, mesh: View): boolean =>
  mesh.get(gatewayService, service) === undefined && service.spec.ports.every(isOfTcp);

/**
 * The ports that are declared as TCP: those of pods, or those of the Services themselves, which a waypoint sees (Istio
 * pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).
 */
function tcpPortsOf(services: readonly Service[], isAtWaypoint: boolean, mesh: View): ReadonlyMap<number, Declaring> {
  const found = new Map<number, Declaring>();
  for (const service of services)
    for (const [port, declaring] of isAtWaypoint ? declaredOfService(service) : tcpPortsOfService(service, mesh))
      if (!found.has(port)) found.set(port, declaring);
  return found;
}

const declaredOfService = (service: Service): readonly (readonly [number, Declaring])[] =>
  service.spec.ports.flatMap((one) => (one.port !== undefined && isOfTcp(one) ? [[one.port, service] as const] : []));

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
const dropped = (rule: Rule, port: number, declaring: Declaring): Said | undefined =>
  namesPort(rule, port)
    ? {
        message: `This rule allows nothing on port ${port}, which ${idOf(declaring)} declares as TCP: it has attributes of HTTP`,
        key: `dropped ${port}`,
      }
    : undefined;

const namesPort = ({ to, when }: Rule, port: number): boolean =>
  to.some(({ operation }) => operation.ports.includes(String(port))) ||
  when.some(({ key, values }) => key === destinationPort && values.includes(String(port)));
const destinationPort = "destination.port";

/** A namespace can have thousands of Services, and a policy thousands of rules. */
const mostShown = 5;
const portsShown = (ports: ReadonlyMap<number, Declaring>): string => {
  const more = ports.size > mostShown ? ` and ${ports.size - mostShown} more` : "";
  return `${[...ports.keys()].slice(0, mostShown).join(", ")}${more}`;
};
const isForAnyPort = ({ to, when }: Rule): boolean =>
  to.every(({ operation }) => operation.ports.length === 0) &&
  when.every(({ key, values }) => key !== destinationPort || values.length === 0);

/** A rule for any port is often meant for the HTTP ports beside this one, but here there are none. */
const droppedEverywhere = (ports: ReadonlyMap<number, Declaring>): Said => ({
  message: `This rule allows nothing on the ports of these workloads, which Services declare as TCP (${portsShown(ports)}): it has attributes of HTTP`,
  key: "dropped everywhere",
});

/** Without its attributes of HTTP, a DENY rule matches all connections, or all of the callers that it names. */
function denied(rule: Rule, port: number, declaring: Declaring): Said | undefined {
  const { from, to, when } = rule;
  const operations = to.filter(({ operation }) => isForPort(operation.ports, operation.notPorts, port));
  if (to.length > 0 && operations.length === 0) return undefined;
  const isElsewhere = when.some(
    ({ key, values, notValues }) => key === destinationPort && !isForPort(values, notValues, port),
  );
  if (isElsewhere || !(operations.some(hasHttp) || asksForRequest({ from, to: [], when }))) return undefined;
  const whose =
    from.some(isAnybody) || from.length === 0 ? "all connections" : "all connections of the callers in `from`";
  return {
    message: `This rule denies ${whose} to port ${port}, which ${idOf(declaring)} declares as TCP: its attributes of HTTP do not count there`,
    key: `denied ${port}`,
  };
}

const isForPort = (ports: readonly string[], notPorts: readonly string[], port: number): boolean =>
  (ports.length === 0 || ports.includes(String(port))) && !notPorts.includes(String(port));

const hasHttp = ({ operation }: Rule["to"][number]): boolean => httpFields.some((field) => operation[field].length > 0);

/** Whether nothing is left of a source without its tokens. */
const isAnybody = ({ source }: Rule["from"][number]): boolean =>
  Object.entries(source).every(
    ([field, values]) => values.length === 0 || field === "requestPrincipals" || field === "notRequestPrincipals",
  );
