import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type Mesh, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { hasInjectedGateway, isProxy, workloadsOfNamespace } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { type DestinationRule, hostOfRule } from "../traffic/destination-rules.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { fullHost, isWildcard, namespaceOfHost } from "../traffic/hosts.ts";
import { namespaceOfClientRule } from "../traffic/destination-rule-services.ts";
import { type Sidecar, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";
import { scopeOfNamespace, type SidecarScope } from "../traffic/sidecar-scope.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../traffic/virtual-service-clients.ts";
import { trafficOf, type VirtualService } from "../traffic/virtual-services.ts";
import { setsClientTls } from "./client-tls.ts";

/**
 * A DestinationRule that sets its clients' TLS, and the client namespaces that it names: its own, and those in
 * exportTo.
 */
export const clientsOfDestinationRule = relation(
  "clientsOfDestinationRule",
  index("DestinationRule", (rule) =>
    setsClientTls(rule) ? new Set([rule.metadata.namespace, ...rule.spec.exportTo]) : [],
  ),
  index("Namespace", ({ metadata }) => [metadata.name]),
);

const destinations = new WeakMap<VirtualService, { readonly domain: string; readonly hosts: readonly string[] }>();

/** The full hosts to which a VirtualService for sidecars sends requests. */
export function destinationsOf(virtualService: VirtualService, { domain }: MeshSettings): readonly string[] {
  let known = destinations.get(virtualService);
  if (known?.domain !== domain) {
    const { namespace } = virtualService.metadata;
    const all = [...trafficOf(virtualService)].map(({ destination }) => fullHost(destination.host, namespace, domain));
    destinations.set(virtualService, (known = { domain, hosts: [...new Set(all)] }));
  }
  return known.hosts;
}

/** The host of a DestinationRule; undefined: a wildcard, for which it is not decided what is hidden from whom. */
function exactHostOf(rule: DestinationRule, settings: MeshSettings): string | undefined {
  const host = hostOfRule(rule, settings);
  return isWildcard(host) ? undefined : host;
}

/** A DestinationRule that sets its clients' TLS, and the VirtualServices that send requests to its host. */
const virtualServicesToHostOfRule = relation(
  "virtualServicesToHostOfRule",
  index("DestinationRule", (rule, settings) => {
    const host = setsClientTls(rule) ? exactHostOf(rule, settings) : undefined;
    return host === undefined ? [] : [host];
  }),
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && (isDelegate(virtualService) || gatewaysOf(virtualService).has(meshGateway))
      ? destinationsOf(virtualService, settings)
      : [],
  ),
);

/** A DestinationRule for a host of another namespace, and the VirtualServices that send requests to its host. */
const virtualServicesToHostOfClientRule = relation(
  "virtualServicesToHostOfClientRule",
  index("DestinationRule", (rule, settings) => {
    const host = exactHostOf(rule, settings);
    return host === undefined || namespaceOfHost(host, settings.domain) === rule.metadata.namespace ? [] : [host];
  }),
  virtualServicesToHostOfRule.to,
);

const reads = [clientsOfDestinationRule, scopeOfNamespace, workloadsOfNamespace, virtualServicesToHostOfRule] as const;
type View = MeshView<(typeof reads)[number]>;

/**
 * The namespaces that a DestinationRule names and whose proxies do not use it for a service in a namespace: a sidecar has a
 * cluster only for services that its Sidecar imports, by name or as destinations of VirtualServices that it imports, and for
 * these istiod looks up a DestinationRule (Istio pilot/pkg/model/sidecar.go collectImportedServices, selectDestinationRules).
 */
export const hiddenClients = fact("hiddenClients", "DestinationRule", reads, (rule, mesh) => {
  const host = exactHostOf(rule, mesh.settings);
  const known = new Map<string, ReadonlySet<string>>();
  const ofLists = new WeakMap<Arrivals, ReadonlySet<string>>();
  let limited: readonly Namespace[] | undefined;
  const hiding = (owner: string, hosts: ReadonlySet<string>): ReadonlySet<string> => {
    if (hosts.size === 0 || hosts.size > fewHosts) return new Set();
    limited ??= mesh.related(clientsOfDestinationRule, rule).filter(isLimited(mesh));
    mesh.visited(limited.length * hosts.size);
    const hidden = limited.filter((client) =>
      hosts.values().every((one) => isHidden({ client, host: one, owner }, mesh)),
    );
    return new Set(hidden.map(({ metadata }) => metadata.name));
  };
  return {
    /** `owner`: the namespace of the service. Empty for a wildcard. */
    of(owner: string): ReadonlySet<string> {
      let found = known.get(owner);
      if (found === undefined) known.set(owner, (found = hiding(owner, new Set(host === undefined ? [] : [host]))));
      return found;
    },
    /** Also for a wildcard: the clients that have none of the services of the namespace for which the rule is meant. */
    ofAll(owner: string, arrivals: Arrivals): ReadonlySet<string> {
      if (host !== undefined) return this.of(owner);
      let found = ofLists.get(arrivals);
      if (found === undefined) {
        found = hiding(owner, new Set(arrivals.map(({ destination }) => destination.host)));
        ofLists.set(arrivals, found);
      }
      return found;
    },
  };
});

type Arrivals = readonly { readonly destination: { readonly host: string } }[];
/** A wildcard with more services than these is taken to be used. */
const fewHosts = 100;

/** Whether Sidecars limit all proxies of a namespace, as far as it is known. Gateways and waypoints use none. */
const isLimited =
  (mesh: MeshView<typeof scopeOfNamespace | typeof workloadsOfNamespace>) =>
  (namespace: Namespace): boolean =>
    mesh.knowsAll("Workload") &&
    mesh.knows("VirtualService") &&
    mesh.get(scopeOfNamespace, namespace) !== undefined &&
    !mesh
      .related(workloadsOfNamespace, namespace)
      .some((workload) => isProxy(workload) || hasInjectedGateway(workload));

interface Asked {
  readonly client: Namespace;
  readonly host: string;
  readonly owner: string;
}

const isHidden = (asked: Asked, mesh: View): boolean =>
  !isImported(asked, mesh.under(virtualServicesToHostOfRule, [asked.host]), mesh);

/** Whether some sidecar of the client namespace has a cluster for the host. */
function isImported(
  { client, host, owner }: Asked,
  routing: readonly VirtualService[],
  mesh: MeshView<typeof scopeOfNamespace>,
): boolean {
  const scope = mesh.get(scopeOfNamespace, client);
  return scope === undefined || isImportedBy(scope, { client: client.metadata.name, host, owner }, routing, mesh);
}

/** Whether a sidecar with this scope has a cluster for a host, by its name or because VirtualServices send requests to it. */
export function isImportedBy(
  scope: SidecarScope,
  { client, host, owner }: Omit<Asked, "client"> & { readonly client: string },
  routing: readonly VirtualService[],
  mesh: MeshView,
): boolean {
  if (scope.importsService(host, owner)) return true;
  return routing.some((one) => {
    // A delegate is imported with the VirtualServices that delegate to it.
    if (isDelegate(one)) return true;
    const { metadata, spec } = one;
    const visible = visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
    return includesNamespace(visible, client) && scope.importsVirtualService(one, mesh);
  });
}

/**
 * The Sidecars of a DestinationRule's own namespace, if they or one of the root namespace hide its host, a service of one of the
 * namespaces `owners`, from all proxies there; undefined: some proxy gets it.
 */
export const hiddenFromOwnClients = fact(
  "hiddenFromOwnClients",
  "DestinationRule",
  [
    namespaceOfClientRule,
    scopeOfNamespace,
    sidecarsOfNamespace,
    workloadsOfNamespace,
    virtualServicesToHostOfClientRule,
  ],
  (rule, mesh) => {
    const host = exactHostOf(rule, mesh.settings);
    const [client] = mesh.related(namespaceOfClientRule, rule);
    return (owners: readonly string[]): readonly Sidecar[] | undefined => {
      if (host === undefined || client === undefined || !isLimited(mesh)(client)) return undefined;
      const routing = mesh.related(virtualServicesToHostOfClientRule, rule);
      const isSeen = owners.some((owner) => isImported({ client, host, owner }, routing, mesh));
      return isSeen ? undefined : mesh.related(sidecarsOfNamespace, client);
    };
  },
);

/** Whether Sidecars hide a service from all proxies of a client namespace, with or without a DestinationRule for it. */
export function isHiddenService(client: Namespace, host: string, owner: string, mesh: Mesh): boolean {
  if (!isLimited(mesh)(client)) return false;
  const routing = mesh.lookup(virtualServicesToHostOfRule.to, [host]) as readonly VirtualService[];
  return !isImported({ client, host, owner }, routing, mesh);
}

/** Whether the Sidecars of a namespace hide the service of a merged DestinationRule from all its proxies. */
export function isHiddenFrom(
  client: string,
  { from, made }: MergedDestinationRule,
  owner: string,
  mesh: MeshView<typeof hiddenClients>,
): boolean {
  const rule = from.find(setsClientTls) ?? made;
  return rule !== undefined && mesh.get(hiddenClients, rule).of(owner).has(client);
}
