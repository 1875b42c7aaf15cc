import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { everyNamespace, visibleTo } from "./export-to.ts";
import { coveringHosts, hostOfService, isWildcard } from "./hosts.ts";
import { hostsOf } from "./virtual-service-choices.ts";
import { type ClientScopes, clientScopes } from "./sidecar-scope.ts";
import { clientsMatching, gatewaysOf, isDelegate, meshGateway } from "./virtual-service-clients.ts";
import type { Protocol, VirtualService } from "./virtual-services.ts";

/** VirtualServices for sidecars by their hosts, as istiod resolves them, in lower case. */
export const hostsForSidecars = index("VirtualService", (virtualService, settings) =>
  isServed(virtualService, settings) && !isDelegate(virtualService) && gatewaysOf(virtualService).has(meshGateway)
    ? new Set(hostsOf(virtualService, settings))
    : [],
);
/** A VirtualService and all VirtualServices for sidecars, itself among them, that have one of its hosts, exactly as written. */
export const virtualServicesOfSameHost = relation("virtualServicesOfSameHost", hostsForSidecars, hostsForSidecars);
/** A Service and the VirtualServices for sidecars that have its host or a wildcard over it, even those that others are preferred to. */
export const virtualServicesOverService = relation(
  "virtualServicesOverService",
  index("Service", (service, { domain }) => coveringHosts(hostOfService(service, domain).toLowerCase())),
  hostsForSidecars,
);

/** The namespaces whose sidecars get a route of a VirtualService; everyNamespace stands for all. */
type Routed = ReadonlySet<string>;
const all: Routed = new Set([everyNamespace]);
const nobody: Routed = new Set();

/** The public VirtualServices that come first: for every namespace, and for one namespace. */
interface FirstPublic {
  readonly forAll: number;
  readonly byNamespace: ReadonlyMap<string, number>;
}

/**
 * The VirtualServices for one host, of which the sidecars of a namespace follow the first that has routes for them, as
 * virtualServiceChoices orders them. Of several with the same wildcard the first is followed, even if it has no route for
 * them (Istio pilot/pkg/model/sidecar.go computeWildcardHostVirtualServiceIndex).
 */
export class HostOwners {
  readonly virtualServices: readonly VirtualService[];
  readonly #isWildcard: boolean;
  readonly #settings: MeshSettings;
  /** Of the only VirtualService for a host, as most are, nobody asks for it. */
  #visible: Visible | undefined;
  readonly #owners = new SmallMap<string, VirtualService | "none">();
  readonly #first = new SmallMap<Protocol, FirstPublic>();
  readonly #followed = new SmallMap<Protocol, ReadonlySet<VirtualService | undefined>>();

  constructor(host: string, virtualServices: readonly VirtualService[], settings: MeshSettings) {
    this.virtualServices = virtualServices.length < 2 ? virtualServices : virtualServices.toSorted(oldestFirst);
    this.#isWildcard = isWildcard(host);
    this.#settings = settings;
  }

  get #public(): readonly VirtualService[] {
    return (this.#visible ??= visibleAmong(this.virtualServices, this.#settings)).forAll;
  }
  get #named(): Visible["named"] {
    return (this.#visible ??= visibleAmong(this.virtualServices, this.#settings)).named;
  }

  /**
   * The one that sidecars of a namespace follow, of those that their Sidecars import; undefined: none. `""` stands for a
   * namespace that no object names.
   */
  ownerAmong(client: string, protocol: Protocol, scopes: Pick<ClientScopes, "hides">): VirtualService | undefined {
    const owner = this.ownerFor(client, protocol);
    if (owner === undefined || !scopes.hides(owner, client)) return owner;
    const isFollowed = (one: VirtualService) =>
      includes(this.#routedBy(one, protocol), client) && !scopes.hides(one, client);
    return this.#named.get(client)?.find(isFollowed) ?? this.#public.find(isFollowed);
  }

  /** The one that sidecars of a namespace without a Sidecar follow. */
  ownerFor(client: string, protocol: Protocol): VirtualService | undefined {
    const key = `${protocol} ${client}`;
    let found = this.#owners.get(key);
    if (found === undefined) this.#owners.set(key, (found = this.#find(client, protocol) ?? "none"));
    return found === "none" ? undefined : found;
  }

  /** The ones that sidecars follow, and undefined if some follow none. */
  readonly followed = (protocol: Protocol): ReadonlySet<VirtualService | undefined> => {
    let found = this.#followed.get(protocol);
    if (found === undefined) {
      const clients = ["", ...this.#named.keys(), ...this.#firstPublic(protocol).byNamespace.keys()];
      found = new Set(clients.map((client) => this.ownerFor(client, protocol)));
      this.#followed.set(protocol, found);
    }
    return found;
  };

  #find(client: string, protocol: Protocol): VirtualService | undefined {
    const own = this.#named.get(client)?.find((one) => includes(this.#routedBy(one, protocol), client));
    if (own !== undefined) return own;
    const { forAll, byNamespace } = this.#firstPublic(protocol);
    return this.#public[Math.min(forAll, byNamespace.get(client) ?? Number.POSITIVE_INFINITY)];
  }

  #firstPublic(protocol: Protocol): FirstPublic {
    const known = this.#first.get(protocol);
    if (known !== undefined) return known;
    const byNamespace = new Map<string, number>();
    for (const [i, virtualService] of this.#public.entries()) {
      for (const namespace of this.#routedBy(virtualService, protocol))
        if (!byNamespace.has(namespace)) byNamespace.set(namespace, i);
      if (byNamespace.has(everyNamespace)) break;
    }
    const forAll = byNamespace.get(everyNamespace) ?? Number.POSITIVE_INFINITY;
    byNamespace.delete(everyNamespace);
    const found = { forAll, byNamespace };
    this.#first.set(protocol, found);
    return found;
  }

  #routedBy(virtualService: VirtualService, protocol: Protocol): Routed {
    return this.#isWildcard && protocol === "http" ? all : routedBy(virtualService, protocol);
  }
}

/** The VirtualServices for a host by who sees them. */
interface Visible {
  readonly forAll: readonly VirtualService[];
  /** Those that name a namespace in exportTo: private ones first. */
  readonly named: ReadonlyMap<string, readonly VirtualService[]>;
}

function visibleAmong(virtualServices: readonly VirtualService[], settings: MeshSettings): Visible {
  const [forAll, named]: [VirtualService[], Map<string, VirtualService[]>] = [[], new Map()];
  for (const virtualService of virtualServices) {
    const { metadata, spec } = virtualService;
    const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
    if (visible.has(everyNamespace)) forAll.push(virtualService);
    else for (const namespace of visible) append(named, namespace, virtualService);
  }
  for (const [namespace, some] of named)
    some.sort((a, b) => Number(b.metadata.namespace === namespace) - Number(a.metadata.namespace === namespace));
  return { forAll, named };
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const there = lists.get(key);
  if (there === undefined) lists.set(key, [value]);
  else there.push(value);
}

const includes = (routed: Routed, client: string): boolean => routed.has(everyNamespace) || routed.has(client);

const routes = new WeakMap<VirtualService, Map<Protocol, Routed>>();

/**
 * The namespaces for which a VirtualService has routes that hide those of later ones. Routes of tls are merged, and a tcp
 * route ends the search only if it has no condition (Istio pilot/pkg/networking/core/tls.go
 * buildSidecarOutboundTCPFilterChainOpts).
 */
function routedBy(virtualService: VirtualService, protocol: Protocol): Routed {
  const known = routes.get(virtualService) ?? new Map<Protocol, Routed>();
  routes.set(virtualService, known);
  let found = known.get(protocol);
  if (found === undefined) known.set(protocol, (found = computeRouted(virtualService, protocol)));
  return found;
}

/** Whether a VirtualService has routes for sidecars of a namespace; one without any can still own a wildcard host. */
export const hasRoutesFor = (virtualService: VirtualService, client: string, protocol: Protocol): boolean =>
  includes(routedBy(virtualService, protocol), client);

function computeRouted({ metadata, spec }: VirtualService, protocol: Protocol): Routed {
  if (protocol === "tls") return nobody;
  if (protocol === "tcp") return spec.tcp.some(({ match }) => match.length === 0) ? all : nobody;
  const everyone = new Map([[meshGateway, all]]);
  const found = new Set<string>();
  for (const { match } of spec.http)
    for (const namespace of clientsMatching(everyone, match, "http", metadata.namespace).get(meshGateway) ?? nobody)
      found.add(namespace);
  return found;
}

/** The VirtualServices for a host, by the host as istiod resolves it, in lower case. */
export const hostOwners = fact(
  "hostOwners",
  "key",
  [virtualServicesOfSameHost],
  (host, mesh) => new HostOwners(host, mesh.under(virtualServicesOfSameHost, [host]), mesh.settings),
);

/** The sidecars that follow a VirtualService for at least one of its hosts. */
export class Followers {
  readonly #virtualService: VirtualService;
  /** Empty: it is the only VirtualService for one of its hosts, so every sidecar follows it there. */
  readonly #shared: readonly HostOwners[];
  readonly #scopes: ClientScopes;
  readonly #areNone = new SmallMap<Protocol, boolean>();
  readonly #instead = new SmallMap<string, VirtualService | "none">();

  constructor(virtualService: VirtualService, hosts: readonly HostOwners[], scopes: ClientScopes) {
    this.#virtualService = virtualService;
    this.#scopes = scopes;
    this.#shared = hosts.every(({ virtualServices }) => virtualServices.length > 1) ? hosts : [];
  }

  /** Whether sidecars of a namespace follow it. */
  include(client: string, protocol: Protocol): boolean {
    return this.ownerInstead(client, protocol) === undefined;
  }

  /** Whether there are none: other VirtualServices own its hosts for every sidecar. */
  areNone(protocol: Protocol): boolean {
    if (protocol === "tls" || this.#shared.length === 0) return false;
    let found = this.#areNone.get(protocol);
    if (found === undefined) {
      const isFollowed = ({ followed }: HostOwners) => followed(protocol).has(this.#virtualService);
      found = !this.#shared.some(isFollowed) && !this.#isBefore(protocol) && !this.#isLeftBySidecars(protocol);
      this.#areNone.set(protocol, found);
    }
    return found;
  }

  /** Routes of tcp with conditions are used until a VirtualService without conditions follows. */
  #isBefore(protocol: Protocol): boolean {
    if (protocol !== "tcp" || routedBy(this.#virtualService, protocol) === all) return false;
    return this.#shared.some(({ followed }) =>
      [...followed(protocol)].some((owner) => owner === undefined || oldestFirst(this.#virtualService, owner) < 0),
    );
  }

  /** Whether Sidecars hide the others from some namespace, which follows this one therefore. */
  #isLeftBySidecars(protocol: Protocol): boolean {
    for (const client of this.#scopes.limited)
      if (this.#shared.some((owners) => owners.ownerAmong(client, protocol, this.#scopes) === this.#virtualService))
        return true;
    return false;
  }

  /** The VirtualService that sidecars of a namespace follow instead; undefined: they follow this one. */
  ownerInstead(client: string, protocol: Protocol): VirtualService | undefined {
    if (protocol === "tls" || this.#shared.length === 0) return undefined;
    const key = `${protocol} ${client}`;
    let found = this.#instead.get(key);
    if (found === undefined) this.#instead.set(key, (found = this.#findInstead(client, protocol) ?? "none"));
    return found === "none" ? undefined : found;
  }

  #findInstead(client: string, protocol: Protocol): VirtualService | undefined {
    let instead: VirtualService | undefined;
    for (const owners of this.#shared) {
      const owner = owners.ownerAmong(client, protocol, this.#scopes);
      if (owner === undefined || owner === this.#virtualService) return undefined;
      if (protocol === "tcp" && oldestFirst(this.#virtualService, owner) < 0) return undefined;
      instead ??= owner;
    }
    return instead;
  }
}

/** Those of a VirtualService that has hosts. */
export const followersOf = (
  virtualService: VirtualService,
  mesh: MeshView<typeof hostOwners | typeof clientScopes>,
): Followers =>
  new Followers(
    virtualService,
    [...hostsForSidecars.keys(virtualService, mesh.settings)].map((host) => mesh.get(hostOwners, host)),
    mesh.get(clientScopes, virtualService),
  );

/**
 * Whether some sidecars follow a VirtualService at a host of its own, of those that any of its routes is for. Of several the first one
 * decides, and `moreSpecific` have the requests of HTTP before it: those for the very host, or for a wildcard that its own one covers
 * (Istio pilot/pkg/model/virtualservice.go SelectVirtualServices, sidecar.go computeWildcardHostVirtualServiceIndex,
 * pilot/pkg/networking/core/route/route.go separateVSHostsAndServices).
 */
export function isFollowedAt(
  virtualService: VirtualService,
  own: HostOwners,
  moreSpecific: readonly HostOwners[],
  scopes: ClientScopes,
): boolean {
  const followers = new Followers(virtualService, [own], scopes);
  const isLeft = (protocol: Protocol) =>
    protocol !== "http" ||
    moreSpecific.every((owners) => owners.virtualServices.length === 0 || owners.followed(protocol).has(undefined));
  return protocolsOf(virtualService).some((protocol) => !followers.areNone(protocol) && isLeft(protocol));
}

const protocolsOf = ({ spec }: VirtualService): readonly Protocol[] =>
  (["http", "tcp", "tls"] as const).filter((protocol) => spec[protocol].length > 0);
