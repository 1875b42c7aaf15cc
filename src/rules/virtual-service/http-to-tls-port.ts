import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  getsTlsByPolicy,
  isForTls,
  plainHttpOfIngress,
  plainHttpOfRoute,
  plainHttpReads,
  type TlsDestination,
} from "../../mesh/client-tls/plain-http-backends.ts";
import { routePortsOf } from "../../mesh/gateways/route-ports.ts";
import { clientTlsOf } from "../../mesh/client-tls/client-tls.ts";
import { keysOfHosts, originatesTls, originatingRuleByHost } from "../../mesh/client-tls/originating-rules.ts";
import { clientProxies, hasNoMeshRoutes, hasSidecars } from "../../mesh/membership/clients.ts";
import { podsNearService } from "../../mesh/membership/services.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { definitionsFor } from "../../mesh/traffic/definition-choice.ts";
import { DestinationRulesByHost } from "../../mesh/traffic/destination-rule-lookup.ts";
import type { MergedDestinationRule } from "../../mesh/traffic/destination-rule-merge.ts";
import type { RulesOverHost } from "../../mesh/traffic/destination-rules-of-host.ts";
import type { DestinationRule } from "../../mesh/traffic/destination-rules.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import { fullHost, isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import {
  clientsMatching,
  clientsOf,
  gatewayPodsOf,
  gatewaysOf,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

const httpTraffic = (virtualService: VirtualService): readonly Traffic[] =>
  trafficOf(virtualService).filter(({ protocol }) => protocol === "http");

/** A VirtualService and the DestinationRules, of any namespace, that decide about TLS to the hosts to which it sends HTTP. */
const rulesOfHttpDestinations = relation(
  "rulesOfHttpDestinations",
  index("VirtualService", (virtualService, settings) => {
    if (!isServed(virtualService, settings)) return [];
    const { namespace } = virtualService.metadata;
    const hosts = httpTraffic(virtualService).map(({ destination }) =>
      fullHost(destination.host, namespace, settings.domain),
    );
    return keysOfHosts([...new Set(hosts)], namespace);
  }),
  originatingRuleByHost,
);

/** A VirtualService and its namespace, whose sidecars are meant to follow it. */
const namespaceOfVirtualService = relation(
  "namespaceOfVirtualService",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

const reads = [
  registeredHost,
  routePortsOf,
  rulesOfHttpDestinations,
  namespaceOfVirtualService,
  clientProxies,
  hasNoMeshRoutes,
  hasSidecars,
  gatewaysOfVirtualService,
  workloadsOfGateway,
  podsNearService,
  ...plainHttpReads,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceHttpToTlsPort = defineRule({
  id: "virtual-service-http-to-tls-port",
  subject: ["VirtualService", "KubernetesRoute", "Ingress"],
  reads,
  worksWithout: [
    "BackendTLSPolicy",
    "DestinationRule",
    "Gateway",
    "Ingress",
    "IngressClass",
    "KubernetesGateway",
    "KubernetesRoute",
    "ListenerSet",
    "ServiceEntry",
    "VirtualService",
    "Workload",
  ],
  mode: "warn",
  since: "0.1.0",
  // The name of a port can say https, although the application speaks HTTP there.
  stage: "trial",
  tags: ["gateway"],
  summary:
    "An http route of a VirtualService, an HTTPRoute, a GRPCRoute or an Ingress sends requests to a port for TLS, and no DestinationRule makes TLS of them.",
  why: "The proxy sends plain HTTP, whatever the name of the port says, and Istio's own mTLS ends at the sidecar of the server. Only a DestinationRule with tls mode SIMPLE or MUTUAL adds the TLS that the application expects (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings). Sidecars leave it out for a DestinationRule with credentialName and without workloadSelector (buildUpstreamClusterTLSContext). istiod makes VirtualServices of routes of the Gateway API and of Ingresses (pilot/pkg/config/kube/gateway/conversion.go, pilot/pkg/config/kube/ingress/virtualservices.go).",
  fix: "Add a DestinationRule for the host with `portLevelSettings` for this port and tls mode SIMPLE, or a BackendTLSPolicy, or route to a port for HTTP. If the server shall end the TLS of the clients itself, use PASSTHROUGH at the Gateway and a tls route. If the application speaks HTTP there, name the port http.",
  incident: {
    symptoms: ["reset"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: 'Clients get 400 with "Client sent an HTTP request to an HTTPS server" or "The plain HTTP request was sent to HTTPS port", or 502 and 503 with a reset.',
    wayOut: "Apply a DestinationRule with tls mode SIMPLE for the host: proxies use it within seconds.",
    silentWhen:
      "Only clients outside the namespaces of the VirtualService and its gateways lack such a DestinationRule, a BackendTLSPolicy counts for the port, the destination names no port of a host that has several, or its pods are a gateway, or a DestinationRule sets ISTIO_MUTUAL with sni for a Service of which no pods are known, no port of the hosts uses http routes (virtual-service-protocol-mismatch), or the protocol of the port is not declared as HTTPS or TLS. For routes of the Gateway API and Ingresses, any DestinationRule with TLS for the host counts, whichever clients use it, and an ExternalName is not followed.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(object, mesh) {
    if (object.kind === "VirtualService") yield* ofVirtualService(object, mesh);
    else
      for (const found of object.kind === "Ingress" ? plainHttpOfIngress(object, mesh) : plainHttpOfRoute(object, mesh))
        yield found && problemOf(found, mesh);
  },
});

function* ofVirtualService(virtualService: VirtualService, mesh: View): Iterable<Problem | undefined> {
  if (!isServed(virtualService, mesh.settings)) return;
  let rules: DestinationRulesByHost | undefined;
  for (const found of tlsPortsOf(virtualService, mesh)) {
    yield;
    // Few VirtualServices send HTTP to a port for TLS, and only those need the ports at which requests arrive.
    if (rules === undefined && !usesHttpRoutes(virtualService, mesh)) return;
    rules ??= new DestinationRulesByHost(mesh.related(rulesOfHttpDestinations, virtualService), mesh.settings);
    if (found.definitions.some((one) => getsTlsByPolicy(one, found.port, mesh))) continue;
    const over = rules.over(found.host);
    if (isForGateway(found, over, virtualService, mesh)) continue;
    if (!over.rules.some(originatesTls)) yield problemOf(found, mesh);
    else yield* withoutRule(found, over, virtualService, mesh);
  }
}

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
  for (const { at, destination, route } of httpTraffic(virtualService)) {
    const host = fullHost(destination.host, virtualService.metadata.namespace, mesh.settings.domain);
    if (host === "" || isWildcard(host)) continue;
    const { definitions, ports } = mesh.get(registeredHost, host);
    const named = destination.port?.number;
    const port = named ?? (isForGateways ? onlyOf(ports) : undefined);
    if (port !== undefined && isForTls(definitions, port, mesh))
      yield {
        at: named === undefined ? at : [...at, "port"],
        host,
        port,
        definitions,
        subset: destination.subset,
        match: route.match,
      };
  }
}

const onlyOf = (ports: ReadonlySet<number> | undefined): number | undefined =>
  ports?.size === 1 ? [...ports][0] : undefined;

/** If only other clients use the DestinationRules with TLS: the first namespace whose clients follow the route and use none of them. */
function* withoutRule(
  found: Found,
  over: RulesOverHost,
  virtualService: VirtualService,
  mesh: View,
): Iterable<Problem> {
  for (const client of clientsOfRoute(found, virtualService, mesh)) {
    const used = usedBy(client.namespace, found, over, mesh);
    mesh.visited(used.length);
    if (used.length === 0 || used.some((one) => mayAddTls(one, found, client))) continue;
    const [rule] = used[0]?.from ?? [];
    const isIgnored = client.isSidecar && mayAddTls(used[0], found, { ...client, isSidecar: false });
    if (rule !== undefined && isIgnored) yield { ...problemOf(found, mesh, noCredential(rule), [rule]), fix };
    else yield problemOf(found, mesh, noTls(` that clients in "${client.namespace}" use`), rule && [rule]);
    return;
  }
}

const noTls = (of: string): string => `no DestinationRule${of} sets tls mode SIMPLE or MUTUAL`;
const noCredential = (rule: DestinationRule): string =>
  `${idOf(rule)} has credentialName and no workloadSelector, which has no effect at sidecars`;
const fix = "Add a workloadSelector to the DestinationRule, or name files instead of credentialName.";

/** What some clients use for a host, whichever of its definitions is theirs. */
const usedBy = (client: string, { definitions }: Found, over: RulesOverHost, { settings }: View) => {
  const owners = new Set(definitionsFor(client, definitions, settings).map(({ metadata }) => metadata.namespace));
  return [...owners].flatMap((owner) => over.usedBy(client, owner));
};

/**
 * Whether the clients in the namespace of the VirtualService send the mTLS of the mesh because a DestinationRule says so, whatever is behind
 * the port (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings), and that is for a gateway: it names the server by `sni`,
 * for which no sidecar asks, and no pod is known at whose sidecar the TLS ends.
 */
function isForGateway(
  found: Found,
  over: RulesOverHost,
  { metadata: { namespace } }: VirtualService,
  mesh: View,
): boolean {
  const { port, definitions } = found;
  const isSent = usedBy(namespace, found, over, mesh).some((used) => {
    const subset = used?.subsets.find(({ name }) => name === found.subset);
    const { tls, sni } = clientTlsOf(used, port, subset, true);
    return tls === "mtls" && sni !== undefined;
  });
  if (!isSent || !mesh.knowsAll("Workload")) return false;
  return definitions.every(
    (one) => one.kind === "Service" && mesh.get(podsNearService, one)?.selected(one.spec.selector).length === 0,
  );
}

/** Proxies of one kind in a namespace. */
interface Client {
  readonly namespace: string;
  /** Sidecars do not make the TLS of a credentialName without workloadSelector. */
  readonly isSidecar: boolean;
}

/** Whether clients with this DestinationRule make TLS for a route, or have no cluster for it. */
function mayAddTls(
  used: MergedDestinationRule | undefined,
  { port, subset: name }: Found,
  { isSidecar }: Client,
): boolean {
  const subset = name === undefined ? undefined : used?.subsets.find((one) => one.name === name);
  if (name && subset === undefined) return true;
  return clientTlsOf(used, port, subset, !isSidecar).tls === "tls";
}

/** Proxies that certainly follow a route: those in the namespace of the VirtualService, and the pods of its gateways. */
function* clientsOfRoute({ match }: Found, virtualService: VirtualService, mesh: View): Iterable<Client> {
  if (isDelegate(virtualService)) return;
  const { namespace } = virtualService.metadata;
  const pods = gatewayPodsOf(virtualService, mesh);
  const own = ownClientOf(virtualService, mesh);
  const known = new Set<string>();
  for (const [gateway, seen] of clientsMatching(clientsOf(virtualService, mesh.settings), match, "http", namespace)) {
    if (gateway === meshGateway && own !== undefined && includesNamespace(seen, namespace)) yield own;
    for (const { workload } of pods.get(gateway) ?? []) {
      const there = workload.metadata.namespace;
      if (known.has(there) || !includesNamespace(seen, there)) continue;
      known.add(there);
      yield { namespace: there, isSidecar: false };
    }
  }
}

/** The clients of the mesh in the namespace of a VirtualService, if there certainly are some. */
function ownClientOf(virtualService: VirtualService, mesh: View): Client | undefined {
  const [own] = mesh.related(namespaceOfVirtualService, virtualService);
  return own !== undefined && mesh.get(clientProxies, own) === true && !mesh.get(hasNoMeshRoutes, own)
    ? { namespace: own.metadata.name, isSidecar: mesh.get(hasSidecars, own) }
    : undefined;
}

interface Found extends TlsDestination {
  readonly subset: string | undefined;
  readonly match: Traffic["route"]["match"];
}

/** `why`: no TLS is made; `used`: what clients use instead of a DestinationRule with TLS. */
function problemOf(
  { at, host, port, definitions }: TlsDestination,
  { settings }: View,
  why = noTls(""),
  used: readonly DestinationRule[] = [],
): Problem {
  const namespace = namespaceOfHost(host, settings.domain) ?? definitions[0]?.metadata.namespace;
  const rules: readonly Evidence[] = namespace === undefined ? [] : [absent("DestinationRule", namespace)];
  return {
    at,
    message: `Plain HTTP is sent to port ${port} of ${JSON.stringify(host)}, which is for TLS: ${why}`,
    key: `${host} ${port}`,
    related: [...definitions, ...used],
    evidence: [...definitions, ...(used.length > 0 ? used : rules)],
  };
}
