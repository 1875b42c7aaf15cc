import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { backendsOf } from "../../mesh/gateways/routes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { entriesOfDestinationRule } from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, destinationRuleByHost, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { fullHost, hostKey, isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { isTlsProtocol } from "../../mesh/traffic/service-entry-hosts.ts";
import { trafficOf } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A DestinationRule, and the VirtualServices whose http or tcp routes send to its host what is no TLS yet. */
const plainRoutesToHostOfRule = relation(
  "plainRoutesToHostOfRule",
  destinationRuleByHost,
  index("VirtualService", (virtualService, settings) => {
    if (!isServed(virtualService, settings)) return [];
    const { namespace } = virtualService.metadata;
    return new Set(plainTraffic(virtualService).map(({ host }) => hostKey(fullHost(host, namespace, settings.domain))));
  }),
);
/** A DestinationRule, and the routes of the Gateway API other than TLSRoutes that send requests to its host by its name. */
const routesToHostOfRule = relation(
  "routesToHostOfRule",
  destinationRuleByHost,
  index("KubernetesRoute", (route) =>
    route.originKind === "TLSRoute"
      ? []
      : new Set([...backendsOf(route)].flatMap(({ ref }) => (ref.kind === "Hostname" ? [hostKey(ref.name)] : []))),
  ),
);

const reads = [entriesOfDestinationRule, plainRoutesToHostOfRule, routesToHostOfRule] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleTlsTwice = defineRule({
  id: "destination-rule-tls-twice",
  subject: "DestinationRule",
  reads,
  worksWithout: ["VirtualService", "KubernetesRoute"],
  mode: "warn",
  since: "0.1.0",
  // With addresses that proxies allocate for DNS, clients can send plain HTTP to a port for TLS.
  stage: "trial",
  tags: ["mtls"],
  summary: "Proxies start TLS towards a port outside the mesh to which the clients speak TLS themselves.",
  why: "At a port for HTTPS or TLS, sidecars recognize connections by the server name in the TLS of the client, and pass them on as they are (Istio pilot/pkg/networking/core/tls.go buildSidecarOutboundTLSFilterChainOpts). With tls mode SIMPLE or MUTUAL, the proxy puts them into a second TLS connection (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings), in which the server expects HTTP and gets another handshake.",
  fix: "Remove the tls settings, if clients call `https://`. If they call `http://` and the proxy shall start TLS, give the ServiceEntry a port 80 with protocol HTTP and `targetPort: 443`, and set tls for port 80 in `portLevelSettings`.",
  incident: {
    symptoms: ["origination-fails"],
    proxies: ["sidecar"],
    seen: "Clients report `SSL_ERROR_SYSCALL`, `wrong version number` or a connection that is closed during the handshake, and only from pods with a sidecar.",
    wayOut:
      "Delete the DestinationRule, or set tls mode DISABLE for the port: connections then end at the server as before.",
    silentWhen:
      "Some http or tcp route, also of a gateway, sends what is no TLS yet to this port, the ServiceEntry has addresses, or only a subset sets tls.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-tls-origination/",
  },

  *check(rule, mesh) {
    const host = hostOfRule(rule, mesh.settings);
    const isInMesh = namespaceOfHost(host, mesh.settings.domain) !== undefined;
    if (isInMesh || isWildcard(host) || !isServed(rule, mesh.settings)) return;
    const entries = mesh.related(entriesOfDestinationRule, rule);
    const [entry] = entries;
    if (entry === undefined || !entries.every(isOutside)) return;
    let isPlain: ((port: number) => boolean) | undefined;
    for (const { at, port } of portsWithTls(rule, entries)) {
      yield;
      isPlain ??= plainPorts(rule, host, mesh);
      if (!isPlain(port))
        yield {
          at,
          message: `Clients speak TLS to port ${port} of "${host}" themselves, as ${idOf(entry)} says, and proxies put it into a second TLS connection`,
          key: `${host} ${port}`,
          related: entries,
          evidence: [...entries, absent("VirtualService", rule.metadata.namespace)],
        };
    }
  },
});

/** Outside the mesh, and without an address by which clients would reach the port with anything but TLS. */
const isOutside = ({ spec }: ServiceEntry): boolean =>
  spec.location !== "MESH_INTERNAL" && spec.workloadSelector === undefined && spec.addresses.length === 0;

/** The ports that are for TLS by all entries, with the settings that start TLS there. */
function* portsWithTls(
  { spec: { trafficPolicy } }: DestinationRule,
  entries: readonly ServiceEntry[],
): Iterable<{ readonly at: Path; readonly port: number }> {
  const ofPorts = new Map(
    (trafficPolicy?.portLevelSettings ?? []).map(({ tls, port }, i) => [
      port?.number,
      { tls, at: ["spec", "trafficPolicy", "portLevelSettings", i, "tls"] },
    ]),
  );
  const ofAll = { tls: trafficPolicy?.tls, at: ["spec", "trafficPolicy", "tls"] };
  for (const port of portsForTls(entries)) {
    const { tls, at } = ofPorts.get(port) ?? ofAll;
    if (tls?.mode === "SIMPLE" || tls?.mode === "MUTUAL") yield { at, port };
  }
}

function portsForTls(entries: readonly ServiceEntry[]): Iterable<number> {
  const all = entries.flatMap(({ spec }) => spec.ports);
  const others = new Set(all.filter(({ protocol }) => !isTlsProtocol(protocol)).map(({ number }) => number));
  return new Set(all.flatMap(({ number }) => (number === undefined || others.has(number) ? [] : [number])));
}

/** Whether routes send to a port of the host what is no TLS yet. One that names no port may send it to any. */
function plainPorts(rule: DestinationRule, host: string, mesh: View): (port: number) => boolean {
  const found = new Set<number>();
  for (const virtualService of mesh.related(plainRoutesToHostOfRule, rule)) {
    const traffic = plainTraffic(virtualService);
    mesh.visited(traffic.length);
    for (const destination of traffic) {
      if (fullHost(destination.host, virtualService.metadata.namespace, mesh.settings.domain) !== host) continue;
      if (destination.port?.number === undefined) return () => true;
      found.add(destination.port.number);
    }
  }
  for (const route of mesh.related(routesToHostOfRule, rule))
    for (const { ref } of backendsOf(route)) if (ref.name === host && ref.port !== undefined) found.add(ref.port);
  return (port) => found.has(port);
}

const plainTraffic = (virtualService: ObjectOf<"VirtualService">) =>
  trafficOf(virtualService).flatMap(({ protocol, destination }) => (protocol === "tls" ? [] : [destination]));
