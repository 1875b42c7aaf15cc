import { namespaceByName } from "../objects/indexes.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { type Definition, isRoutedFrom, serviceVisibleTo } from "./definition-choice.ts";
import { everyNamespace, includesNamespace } from "./export-to.ts";
import { hostOwners, hostsForSidecars } from "./host-owners.ts";
import { fullHost, isWildcard, namespaceOfHost } from "./hosts.ts";
import { isLookedUp } from "./missing-host.ts";
import { type RegisteredHost, registeredHost } from "./registry.ts";
import { egressHost, type Sidecar, sidecarByNamespace } from "./sidecar-egress.ts";
import { egressOf } from "./sidecar-scope.ts";
import { subsetsOfHost } from "./subset-targets.ts";
import type { SubsetLookup, SubsetsOfHost } from "./subsets.ts";
import { clientsMatching, clientsOf, meshGateway } from "./virtual-service-clients.ts";
import { type Traffic, trafficOf, type VirtualService } from "./virtual-services.ts";

/** VirtualServices for sidecars by their hosts, by the namespaces of these, and by their own namespace. */
const virtualServiceByPlace = index("VirtualService", (virtualService, settings) => {
  const places = new Set<string>();
  for (const host of hostsForSidecars.keys(virtualService, settings)) {
    places.add(host).add(virtualService.metadata.namespace);
    places.add(namespaceOfHost(host, settings.domain) ?? host);
  }
  return places;
});
/** A namespace, the VirtualServices in it, and those for hosts in it. */
const virtualServicesForNamespace = relation("virtualServicesForNamespace", namespaceByName, virtualServiceByPlace);
/** A Sidecar and the VirtualServices for the hosts, and in or for the namespaces, that its egress names. */
const virtualServicesNamedBySidecar = relation(
  "virtualServicesNamedBySidecar",
  index("Sidecar", (sidecar, settings) =>
    [...sidecarByNamespace.keys(sidecar, settings)].length === 0 ? [] : placesNamed(sidecar),
  ),
  virtualServiceByPlace,
);

/** The hosts, and where these are wildcards the namespaces, that the egress of a Sidecar names. */
function placesNamed({ metadata, spec }: Sidecar): ReadonlySet<string> {
  const places = new Set<string>();
  for (const said of spec.egress.flatMap(({ hosts }) => hosts)) {
    const entry = egressHost(said, metadata.namespace);
    if (entry === undefined || entry.isExcluded) continue;
    if (!isWildcard(entry.host)) places.add(entry.host);
    else if (entry.namespace !== everyNamespace) places.add(entry.namespace);
  }
  return places;
}

/** A destination of a route that sidecars of a namespace have no cluster for. */
export interface BrokenRoute {
  readonly traffic: Traffic;
  readonly host: string;
  readonly registered: RegisteredHost;
  /** Whether the host is there, and exported to the namespace. */
  readonly isSeen: boolean;
  /** The DestinationRules of the namespace without the subset, if one is named and missing. */
  readonly without: { readonly lookup: SubsetLookup; readonly subsets: SubsetsOfHost } | undefined;
}

const readsOfRoutes = [
  ...[virtualServicesForNamespace, virtualServicesNamedBySidecar],
  ...[hostOwners, registeredHost, subsetsOfHost],
] as const;

const isVisible = (one: Definition, namespace: string, settings: MeshSettings): boolean =>
  includesNamespace(serviceVisibleTo(one, settings), namespace);

/** Which routes sidecars of a namespace follow with one Sidecar or another. Routes of HTTP alone. */
class SidecarRoutes {
  readonly #namespace: Namespace;
  readonly #mesh: MeshView<(typeof readsOfRoutes)[number]>;
  readonly #broken = new Map<VirtualService, BrokenRoute | "none">();

  constructor(namespace: Namespace, mesh: MeshView<(typeof readsOfRoutes)[number]>) {
    this.#namespace = namespace;
    this.#mesh = mesh;
  }

  /** The hosts with VirtualServices that the namespace is known to use: its own, those that it routes, and those that Sidecars name. */
  *hostsKnown(sidecars: Iterable<Sidecar>): Iterable<string> {
    const mesh = this.#mesh;
    const { name } = this.#namespace.metadata;
    const own = mesh.related(virtualServicesForNamespace, this.#namespace);
    yield* this.#hostsAmong(own, new Set([name]));
    for (const sidecar of sidecars)
      yield* this.#hostsAmong(mesh.related(virtualServicesNamedBySidecar, sidecar), placesNamed(sidecar));
  }

  *#hostsAmong(all: readonly VirtualService[], places: ReadonlySet<string>): Iterable<string> {
    const { settings } = this.#mesh;
    for (const virtualService of all)
      for (const host of hostsForSidecars.keys(virtualService, settings))
        if (
          places.has(virtualService.metadata.namespace) ||
          places.has(host) ||
          places.has(namespaceOfHost(host, settings.domain) ?? host)
        )
          yield host;
  }

  /** The VirtualService that decides about requests for a host; undefined: none. */
  followed(host: string, sidecar: Sidecar | undefined): VirtualService | undefined {
    const { name } = this.#namespace.metadata;
    const egress = sidecar && egressOf(sidecar, name);
    const hides = (one: VirtualService) => egress?.importsVirtualService(one, this.#mesh) === false;
    return this.#mesh.get(hostOwners, host).ownerAmong(name, "http", { hides });
  }

  /** Whether requests for the service of a host get to it, if no route decides about them. */
  reaches(host: string, sidecar: Sidecar | undefined): boolean {
    const { settings } = this.#mesh;
    const { name } = this.#namespace.metadata;
    const owner = namespaceOfHost(host, settings.domain);
    const isImported = sidecar === undefined || egressOf(sidecar, name).importsService(host, owner ?? "");
    const { definitions } = this.#mesh.get(registeredHost, host);
    return owner !== undefined && isImported && definitions.some((one) => isVisible(one, name, settings));
  }

  /** Undefined: not all kinds are known that could define the host, or istiod may create a Service for it. */
  #isReached({ definitions, mayBeGenerated }: RegisteredHost): boolean | undefined {
    const { name } = this.#namespace.metadata;
    if (definitions.some((one) => isRoutedFrom(name, one, this.#mesh.settings))) return true;
    if (mayBeGenerated) return undefined;
    return this.#mesh.knows("Service") && this.#mesh.knows("ServiceEntry") ? false : undefined;
  }

  /** The first destination of its routes for sidecars of the namespace that leads nowhere. */
  brokenIn(virtualService: VirtualService): BrokenRoute | undefined {
    let found = this.#broken.get(virtualService);
    if (found === undefined) {
      found = this.#findBroken(virtualService) ?? "none";
      this.#broken.set(virtualService, found);
    }
    return found === "none" ? undefined : found;
  }

  #findBroken(virtualService: VirtualService): BrokenRoute | undefined {
    const { namespace } = virtualService.metadata;
    const clients = clientsOf(virtualService, this.#mesh.settings);
    const all = trafficOf(virtualService);
    this.#mesh.visited(all.length);
    for (const traffic of all) {
      const matching = clientsMatching(clients, traffic.route.match, traffic.protocol, namespace).get(meshGateway);
      const isFor = matching !== undefined && includesNamespace(matching, this.#namespace.metadata.name);
      const broken = traffic.protocol === "http" && isFor ? this.#brokenAt(traffic, namespace) : undefined;
      if (broken !== undefined) return broken;
    }
    return undefined;
  }

  #brokenAt(traffic: Traffic, namespace: string): BrokenRoute | undefined {
    const { destination } = traffic;
    const host = fullHost(destination.host, namespace, this.#mesh.settings.domain);
    if (!isLookedUp(host)) return undefined;
    const registered = this.#mesh.get(registeredHost, host);
    if (registered.alias !== undefined) return undefined;
    const isSeen = this.#isReached(registered) !== false;
    const without = destination.subset ? this.#without(host, destination.subset) : undefined;
    return isSeen && without === undefined ? undefined : { traffic, host, registered, isSeen, without };
  }

  #without(host: string, subset: string): BrokenRoute["without"] {
    const subsets = this.#mesh.get(subsetsOfHost, host);
    const lookup = subsets.lookUp(this.#namespace.metadata.name, subset);
    return lookup.definedFor === "none" ? { lookup, subsets } : undefined;
  }
}

/** The routes that sidecars of a namespace follow for the hosts that the namespace is known to use. */
export const sidecarRoutes = fact(
  "sidecarRoutes",
  "Namespace",
  readsOfRoutes,
  (namespace, mesh) => new SidecarRoutes(namespace, mesh),
);
