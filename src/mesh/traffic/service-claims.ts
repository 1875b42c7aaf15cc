import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type Mesh, type MeshView, relation } from "../../view/view.ts";
import { declaredProtocol } from "../membership/service-protocol.ts";
import { isHeadless } from "../membership/services.ts";
import { serviceByNamespace } from "../objects/indexes.ts";
import { isAddress } from "../objects/ip-address.ts";
import { isServed } from "../objects/revision.ts";
import { serviceByHost } from "./definition-choice.ts";
import { visibleTo } from "./export-to.ts";
import { compared } from "./host-ownership.ts";
import { HostPatterns } from "./host-patterns.ts";
import { covers, fullHost, hostOfService, isWildcard, namespaceOfHost } from "./hosts.ts";
import { servicesOfVirtualService } from "./registry.ts";
import { hostsOf } from "./virtual-service-choices.ts";
import { gatewaysOf, meshGateway } from "./virtual-service-clients.ts";
import type { VirtualService } from "./virtual-services.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

// The names and addresses of a Service that objects of others can claim for themselves.

/** The addresses of a Service, without `None` of a headless one. */
export const addressesOf = ({ spec }: Service): ReadonlySet<string> =>
  new Set([spec.clusterIP ?? "", ...spec.clusterIPs].filter((address) => address !== "" && address !== "None"));

/** An address of a ServiceEntry, without the prefix length of a single address. */
const singleAddress = (address: string): string => address.replace(/\/(32|128)$/, "");

const bare = (name: string) => `name ${name}`;
const at = (address: string) => `address ${address}`;

const serviceByNames = index("Service", (service, { domain }) => [
  hostOfService(service, domain),
  bare(service.metadata.name),
  ...[...addressesOf(service)].map(at),
]);

/**
 * The full host that a host of a ServiceEntry or a VirtualService stands for, if clients can call a Service by it: `api.payments`,
 * `api.payments.svc` and the full host with a dot at the end are names of the same Service. istiod compares in lower case (Istio
 * pilot/pkg/networking/core/httproute.go BuildSidecarOutboundVirtualHosts, GenerateAltVirtualHosts).
 */
function serviceHostOf(host: string, domain: string): string {
  const name = compared(host);
  const labels = name.split(".");
  if (labels.length === 2) return `${name}.svc.${domain}`;
  return labels.length === 3 && labels[2] === "svc" ? `${name}.${domain}` : name;
}

const claimsOfEntry = index("ServiceEntry", (entry, settings): Iterable<string> => {
  if (!isServed(entry, settings)) return [];
  const hosts = entry.spec.hosts.filter((host) => !isWildcard(host));
  return new Set([
    ...hosts.map((host) => (host.includes(".") ? serviceHostOf(host, settings.domain) : bare(host.toLowerCase()))),
    ...entry.spec.addresses.map((address) => at(singleAddress(address))),
  ]);
});

/** A Service and the ServiceEntries, of any namespace, with a name or an address of it. */
export const serviceEntriesClaimingService = relation("serviceEntriesClaimingService", serviceByNames, claimsOfEntry);

/** Three indexes ask for the same hosts. */
const meshHosts = new WeakMap<VirtualService, { readonly settings: MeshSettings; readonly hosts: readonly string[] }>();

/** The hosts, outside of its own namespace, that a VirtualService routes for sidecars of other namespaces. */
function meshHostsOf(virtualService: VirtualService, settings: MeshSettings): readonly string[] {
  let known = meshHosts.get(virtualService);
  if (known?.settings !== settings)
    meshHosts.set(virtualService, (known = { settings, hosts: computeMeshHosts(virtualService, settings) }));
  return known.hosts;
}

function computeMeshHosts(virtualService: VirtualService, settings: MeshSettings): readonly string[] {
  const { namespace } = virtualService.metadata;
  const isForOthers =
    namespace !== settings.rootNamespace &&
    isServed(virtualService, settings) &&
    gatewaysOf(virtualService).has(meshGateway) &&
    isExportedToOthers(virtualService, settings);
  return isForOthers
    ? virtualService.spec.hosts
        .map((host) => fullHost(host, namespace, settings.domain).toLowerCase())
        .filter((host) => namespaceOfHost(serviceHostOf(host, settings.domain), settings.domain) !== namespace)
    : [];
}

function isExportedToOthers({ metadata: { namespace }, spec }: VirtualService, settings: MeshSettings): boolean {
  for (const client of visibleTo(spec.exportTo, namespace, settings.defaultVirtualServiceExportTo))
    if (client !== namespace) return true;
  return false;
}

/** A Service and the VirtualServices, of any namespace, that sidecars of other namespaces use for one of its names or addresses. */
export const virtualServicesClaimingService = relation(
  "virtualServicesClaimingService",
  serviceByNames,
  index("VirtualService", (virtualService, settings) =>
    meshHostsOf(virtualService, settings)
      .filter((host) => !isWildcard(host))
      .map((host) => (isAddress(host) ? at(host) : serviceHostOf(host, settings.domain))),
  ),
);

/** The hosts that are other names of a Service than its full host, with that full host. */
export const otherNames = (hosts: readonly string[], domain: string): ReadonlyMap<string, string> =>
  new Map(
    hosts
      .map((host) => [host, serviceHostOf(host, domain)] as const)
      .filter(([host, full]) => host.includes(".") && full !== host.toLowerCase() && !isWildcard(host)),
  );

/** A VirtualService for sidecars, and the Services of which one of its hosts is another name than the full host. */
export const servicesNamedByVirtualService = relation(
  "servicesNamedByVirtualService",
  index("VirtualService", (one, settings) =>
    isServed(one, settings) && one.spec.http.length > 0 && gatewaysOf(one).has(meshGateway)
      ? new Set(otherNames(one.spec.hosts, settings.domain).values())
      : [],
  ),
  serviceByHost,
);

/** The VirtualServices for sidecars that have a name of a Service, other than its full host, as a host of HTTP requests to a port. */
export function virtualServicesNaming(
  { host: name, port }: { readonly host: string; readonly port: number },
  service: Service,
  mesh: Mesh,
): readonly VirtualService[] {
  if (!portsByName(service).includes(port)) return [];
  const full = hostOfService(service, mesh.settings.domain);
  const all = mesh.lookup(servicesNamedByVirtualService.from, [full]) as readonly VirtualService[];
  return all.filter(
    (one) =>
      one.spec.hosts.some((host) => host.toLowerCase() === name) &&
      (port === 80 || mesh.get(portsOfOwnHosts, one).has(port)),
  );
}

/** A ServiceEntry, and the Services of which one of its hosts is another name than the full host. */
export const servicesNamedByEntry = relation(
  "servicesNamedByEntry",
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) ? new Set(otherNames(entry.spec.hosts, settings.domain).values()) : [],
  ),
  serviceByHost,
);

/** What a VirtualService for sidecars of other namespaces claims, by the full hosts and the addresses of Services. */
interface Claimed {
  readonly settings: MeshSettings;
  readonly hosts: HostPatterns;
  readonly names: ReadonlyMap<string, readonly string[]>;
}

/** One for the hosts of a thousand Services is read once. */
const claimedBy = new WeakMap<VirtualService, Claimed>();

function claimedOf(virtualService: VirtualService, settings: MeshSettings): Claimed {
  let known = claimedBy.get(virtualService);
  if (known?.settings !== settings) {
    const all = meshHostsOf(virtualService, settings);
    const { domain } = settings;
    const names = Map.groupBy(
      all.filter((name) => !isWildcard(name)),
      (name) => (isAddress(name) ? name : serviceHostOf(name, domain)),
    );
    claimedBy.set(virtualService, (known = { settings, hosts: new HostPatterns(all), names }));
  }
  return known;
}

/** The names of a Service other than its host, and its addresses, that a VirtualService for sidecars of other namespaces has. */
export function otherNamesClaimed(
  virtualService: VirtualService,
  service: Service,
  settings: MeshSettings,
): readonly string[] {
  if (virtualService.spec.http.length === 0) return [];
  const host = hostOfService(service, settings.domain);
  const { names } = claimedOf(virtualService, settings);
  return [host, ...addressesOf(service)].flatMap((one) => names.get(one) ?? []).filter((name) => name !== host);
}

/** The host by which sidecars of other namespaces may use a VirtualService for the host of a Service, and not for other names of it alone. */
export const hostClaimed = (
  virtualService: VirtualService,
  service: Service,
  settings: MeshSettings,
): string | undefined => claimedOf(virtualService, settings).hosts.over(hostOfService(service, settings.domain));

/**
 * The ports of a Service at which proxies tell requests of other names apart. These go by what the client writes, if the connection
 * is not told by its address before: where HTTP is declared, and where pods have no common address (Istio
 * pilot/pkg/networking/core/listener.go buildSidecarOutboundListener, httproute.go getVirtualHostsForSniffedServicePort).
 */
function portsByName(service: Service): readonly number[] {
  const isByName = (port: Service["spec"]["ports"][number]) => {
    const protocol = declaredProtocol(port);
    return protocol === "HTTP" || (protocol === "undeclared" && isHeadless(service));
  };
  return service.spec.ports.flatMap((port) => (port.port !== undefined && isByName(port) ? [port.port] : []));
}

/** The ports of HTTP of the Services that a VirtualService has the hosts of, at which it has its other hosts, too. */
export const portsOfOwnHosts = fact(
  "portsOfOwnHosts",
  "VirtualService",
  [servicesOfVirtualService],
  (virtualService, mesh): ReadonlySet<number> => {
    const own = new Set(hostsOf(virtualService, mesh.settings));
    const services = mesh.related(servicesOfVirtualService, virtualService);
    return new Set(services.filter((one) => own.has(hostOfService(one, mesh.settings.domain))).flatMap(portsByName));
  },
);

/**
 * Whether a VirtualService can decide about requests by names of a Service that no service has as its host: at port 80, and at the
 * ports of HTTP of other Services that it has the hosts of (Istio pilot/pkg/networking/core/route/route.go
 * buildSidecarVirtualHostsForVirtualService, httproute.go selectVirtualServices).
 */
export function routesOtherNames(
  virtualService: VirtualService,
  service: Service,
  mesh: MeshView<typeof portsOfOwnHosts>,
): boolean {
  const ports = portsByName(service);
  if (ports.includes(80) || ports.length === 0) return ports.length > 0;
  const own = mesh.get(portsOfOwnHosts, virtualService);
  return ports.some((port) => own.has(port));
}

export const everyService = "*";
/** The namespaces of whose Services a wildcard host matches all; `*` stands for every namespace. */
export function wildcardNamespaces(host: string, domain: string): readonly string[] {
  if (!isWildcard(host)) return [];
  const end = `.svc.${domain}`;
  if (covers(host, `*${end}`)) return [everyService];
  const namespace = host.endsWith(end) ? host.slice(2, -end.length) : "";
  return namespace === "" || namespace.includes(".") ? [] : [namespace];
}
const wildcardsOf = (virtualService: VirtualService, settings: MeshSettings): readonly string[] =>
  meshHostsOf(virtualService, settings).flatMap((host) => wildcardNamespaces(host, settings.domain));

/** A Service and the VirtualServices, of any namespace, that sidecars of others use for every host of its namespace. */
export const virtualServicesClaimingNamespace = relation(
  "virtualServicesClaimingNamespace",
  serviceByNamespace,
  index("VirtualService", (virtualService, settings) =>
    wildcardsOf(virtualService, settings).filter((namespace) => namespace !== everyService),
  ),
);

/** A Service and the VirtualServices, of any namespace, that sidecars of others use for the hosts of all namespaces. */
export const virtualServicesClaimingAll = relation(
  "virtualServicesClaimingAll",
  index("Service", () => [everyService]),
  index("VirtualService", (virtualService, settings) =>
    wildcardsOf(virtualService, settings).includes(everyService) ? [everyService] : [],
  ),
);

/** How a ServiceEntry claims a Service: by which of its names, or by its address; undefined: it does not. */
export interface Claim {
  readonly by: "full host" | "short host" | "address";
  readonly name: string;
}
export function claimOf(entry: ServiceEntry, service: Service, { domain }: MeshSettings): Claim | undefined {
  const claims = claimsBy(entry, domain);
  const keys = [hostOfService(service, domain), bare(service.metadata.name), ...[...addressesOf(service)].map(at)];
  for (const key of keys) {
    const claim = claims.get(key);
    if (claim !== undefined) return claim;
  }
  return undefined;
}

/** The claims of an entry by the names of Services, so that an entry with many hosts is searched once. */
const claimsOf = new WeakMap<ServiceEntry, ReadonlyMap<string, Claim>>();
function claimsBy(entry: ServiceEntry, domain: string): ReadonlyMap<string, Claim> {
  let known = claimsOf.get(entry);
  if (known === undefined) claimsOf.set(entry, (known = new Map(claimsIn(entry, domain).toReversed())));
  return known;
}

/** The strongest claim is the first one. */
function claimsIn({ spec }: ServiceEntry, domain: string): readonly (readonly [string, Claim])[] {
  const names = spec.hosts.map((host) => host.toLowerCase());
  const full = names.filter((name) => name.includes(".") && serviceHostOf(name, domain) === name);
  const short = names.filter((name) => serviceHostOf(name, domain) !== name);
  return [
    ...full.map((name) => [name, { by: "full host", name }] as const),
    ...short.map((name) => [serviceHostOf(name, domain), { by: "short host", name }] as const),
    ...names.filter((name) => !name.includes(".")).map((name) => [bare(name), { by: "short host", name }] as const),
    ...spec.addresses.map(singleAddress).map((name) => [at(name), { by: "address", name }] as const),
  ];
}
