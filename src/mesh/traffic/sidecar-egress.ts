import type { ObjectOf } from "../../kube/object.ts";
import type { SettingsWith } from "../../view/settings.ts";
import { index, type Mesh, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { captured } from "../membership/captured.ts";
import { everyNamespace } from "./export-to.ts";
import { HostPatterns } from "./host-patterns.ts";
import { isWildcard } from "./hosts.ts";
import { hasGatewaySemantics, hostsAsWritten } from "./virtual-service-choices.ts";
import type { VirtualService } from "./virtual-services.ts";

export type Sidecar = ObjectOf<"Sidecar">;

/** The Sidecars that istiod reads, by their namespace. */
export const sidecarByNamespace = index("Sidecar", (sidecar, settings) =>
  isServed(sidecar, settings) ? [sidecar.metadata.namespace] : [],
);

/** A namespace and its own Sidecars. */
export const sidecarsOfNamespace = relation("sidecarsOfNamespace", namespaceByName, sidecarByNamespace);
/** A Sidecar and its namespace. */
export const namespaceOfSidecar = relation("namespaceOfSidecar", sidecarByNamespace, namespaceByName);
/** The labels that a Sidecar selects; undefined: it has no selector and is for all workloads. */
export const selectorOfSidecar = ({ spec }: Sidecar): Readonly<Record<string, string>> | undefined =>
  spec.workloadSelector === undefined ? undefined : (spec.workloadSelector.labels ?? {});

/** Whether all workloads that a Sidecar is for are known, and none of them has a sidecar, so that nothing uses it. */
export function isForNoSidecar(sidecar: Sidecar, mesh: MeshView<typeof namespaceOfSidecar | typeof captured>): boolean {
  if (!mesh.knowsAll("Workload") || sidecar.metadata.namespace === mesh.settings.rootNamespace) return false;
  const [namespace] = mesh.related(namespaceOfSidecar, sidecar);
  return namespace !== undefined && mesh.get(captured, namespace).isWithoutSidecars(selectorOfSidecar(sidecar) ?? {});
}

/**
 * Sorts Sidecars as istiod tries them for a workload: those with a selector first, then the oldest (Istio
 * pilot/pkg/model/push_context.go initSidecarScopes).
 */
export const sidecarsFirst = (a: Sidecar, b: Sidecar): number =>
  Number(selectorOfSidecar(a) === undefined) - Number(selectorOfSidecar(b) === undefined) || oldestFirst(a, b);

/**
 * The Sidecar that a workload of a namespace with these labels uses: the first of its namespace that selects it, else that
 * of the root namespace without a selector; undefined: none. Gateways and waypoints use none (Istio
 * pilot/pkg/model/push_context.go doGetSidecarScope).
 */
export function sidecarFor(
  own: readonly Sidecar[],
  ofRoot: readonly Sidecar[],
  labels: Readonly<Record<string, string>>,
): Sidecar | undefined {
  const found = own.toSorted(sidecarsFirst).find((sidecar) => selects(selectorOfSidecar(sidecar) ?? {}, labels));
  return found ?? ofRoot.toSorted(oldestFirst).find((sidecar) => selectorOfSidecar(sidecar) === undefined);
}

/** The Sidecars of a namespace, and those of the root namespace, which count where it has none for a workload. */
export function sidecarsIn(namespace: string, mesh: Mesh): { readonly own: Sidecar[]; readonly ofRoot: Sidecar[] } {
  const of = (name: string) => [...(mesh.lookup(sidecarByNamespace, [name]) as readonly Sidecar[])];
  return { own: of(namespace), ofRoot: of(mesh.settings.rootNamespace) };
}

/** Hosts of one namespace that an egress listener imports, or leaves out. */
interface ImportedHosts {
  readonly exact: ReadonlySet<string>;
  readonly wildcards: HostPatterns;
  readonly all: readonly string[];
  readonly excluded: HostPatterns;
}

interface EgressListener {
  /** Undefined: it is for all ports that no other one is for. */
  readonly port: number | undefined;
  /** Whether it imports this port alone of each service (needsPortMatch). */
  readonly isOfPort: boolean;
  readonly byNamespace: ReadonlyMap<string, ImportedHosts>;
}

/**
 * The hosts that the egress listeners of a Sidecar import. `~namespace/host` excludes a host (Istio
 * pilot/pkg/model/sidecar.go convertIstioListenerToWrapper, hostClassification). Where no port is given, the answers are about
 * some port, so that more may be imported than a port has.
 */
export class Egress {
  /** Without egress, everything is imported. */
  readonly importsAll: boolean;
  readonly #listeners: readonly EgressListener[];

  constructor({ metadata, spec }: Sidecar, client = metadata.namespace) {
    this.importsAll = spec.egress.length === 0;
    this.#listeners = spec.egress.map(({ port, hosts }) => ({
      port: port?.number,
      isOfPort: Boolean(port?.number) && port?.protocol?.toUpperCase() !== "HTTP_PROXY",
      byNamespace: importedHosts(hosts, client),
    }));
  }

  /** Whether a port of the service of a host in a namespace is imported by name, not only as a destination of a VirtualService. */
  importsService(host: string, namespace: string, at?: number): boolean {
    if (this.importsAll) return true;
    return this.#listeners.some(({ port, isOfPort, byNamespace }) => {
      if (isOfPort && at !== undefined && port !== at) return false;
      const scopes = [byNamespace.get(namespace), byNamespace.get(everyNamespace)].filter((one) => one !== undefined);
      if (scopes.some(({ excluded }) => excluded.over(host) !== undefined)) return false;
      return scopes.some(({ exact, wildcards }) => exact.has(host) || wildcards.over(host) !== undefined);
    });
  }

  /**
   * Whether a VirtualService is imported for a port: one of its hosts is, by the listener of this port, or else by the one for all
   * ports (virtualservice.go SelectVirtualServices, sidecar.go GetEgressListenerForRDS).
   */
  importsVirtualService(virtualService: VirtualService, mesh: MeshView, at?: number): boolean {
    return this.importsAll || this.#listenersOf(at).some((listener) => imports(listener, virtualService, mesh));
  }

  /**
   * Whether the proxy has a port of a service because this VirtualService routes to it: a listener imports it that is for this port, or
   * that does not choose one (sidecar.go collectImportedServices). Undefined: with another VirtualService it may.
   */
  importsDestination(virtualService: VirtualService, mesh: MeshView, at: number): boolean | undefined {
    if (this.importsAll) return true;
    const able = this.#listeners.filter(({ port, isOfPort }) => !isOfPort || port === at);
    if (able.some((listener) => imports(listener, virtualService, mesh))) return true;
    return able.length === 0 ? false : undefined;
  }

  #listenersOf(at: number | undefined): readonly EgressListener[] {
    if (at === undefined) return this.#listeners;
    const found = this.#listeners.find(({ port }) => port === undefined || port === at);
    return found === undefined ? [] : [found];
  }
}

function imports({ byNamespace }: EgressListener, virtualService: VirtualService, mesh: MeshView): boolean {
  const { namespace } = virtualService.metadata;
  const scopes = [byNamespace.get(namespace), byNamespace.get(everyNamespace)].filter((one) => one !== undefined);
  const isWhole = hasGatewaySemantics(virtualService);
  return hostsAsWritten(virtualService, mesh.settings).some(
    (host) =>
      !scopes.some(({ excluded }) => excluded.over(host) !== undefined) &&
      scopes.some((scope) => (isWhole ? importsWhole(scope, host) : matchesVirtualService(scope, host, mesh))),
  );
}

/** Whether all hosts of a wildcard are imported. */
const importsWhole = ({ exact, wildcards }: ImportedHosts, host: string): boolean =>
  exact.has(host) || wildcards.over(host) !== undefined;

/** A wildcard matches in both directions, unless it is of a route of the Gateway API (hostClassification.VSMatches). */
function matchesVirtualService(scope: ImportedHosts, host: string, mesh: MeshView): boolean {
  if (importsWhole(scope, host)) return true;
  if (!isWildcard(host)) return false;
  const { all } = scope;
  mesh.visited(all.length);
  const end = host.slice(1);
  return all.some((imported) => (isWildcard(imported) ? imported.slice(1) : imported).endsWith(end));
}

function importedHosts(hosts: readonly string[], client: string): ReadonlyMap<string, ImportedHosts> {
  const lists = new Map<string, { readonly imported: string[]; readonly excluded: string[] }>();
  for (const one of hosts) {
    const entry = egressHost(one, client);
    if (entry === undefined) continue;
    const list = lists.get(entry.namespace) ?? { imported: [], excluded: [] };
    lists.set(entry.namespace, list);
    (entry.isExcluded ? list.excluded : list.imported).push(entry.host);
  }
  return new Map(
    [...lists].map(([namespace, { imported, excluded }]) => [
      namespace,
      {
        exact: new Set(imported.filter((host) => !isWildcard(host))),
        wildcards: new HostPatterns(imported.filter(isWildcard)),
        all: imported,
        excluded: new HostPatterns(excluded),
      },
    ]),
  );
}

/** The Sidecars of all namespaces that do not import a port of a host by name, which services of these namespaces have. */
export const sidecarsWithoutHost = (
  { name, namespaces, port }: { readonly name: string; readonly namespaces: readonly string[]; readonly port: number },
  mesh: Mesh,
): readonly Sidecar[] =>
  [...mesh.all("Sidecar")].filter((sidecar) => {
    if (!isServed(sidecar, mesh.settings)) return false;
    const egress = new Egress(sidecar);
    return !namespaces.some((namespace) => egress.importsService(name, namespace, port));
  });

export interface EgressHost {
  readonly namespace: string;
  readonly host: string;
  readonly isExcluded: boolean;
}

/** An entry of `egress.hosts`; undefined: istiod ignores it. */
export function egressHost(one: string, client: string): EgressHost | undefined {
  const [place = "", host, ...more] = one.split("/");
  if (host === undefined || more.length > 0) return undefined;
  const isExcluded = place.startsWith("~");
  const namespace = isExcluded ? place.slice(1) || everyNamespace : place;
  return { namespace: namespace === "." ? client : namespace, host, isExcluded };
}

/**
 * Whether requests to a host that sidecars do not know are refused, as the Sidecar says, or the mesh config where it says
 * nothing (Istio pilot/pkg/model/sidecar.go initSidecarScopeInternalIndexes). A policy of a Sidecar without a mode has the first one
 * of the enum, which refuses. `sidecar`: the one of the client; undefined: none.
 */
export function isRegistryOnly(sidecar: Sidecar | undefined, settings: SettingsWith<"outboundTrafficPolicy">): boolean {
  const own = sidecar?.spec.outboundTrafficPolicy;
  return (own === undefined ? settings.outboundTrafficPolicy : own.mode || registryOnly) === registryOnly;
}
const registryOnly = "REGISTRY_ONLY";
