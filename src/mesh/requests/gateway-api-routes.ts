import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import {
  type Conversion,
  converted,
  type ConvertedRoutes,
  convertedStreams,
  dropped,
} from "../gateways/converted-rules.ts";
import { missingIn } from "../gateways/hostname-routes.ts";
import {
  isOfRequests,
  type KubernetesRoute,
  parentOf,
  type ParentRef,
  routesOfParentEntry,
  routesOfParentService,
  servicesOfRoute,
} from "../gateways/routes.ts";
import { namespaceOfService } from "../membership/services.ts";
import { oldestRouteFirst } from "../objects/creation-order.ts";
import { type ControlPlane, isReadBy } from "../objects/revision.ts";
import {
  type Definition,
  namespaceOfEntry,
  serviceEntriesBesideService,
  serviceEntriesBesideServiceEntry,
} from "../traffic/definition-choice.ts";
import { hostOfService, isWildcard, overlaps } from "../traffic/hosts.ts";
import { hasGatewaySemantics, hostsOf } from "../traffic/virtual-service-choices.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { doubtOfRoutesTo, otherControllerReads } from "../waypoints/other-controllers.ts";
import type { HostPort } from "./table-entries.ts";

/** What `parentsOfName`, `routesOfParents`, `doubtOfRoutes`, `madeOfRoutes` and `RoutesOfHost` read. */
export const parentReads = [
  servicesOfRoute,
  routesOfParentService,
  routesOfParentEntry,
  serviceEntriesBesideService,
  serviceEntriesBesideServiceEntry,
  namespaceOfService,
  namespaceOfEntry,
  ...otherControllerReads,
] as const;
type View = MeshView<(typeof parentReads)[number]>;

/** The routes that name what has a name. */
interface NamedRoutes {
  readonly name: string;
  readonly parents: readonly Definition[];
  readonly routes: readonly KubernetesRoute[];
}

/** The routes for a host, and for its alias, that a control plane reads. */
export class RoutesOfHost {
  readonly #to: HostPort;
  readonly #proxy: { readonly controlPlane: ControlPlane };
  readonly #mesh: View;
  #made: ReadonlyMap<VirtualService, MadeOfRoutes> | undefined;
  #routesNamed: readonly NamedRoutes[] | undefined;

  /** `proxy`: whose control plane it is, which is asked for only if there are routes. */
  constructor(to: HostPort, proxy: { readonly controlPlane: ControlPlane }, mesh: View) {
    this.#to = to;
    this.#proxy = proxy;
    this.#mesh = mesh;
  }

  /** What istiod makes of them. */
  get made(): ReadonlyMap<VirtualService, MadeOfRoutes> {
    this.#made ??= new Map(this.#findMade().map((one) => [one.virtualService, one]));
    return this.#made;
  }

  #findMade(): readonly MadeOfRoutes[] {
    return this.#named.flatMap(({ routes, parents, name }) =>
      routes.length === 0 ? [] : madeOfRoutes(routes, { parents, name }, this.#mesh),
    );
  }

  /** By the name that they are for. */
  get #named(): readonly NamedRoutes[] {
    return (this.#routesNamed ??= this.#findNamed());
  }

  #findNamed(): readonly NamedRoutes[] {
    const { definition, alias, name } = this.#to;
    const { domain } = this.#mesh.settings;
    const named = definition === undefined ? [] : [{ definition, name }];
    const ofAlias = alias === undefined ? [] : [{ definition: alias, name: hostOfService(alias, domain) }];
    return [...named, ...ofAlias].map((of) => {
      const parents = parentsOfName(of, this.#mesh);
      const routes = routesOfParents(parents, this.#mesh).filter((one) =>
        isReadBy(one, this.#proxy.controlPlane, this.#mesh.settings),
      );
      return { name: of.name, parents, routes };
    });
  }

  /** Why it is not known which of them there are; undefined: it is. */
  get doubt(): string | undefined {
    const { port } = this.#to;
    for (const { routes, parents } of this.#named) {
      const doubt = doubtOfRoutes(routes, { parents, port }, this.#mesh);
      if (doubt !== undefined) return doubt;
    }
    return undefined;
  }
}

/** A name, and what defines it for a client; undefined: nothing does. */
interface Named {
  readonly definition: Definition | undefined;
  readonly name: string;
}

/**
 * What routes of the Gateway API can name to count for a name. istiod makes a VirtualService of a route for each host of a ServiceEntry
 * that it names, which counts for whatever service has the host (Istio pilot/pkg/config/kube/gateway/route_collections.go
 * HTTPRouteCollection).
 */
export function parentsOfName({ definition, name }: Named, mesh: View): readonly Definition[] {
  if (definition === undefined) return [];
  const beside =
    definition.kind === "Service"
      ? mesh.related(serviceEntriesBesideService, definition)
      : mesh.related(serviceEntriesBesideServiceEntry, definition);
  return [definition, ...beside.filter((one) => one !== definition && one.spec.hosts.includes(name))];
}

/** The routes that name one of these parents. */
export function routesOfParents(parents: readonly Definition[], mesh: View): readonly KubernetesRoute[] {
  const all = parents.flatMap((one) =>
    one.kind === "Service" ? mesh.related(routesOfParentService, one) : mesh.related(routesOfParentEntry, one),
  );
  return parents.length > 1 ? [...new Set(all)] : all;
}

/** Why it is not known whether istiod reads those of the routes that count for a port; undefined: it does. */
export function doubtOfRoutes(
  routes: readonly KubernetesRoute[],
  { parents, port }: { readonly parents: readonly Definition[]; readonly port: number },
  mesh: View,
): string | undefined {
  if (routes.length === 0) return undefined;
  for (const parent of parents) {
    const [namespace] =
      parent.kind === "Service" ? mesh.related(namespaceOfService, parent) : mesh.related(namespaceOfEntry, parent);
    const doubt = doubtOfRoutesTo(parent, namespace, mesh);
    const route = doubt === undefined ? undefined : routes.find((one) => namesPort(one, parent, port));
    if (route !== undefined) return `${idOf(route)} counts if istiod reads it: ${doubt}`;
  }
  return undefined;
}

const namesPort = (route: KubernetesRoute, { kind, metadata }: Definition, port: number): boolean =>
  route.spec.parentRefs.some((ref) => {
    const { kind: named, namespace, name } = parentOf(ref, route);
    const isParent = named === kind && namespace === metadata.namespace && name === metadata.name;
    return isParent && (ref.port ?? port) === port;
  });

/** A VirtualService that istiod makes of routes of the Gateway API, for one host of their parents. */
export interface MadeOfRoutes extends Pick<ConvertedRoutes, "virtualService" | "refused"> {
  /** The oldest of the routes; all rules of connections are its. */
  readonly object: KubernetesRoute;
  /** Where the rules for requests are written. */
  readonly origins: ConvertedRoutes["origins"];
}

/** The name that routes are for, and the definitions that they can have as their parent. */
interface Wanted {
  readonly parents: readonly Definition[];
  readonly name: string;
}

/** A reference to a parent, for one of its hosts that a name is among, or that is among the hosts of the name. */
interface AtHost {
  readonly route: KubernetesRoute;
  readonly host: string;
  readonly ref: ParentRef;
  /** Its place among the references of the route. */
  readonly place: number;
  /** All hosts of the parent. */
  readonly hosts: readonly string[];
}

/**
 * What istiod makes of routes for the hosts of their parents: one VirtualService of all routes for requests of one namespace that name
 * the same port, or none, and one of each reference of a route for connections. No grant is needed for their backends (Istio
 * pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection, mergeHTTPRoutes, TCPRouteCollection, TLSRouteCollection).
 */
export function madeOfRoutes(all: readonly KubernetesRoute[], wanted: Wanted, mesh: View): readonly MadeOfRoutes[] {
  const { domain } = mesh.settings;
  const conversion = { domain, isMissing: missingIn(mesh) };
  const named = all.flatMap((route) => [...atHosts(route, wanted, domain)]);
  const ofRequests = named.filter(({ route }) => isOfRequests(route) && dropped(route, conversion) === undefined);
  const merged = Map.groupBy(ofRequests, ({ route, host, ref: { port } }) =>
    [route.metadata.namespace, ...(port === undefined ? [] : [port]), host].join("~"),
  );
  const requests = [...merged].flatMap(([name, some]): readonly MadeOfRoutes[] => {
    const routes = [...new Set(some.map(({ route }) => route))].sort(oldestRouteFirst);
    const [object, of] = [routes[0], some[0]];
    if (object === undefined || of === undefined) return [];
    return [{ ...converted(routes, { ...conversion, hosts: [of.host], name, port: of.ref.port }), object }];
  });
  const streams = named.filter(({ route }) => !isOfRequests(route)).map((one) => madeOfStream(one, conversion));
  return [...requests, ...streams];
}

function* atHosts(route: KubernetesRoute, { parents, name }: Wanted, domain: string): Iterable<AtHost> {
  for (const [place, ref] of route.spec.parentRefs.entries()) {
    const to = parentOf(ref, route);
    const parent = parents.find(
      ({ kind, metadata }) => kind === to.kind && metadata.namespace === to.namespace && metadata.name === to.name,
    );
    if (parent === undefined) continue;
    const hosts = parent.kind === "Service" ? [hostOfService(parent, domain)] : parent.spec.hosts;
    for (const host of hosts) if (overlaps(host, name)) yield { route, host, ref, place, hosts };
  }
}

type Uses = Omit<Conversion, "hosts">;

/** A route that istiod drops is there nevertheless, without rules. */
function madeOfStream({ route, host, ref: { port }, place, hosts }: AtHost, conversion: Uses): MadeOfRoutes {
  const isTls = route.originKind === "TLSRoute";
  const name = `${route.metadata.name}~${isTls ? "tls" : "tcp"}~${place}~istio-autogenerated-k8s-gateway`;
  const written = dropped(route, conversion) === undefined ? route : { ...route, spec: { ...route.spec, rules: [] } };
  const sniHosts = isTls ? namesInTls(route, host, hosts) : [];
  return {
    ...convertedStreams(written, { ...conversion, hosts: [host], name, port, sniHosts }),
    object: route,
    origins: none,
  };
}
const none: ConvertedRoutes["origins"] = new Map();

/** Without hostnames, a TLSRoute is for the hosts of its parent. Of several names, only those count that the host is among, which may be none (augmentTLSPortMatch, compatibleRoutesForHost). */
function namesInTls({ spec }: KubernetesRoute, host: string, hosts: readonly string[]): readonly string[] {
  const names = spec.hostnames.length === 0 || spec.hostnames.join() === "*" ? hosts : spec.hostnames;
  return names.length > 1 ? names.filter((name) => overlaps(name, host)) : names;
}

/** A host as the proxies of a namespace have it. */
interface HostOfClient {
  readonly definition: Definition;
  /** The host, or a wildcard. */
  readonly name: string;
  /** The namespace of the proxies. */
  readonly client: string;
}

/**
 * Whether sidecars use the routes for requests of a VirtualService for a host. Of the Gateway API, they use routes of their own
 * namespace and of that of the host, and none for wildcards (Istio pilot/pkg/networking/core/route/route.go
 * separateVSHostsAndServices, buildSidecarVirtualHostsForVirtualService).
 */
export function isForSidecars(
  virtualService: VirtualService,
  { definition, name, client }: HostOfClient,
  settings: Parameters<typeof hostsOf>[1],
): boolean {
  if (!hasGatewaySemantics(virtualService)) return true;
  const { namespace } = virtualService.metadata;
  const isNear = namespace === client || namespace === definition.metadata.namespace;
  return isNear && !isWildcard(name) && hostsOf(virtualService, settings).includes(name);
}
