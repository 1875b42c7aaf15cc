import type { Path } from "../../kube/read.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { originatesTls } from "./originating-rules.ts";
import { declaredProtocol, isTlsPort } from "../membership/service-protocol.ts";
import { isServed } from "../objects/revision.ts";
import { isAlias } from "../traffic/aliased-hosts.ts";
import { backendTlsOfEntry, backendTlsOfService } from "../traffic/backend-tls-policies.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { DestinationRulesByHost } from "../traffic/destination-rule-lookup.ts";
import { destinationRuleByHost } from "../traffic/destination-rules.ts";
import { coveringHostsOfAll, fullHost, hostOfService } from "../traffic/hosts.ts";
import { isTlsProtocol } from "../traffic/service-entry-hosts.ts";
import { isForOtherControllers } from "../waypoints/other-controllers.ts";
import { gatewayService } from "../gateways/gateway-services.ts";
import { anyNamespace, definitionsOfBackendHost, isHostname } from "../gateways/hostname-backends.ts";
import {
  type Ingress,
  isServedByIstio,
  portOfBackend,
  rulesOfIngress,
  servicesOfIngress,
} from "../gateways/ingresses.ts";
import {
  type Backend,
  backendOf,
  backendsOf,
  isOfRequests,
  type KubernetesRoute,
  parentOf,
  servicesOfRoute,
} from "../gateways/routes.ts";

/** A destination of requests whose port is for TLS by all that defines the host. */
export interface TlsDestination {
  readonly at: Path;
  readonly host: string;
  readonly port: number;
  readonly definitions: readonly Definition[];
}

/** Gateways have HTTP of their own at the ports of their Services, which decide about TLS by their servers. */
export const isForTls = (
  definitions: readonly Definition[],
  port: number,
  mesh: MeshView<typeof gatewayService>,
): boolean =>
  definitions.length > 0 &&
  definitions.every((one) => hasTlsPort(one, port)) &&
  !definitions.some((one) => one.kind === "Service" && mesh.get(gatewayService, one));

/** Whether a BackendTLSPolicy makes TLS of what is sent to a port. */
export function getsTlsByPolicy(
  definition: Definition,
  port: number,
  mesh: MeshView<typeof backendTlsOfService | typeof backendTlsOfEntry>,
): boolean {
  const policies =
    definition.kind === "Service" ? mesh.get(backendTlsOfService, definition) : mesh.get(backendTlsOfEntry, definition);
  return policies !== undefined && (policies.wide !== undefined || policies.byPort.has(port));
}

const tlsPorts = new WeakMap<Definition, ReadonlySet<number | undefined>>();

/** Many routes can ask for the ports of one definition, of which it can have many. */
function hasTlsPort(definition: Definition, number: number): boolean {
  let known = tlsPorts.get(definition);
  if (known === undefined) tlsPorts.set(definition, (known = new Set(tlsPortsOfDefinition(definition))));
  return known.has(number);
}

const tlsPortsOfDefinition = (definition: Definition): readonly (number | undefined)[] =>
  definition.kind === "Service"
    ? definition.spec.ports.filter(isTlsPort).map(({ port }) => port)
    : definition.spec.ports.filter(({ protocol }) => isTlsProtocol(protocol)).map(({ number }) => number);

/** DestinationRules that make TLS of what any client sends, by their hosts. */
const tlsRuleByHost = index("DestinationRule", (rule, settings) =>
  originatesTls(rule) ? destinationRuleByHost.keys(rule, settings) : [],
);

const hostOfBackend = ({ ref }: Backend, route: KubernetesRoute, { domain }: MeshSettings): string => {
  if (isHostname(ref)) return ref.name;
  const { kind, namespace, name } = backendOf(ref, route);
  return kind === "Service" ? fullHost(name, namespace, domain) : "";
};

/** An HTTPRoute or a GRPCRoute and the DestinationRules, of any namespace, that make TLS of what is sent to its backends. */
const tlsRulesOfRoute = relation(
  "tlsRulesOfRoute",
  index("KubernetesRoute", (route, settings) => {
    if (!isOfRequests(route) || !isServed(route, settings)) return [];
    const hosts = new Set([...backendsOf(route)].map((one) => hostOfBackend(one, route, settings)));
    hosts.delete("");
    return coveringHostsOfAll([...hosts]);
  }),
  tlsRuleByHost,
);

/** An Ingress and the DestinationRules, of any namespace, that make TLS of what is sent to its Services. */
const tlsRulesOfIngress = relation(
  "tlsRulesOfIngress",
  index("Ingress", (ingress, { domain }) => {
    const names = new Set(rulesOfIngress(ingress).flatMap(({ backend }) => backend.service?.name ?? []));
    return coveringHostsOfAll([...names].map((name) => fullHost(name, ingress.metadata.namespace, domain)));
  }),
  tlsRuleByHost,
);

/** What `plainHttpOfRoute` and `plainHttpOfIngress` read. */
export const plainHttpReads = [
  ...[servicesOfRoute, definitionsOfBackendHost, isForOtherControllers, tlsRulesOfRoute],
  ...[servicesOfIngress, isServedByIstio, tlsRulesOfIngress],
  ...[gatewayService, backendTlsOfService, backendTlsOfEntry],
] as const;
type View = MeshView<(typeof plainHttpReads)[number]>;

/**
 * The backends of an HTTPRoute or a GRPCRoute that get plain HTTP at a port for TLS. istiod makes VirtualServices of both, and no TLS of
 * the protocol of the port (Istio pilot/pkg/config/kube/gateway/conversion.go buildDestination, pilot/pkg/networking/core/cluster_tls.go
 * buildUpstreamTLSSettings).
 */
export function* plainHttpOfRoute(
  route: KubernetesRoute,
  mesh: View,
): Generator<TlsDestination | undefined, undefined> {
  if (!isOfRequests(route) || !isServed(route, mesh.settings) || mesh.get(isForOtherControllers, route)) return;
  const services = new Map(
    mesh.related(servicesOfRoute, route).map((one) => [hostOfService(one, mesh.settings.domain), one]),
  );
  if (!hasHttpClients(route, services, mesh.settings)) return;
  const rules = new DestinationRulesByHost(mesh.related(tlsRulesOfRoute, route), mesh.settings);
  for (const backend of backendsOf(route)) {
    yield undefined;
    const { at, ref } = backend;
    const host = hostOfBackend(backend, route, mesh.settings);
    if (host === "" || ref.port === undefined) continue;
    const definitions = isHostname(ref) ? definitionsOfHostname(host, mesh) : listOf(services.get(host));
    const found = { at: [...at, "port"], host, port: ref.port, definitions };
    if (isPlain(found, rules, mesh)) yield found;
  }
}

const listOf = (service: Definition | undefined): readonly Definition[] => (service === undefined ? [] : [service]);

const definitionsOfHostname = (host: string, mesh: MeshView<typeof definitionsOfBackendHost>): readonly Definition[] =>
  mesh.get(definitionsOfBackendHost, host).get(anyNamespace)?.definitions ?? [];

/** Sidecars and waypoints use such a route only at ports of its parents for HTTP, or without a declared protocol. */
const hasHttpClients = (
  route: KubernetesRoute,
  services: ReadonlyMap<string, Definition>,
  { domain }: MeshSettings,
): boolean =>
  route.spec.parentRefs.some((ref) => {
    const { kind, namespace, name } = parentOf(ref, route);
    if (kind !== "Service") return kind === "Gateway" || kind === "ListenerSet";
    const parent = services.get(fullHost(name, namespace, domain));
    if (parent?.kind !== "Service") return false;
    const ports = parent.spec.ports.filter(({ port }) => ref.port === undefined || port === ref.port);
    return ports.some((port) => declaredProtocol(port) !== "TCP");
  });

/** The same for the backends of an Ingress (Istio pilot/pkg/config/kube/ingress/virtualservices.go ingressBackendToHTTPRoute). */
export function* plainHttpOfIngress(ingress: Ingress, mesh: View): Generator<TlsDestination | undefined, undefined> {
  if (mesh.get(isServedByIstio, ingress) !== true) return;
  const services = new Map(mesh.related(servicesOfIngress, ingress).map((one) => [one.metadata.name, one]));
  const rules = new DestinationRulesByHost(mesh.related(tlsRulesOfIngress, ingress), mesh.settings);
  for (const { at, backend } of rulesOfIngress(ingress)) {
    yield undefined;
    const service = services.get(backend.service?.name ?? "");
    const port = portOfBackend(backend, service);
    if (service === undefined || port === undefined) continue;
    const host = hostOfService(service, mesh.settings.domain);
    const found = { at: [...at, "backend", "service", "port"], host, port, definitions: [service] };
    if (isPlain(found, rules, mesh)) yield found;
  }
}

/** Requests to an alias are sent to the host that it stands for, with the TLS of that one. */
const isPlain = ({ host, port, definitions }: TlsDestination, rules: DestinationRulesByHost, mesh: View): boolean =>
  isForTls(definitions, port, mesh) &&
  !definitions.some((one) => (one.kind === "Service" && isAlias(one)) || getsTlsByPolicy(one, port, mesh)) &&
  rules.hostsOver(host).length === 0;
