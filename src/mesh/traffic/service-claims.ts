import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";
import { serviceByNamespace } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { visibleTo } from "./export-to.ts";
import { covers, fullHost, hostOfService, isWildcard, namespaceOfHost } from "./hosts.ts";
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
 * The full host that a host of a ServiceEntry stands for, if clients can call a Service by it: `api.payments` and
 * `api.payments.svc` are names of the same Service. istiod compares in lower case (Istio
 * pilot/pkg/networking/core/httproute.go BuildSidecarOutboundVirtualHosts).
 */
function serviceHostOf(host: string, domain: string): string {
  const name = host.toLowerCase();
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
        .map((host) => fullHost(host, namespace, settings.domain))
        .filter((host) => namespaceOfHost(host, settings.domain) !== namespace)
    : [];
}

function isExportedToOthers({ metadata: { namespace }, spec }: VirtualService, settings: MeshSettings): boolean {
  for (const client of visibleTo(spec.exportTo, namespace, settings.defaultVirtualServiceExportTo))
    if (client !== namespace) return true;
  return false;
}

/** A Service and the VirtualServices, of any namespace, that sidecars of other namespaces use for its host. */
export const virtualServicesClaimingService = relation(
  "virtualServicesClaimingService",
  serviceByNames,
  index("VirtualService", (virtualService, settings) =>
    meshHostsOf(virtualService, settings).filter((host) => !isWildcard(host)),
  ),
);

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
