import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { backendTlsOfEntry, backendTlsOfService } from "../../mesh/traffic/backend-tls-policies.ts";
import { gatewayService } from "../../mesh/gateways/gateway-services.ts";
import { routePortsOf } from "../../mesh/gateways/route-ports.ts";
import { isTlsPort } from "../../mesh/membership/service-protocol.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { type DestinationRule, destinationRuleByHost, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import {
  coveringHosts,
  coveringHostsOfAll,
  fullHost,
  hostKey,
  isWildcard,
  namespaceOfHost,
} from "../../mesh/traffic/hosts.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import { isTlsProtocol } from "../../mesh/traffic/service-entry-hosts.ts";
import { gatewaysOf, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

const httpTraffic = (virtualService: VirtualService): readonly Traffic[] =>
  trafficOf(virtualService).filter(({ protocol }) => protocol === "http");

/** A VirtualService and the DestinationRules with TLS, of any namespace, for the hosts to which it sends HTTP. */
const rulesOfHttpDestinations = relation(
  "rulesOfHttpDestinations",
  index("VirtualService", (virtualService, settings) => {
    if (!isServed(virtualService, settings)) return [];
    const { namespace } = virtualService.metadata;
    const hosts = httpTraffic(virtualService).map(({ destination }) =>
      fullHost(destination.host, namespace, settings.domain),
    );
    return coveringHostsOfAll([...new Set(hosts)]);
  }),
  // One for a wildcard host would concern very many VirtualServices, and few of these DestinationRules set TLS.
  index("DestinationRule", (rule, settings) => (originatesTls(rule) ? destinationRuleByHost.keys(rule, settings) : [])),
);

const reads = [
  registeredHost,
  routePortsOf,
  rulesOfHttpDestinations,
  gatewayService,
  backendTlsOfService,
  backendTlsOfEntry,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceHttpToTlsPort = defineRule({
  id: "virtual-service-http-to-tls-port",
  subject: "VirtualService",
  reads,
  worksWithout: ["BackendTLSPolicy", "DestinationRule", "Gateway", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  // The name of a port can say https, although the application speaks HTTP there.
  stage: "trial",
  tags: ["gateway"],
  summary: "An http route sends requests to a port for TLS, and no DestinationRule makes TLS of them.",
  why: "Where a Gateway has ended TLS, or a client has sent HTTP, the proxy sends plain HTTP to the destination, whatever the name of its port says; Istio's own mTLS ends at the sidecar of the server, so that the application gets plain HTTP too. Only a DestinationRule with tls mode SIMPLE or MUTUAL adds the TLS that the application expects (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). The application answers 400 or closes the connection.",
  fix: "Add a DestinationRule for the host with `portLevelSettings` for this port and tls mode SIMPLE, or route to a port for HTTP. If the server shall end the TLS of the clients itself, use PASSTHROUGH at the Gateway and a tls route. If the application speaks HTTP there, name the port http.",
  incident: {
    symptoms: ["reset"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: 'Clients get 400 with "Client sent an HTTP request to an HTTPS server" or "The plain HTTP request was sent to HTTPS port", or 502 and 503 with a reset.',
    wayOut: "Apply a DestinationRule with tls mode SIMPLE for the host: proxies use it within seconds.",
    silentWhen:
      "Some DestinationRule for the host, in any namespace, sets tls mode SIMPLE or MUTUAL, a BackendTLSPolicy counts for the port, the destination names no port of a host that has several, or the VirtualService is for the mesh alone (virtual-service-destination-not-found), no port of the hosts uses http routes (virtual-service-protocol-mismatch), its pods are a gateway, such as an egress gateway, whose servers end Istio's mTLS, or the protocol of its port is not declared as HTTPS or TLS.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(virtualService, mesh) {
    if (!isServed(virtualService, mesh.settings)) return;
    let originating: ReadonlySet<string> | undefined;
    for (const found of tlsPortsOf(virtualService, mesh)) {
      yield;
      // Few VirtualServices send HTTP to a port for TLS, and only those need the ports at which requests arrive.
      if (originating === undefined && !usesHttpRoutes(virtualService, mesh)) return;
      originating ??= hostsWithTls(virtualService, mesh);
      if (coveringHosts(found.host).some((one) => originating?.has(one))) continue;
      if (!found.definitions.some((one) => getsTlsByPolicy(one, found.port, mesh))) yield problemOf(found, mesh);
    }
  },
});

/** Whether some proxy may use the http routes: a port of the hosts for TLS has none (virtual-service-protocol-mismatch). */
const usesHttpRoutes = (virtualService: VirtualService, mesh: View): boolean => {
  const ports = [...mesh.get(routePortsOf, virtualService).values()];
  return ports.some((one) => one === undefined || [...one.values()].some((used) => used.has("http")));
};

/**
 * The destinations of http routes whose port is for TLS by all that defines the host. At gateways, a destination without a port has
 * that of its host, if that is the only one, and else the one at which the request arrived, as always at sidecars (Istio
 * pilot/pkg/networking/core/route/route.go GetDestinationCluster, httproute.go BuildSidecarOutboundVirtualHosts).
 */
function* tlsPortsOf(virtualService: VirtualService, mesh: View): Generator<Found, undefined> {
  const isForGateways = [...gatewaysOf(virtualService)].some((gateway) => gateway !== meshGateway);
  for (const { at, destination } of httpTraffic(virtualService)) {
    const host = fullHost(destination.host, virtualService.metadata.namespace, mesh.settings.domain);
    if (host === "" || isWildcard(host)) continue;
    const { definitions, ports } = mesh.get(registeredHost, host);
    const named = destination.port?.number;
    const port = named ?? (isForGateways ? onlyOf(ports) : undefined);
    if (port !== undefined && isForTls(definitions, port, mesh))
      yield { at: named === undefined ? at : [...at, "port"], host, port, definitions };
  }
}

const isForTls = (definitions: readonly Definition[], port: number, mesh: View): boolean =>
  definitions.length > 0 &&
  definitions.every((one) => hasTlsPort(one, port)) &&
  !definitions.some((one) => one.kind === "Service" && mesh.get(gatewayService, one));

const onlyOf = (ports: ReadonlySet<number> | undefined): number | undefined =>
  ports?.size === 1 ? [...ports][0] : undefined;

/** Whether a BackendTLSPolicy makes TLS of what is sent to a port. */
function getsTlsByPolicy(definition: Definition, port: number, mesh: View): boolean {
  const policies =
    definition.kind === "Service" ? mesh.get(backendTlsOfService, definition) : mesh.get(backendTlsOfEntry, definition);
  return policies !== undefined && (policies.wide !== undefined || policies.byPort.has(port));
}

const hostsWithTls = (virtualService: VirtualService, mesh: View): ReadonlySet<string> =>
  new Set(
    mesh.related(rulesOfHttpDestinations, virtualService).map((rule) => hostKey(hostOfRule(rule, mesh.settings))),
  );

interface Found {
  readonly at: Path;
  readonly host: string;
  readonly port: number;
  readonly definitions: readonly Definition[];
}

function problemOf({ at, host, port, definitions }: Found, { settings }: View): Problem {
  const namespace = namespaceOfHost(host, settings.domain) ?? definitions[0]?.metadata.namespace;
  const rules: readonly Evidence[] = namespace === undefined ? [] : [absent("DestinationRule", namespace)];
  return {
    at,
    message: `Plain HTTP is sent to port ${port} of ${JSON.stringify(host)}, which is for TLS: no DestinationRule sets tls mode SIMPLE or MUTUAL`,
    key: `${host} ${port}`,
    related: definitions,
    evidence: [...definitions, ...rules],
  };
}

const tlsPorts = new WeakMap<Definition, ReadonlySet<number | undefined>>();

/** Many VirtualServices can ask for the ports of one definition, of which it can have many. */
function hasTlsPort(definition: Definition, number: number): boolean {
  let known = tlsPorts.get(definition);
  if (known === undefined) tlsPorts.set(definition, (known = new Set(tlsPortsOfDefinition(definition))));
  return known.has(number);
}

const tlsPortsOfDefinition = (definition: Definition): readonly (number | undefined)[] =>
  definition.kind === "Service"
    ? definition.spec.ports.filter(isTlsPort).map(({ port }) => port)
    : definition.spec.ports.filter(({ protocol }) => isTlsProtocol(protocol)).map(({ number }) => number);

function originatesTls({ spec }: DestinationRule): boolean {
  const policies = [spec.trafficPolicy, ...spec.subsets.map(({ trafficPolicy }) => trafficPolicy)];
  return policies.some((policy) =>
    [policy?.tls, ...(policy?.portLevelSettings ?? []).map(({ tls }) => tls)].some((tls) =>
      ["SIMPLE", "MUTUAL"].includes(tls?.mode ?? ""),
    ),
  );
}
