import type { ObjectOf } from "../../kube/object.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { declaredProtocol, isTlsPort, parsedProtocol } from "../membership/service-protocol.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { fullHost, isWildcard } from "../traffic/hosts.ts";
import { offering } from "../traffic/offered-hosts.ts";
import { registeredHost } from "../traffic/registry.ts";
import { isTlsProtocol } from "../traffic/service-entry-hosts.ts";
import { gatewaysOf, gatewaysOfVirtualService, meshGateway, nameOf } from "../traffic/virtual-service-clients.ts";
import type { Protocol, VirtualService } from "../traffic/virtual-services.ts";
import { protocolsOf, redirectsAll } from "./attachment.ts";
import type { Gateway, Server } from "./servers.ts";

/**
 * What a port does with routes: it uses those of a protocol, redirects every request to HTTPS before it looks at them, or is that of a
 * server that offers no host of the VirtualService to its namespace.
 */
export type RouteUse = Protocol | "redirect" | "not offered";
/** The routes that are used at each port; of several ports with one number, those of all. */
export type RoutePorts = ReadonlyMap<number, ReadonlySet<RouteUse>>;

/**
 * The ports at which requests for a VirtualService arrive, by gateway (`mesh` for sidecars, else `namespace/name`); undefined:
 * some of them are not known. Those of sidecars are the ports of its hosts, those of a Gateway the ports of its servers.
 */
export const routePortsOf = fact(
  "routePortsOf",
  "VirtualService",
  [registeredHost, gatewaysOfVirtualService],
  (virtualService, mesh): ReadonlyMap<string, RoutePorts | undefined> => {
    const gateways = new Map(mesh.related(gatewaysOfVirtualService, virtualService).map((one) => [nameOf(one), one]));
    const offers = gateways.size === 0 ? undefined : offering(virtualService, mesh.settings);
    const portsOf = (name: string): RoutePorts | undefined => {
      if (name === meshGateway) return sidecarPorts(virtualService, mesh);
      const gateway = gateways.get(name);
      return gateway && offers && serverPorts(gateway, offers);
    };
    return new Map([...gatewaysOf(virtualService)].map((name) => [name, portsOf(name)]));
  },
);

type Entry = readonly [number | undefined, readonly RouteUse[]];

function sidecarPorts(
  { metadata, spec }: VirtualService,
  mesh: MeshView<typeof registeredHost>,
): RoutePorts | undefined {
  const found: Entry[] = [];
  for (const said of spec.hosts) {
    const host = fullHost(said, metadata.namespace, mesh.settings.domain).toLowerCase();
    if (isWildcard(host)) return undefined;
    const { definitions, ports } = mesh.get(registeredHost, host);
    if (definitions.length === 0 || ports === undefined) return undefined;
    for (const definition of definitions) found.push(...portsOfDefinition(definition));
  }
  return united(found);
}

function serverPorts(gateway: Gateway, offers: ReturnType<typeof offering>): RoutePorts | undefined {
  const usesOf = (server: Server): readonly RouteUse[] => {
    if (!offers(server, gateway)) return ["not offered"];
    return redirectsAll(server) ? ["redirect"] : protocolsOf(server);
  };
  return united(gateway.spec.servers.map((server) => [server.port?.number, usesOf(server)]));
}

function united(entries: readonly Entry[]): RoutePorts | undefined {
  const ports = new Map<number, Set<RouteUse>>();
  for (const [number, protocols] of entries) {
    if (number === undefined) continue;
    const known = ports.get(number) ?? new Set<RouteUse>();
    ports.set(number, known);
    for (const protocol of protocols) known.add(protocol);
  }
  return ports.size === 0 ? undefined : ports;
}

/** The routes that are used at each port of what defines a host. */
export const routePortsOfDefinition = (definition: Definition): RoutePorts =>
  united(portsOfDefinition(definition)) ?? new Map();

/** Whether sidecars use http routes at some port of a host, or what defines it is not known. */
export function mayUseHttp(host: string, mesh: MeshView<typeof registeredHost>): boolean {
  const { definitions, ports } = mesh.get(registeredHost, host);
  return definitions.length === 0 || ports === undefined || definitions.some(usesHttp);
}
export const usesHttp = (definition: Definition): boolean =>
  portsOfDefinition(definition).some(([, uses]) => uses.includes("http"));

const portsOfDefinition = (definition: Definition): readonly Entry[] =>
  definition.kind === "Service"
    ? definition.spec.ports.map((port) => [port.port, protocolsOfServicePort(port, definition)])
    : definition.spec.ports.map((port) => [port.number, protocolsOfEntryPort(port, definition)]);

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

function protocolsOfServicePort(port: Service["spec"]["ports"][number], { spec }: Service): readonly Protocol[] {
  if (port.protocol === "UDP") return [];
  if (isTlsPort(port)) return ["tls"];
  return protocolsFor(declaredProtocol(port), spec.clusterIP !== "None");
}

function protocolsOfEntryPort(
  { protocol = "" }: ServiceEntry["spec"]["ports"][number],
  { spec }: ServiceEntry,
): readonly Protocol[] {
  if (protocol.toUpperCase() === "UDP") return [];
  if (isTlsProtocol(protocol)) return ["tls"];
  return protocolsFor(parsedProtocol(protocol), spec.addresses.length > 0);
}

/**
 * The routes that a sidecar uses at a port: those for HTTP at an HTTP port; those for TCP at a port that is declared as TCP; both
 * where the protocol is detected (Istio pilot/pkg/networking/core/listener.go buildSidecarOutboundListener; tls.go
 * buildSidecarOutboundTCPFilterChainOpts, buildSidecarOutboundTLSFilterChainOpts for TLS). A TCP port without an address
 * of its own shares a listener with the HTTP services of the same port, so that HTTP may be detected there too.
 */
function protocolsFor(declared: ReturnType<typeof declaredProtocol>, hasAddress: boolean): readonly Protocol[] {
  if (declared === "HTTP") return ["http"];
  return declared === "TCP" && hasAddress ? ["tcp"] : ["http", "tcp"];
}
