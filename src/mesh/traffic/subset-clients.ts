import { hasNoMeshRoutes } from "../membership/clients.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { fact, index, relation } from "../../view/view.ts";
import { namespaceOfClientRule } from "./destination-rule-services.ts";
import { fullHost, namespaceOfHost } from "./hosts.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { includesNamespace } from "./export-to.ts";
import { type Followers, followersOf, hostOwners } from "./host-owners.ts";
import { type ClientScopes, clientScopes } from "./sidecar-scope.ts";
import {
  type Clients,
  clientsMatching,
  clientsOf,
  clientsThroughRoot,
  type GatewayPods,
  gatewayPodsOf,
  gatewaysOfVirtualService,
  handedOver,
  isDelegate,
  meshGateway,
  notOffered,
  rootsOfDelegate,
  workloadsOfGateway,
} from "./virtual-service-clients.ts";
import { subsetDestinationsOf, type Traffic, type VirtualService } from "./virtual-services.ts";

/** Proxies of one namespace that send requests to a subset. */
export interface SubsetClient {
  readonly namespace: string;
  /** The pods of a gateway; undefined: any workload of the namespace. */
  readonly gateway: GatewayPods | undefined;
  /**
   * Whether these clients are intended to use the route: those in the namespaces of the VirtualService and the service,
   * and gateways. A VirtualService in the root namespace is intended for clients elsewhere.
   */
  readonly isServed: boolean;
}
/** A VirtualService with hosts through which clients reach a route, these clients, and the pods of its gateways. */
interface Routed {
  readonly root: VirtualService;
  readonly followers: Followers;
  readonly scopes: ClientScopes;
  readonly clients: Clients;
  readonly pods: ReadonlyMap<string, readonly GatewayPods[]>;
}

/** How requests reach the routes of a VirtualService; the same for all its routes. */
export class Routing {
  readonly virtualService: VirtualService;
  readonly settings: MeshSettings;
  readonly #routed: readonly Routed[];
  readonly #callers = new SmallMap<string, readonly Callers[]>();

  constructor(virtualService: VirtualService, routed: readonly Routed[], settings: MeshSettings) {
    this.virtualService = virtualService;
    this.settings = settings;
    this.#routed = routed;
  }

  /** The callers of a route through each VirtualService with hosts: itself, or the roots of a delegate. */
  callersOf(traffic: Traffic): readonly Callers[] {
    const key = callersAskedFor(traffic);
    let found = this.#callers.get(key);
    if (found === undefined) {
      const { namespace } = this.virtualService.metadata;
      found = this.#routed.map(({ clients, ...routed }) => {
        const matching = clientsMatching(clients, traffic.route.match, traffic.protocol, namespace);
        return callersAmong(matching, routed);
      });
      this.#callers.set(key, found);
    }
    return found;
  }
}

/** How requests reach the routes of a VirtualService. */
export const routing = fact(
  "routing",
  "VirtualService",
  [clientScopes, gatewaysOfVirtualService, handedOver, hostOwners, rootsOfDelegate, workloadsOfGateway],
  (virtualService, mesh): Routing => {
    const { settings } = mesh;
    const routedBy = (root: VirtualService, clients: Clients): Routed => ({
      root,
      clients,
      followers: followersOf(root, mesh),
      scopes: mesh.get(clientScopes, root),
      pods: gatewayPodsOf(root, mesh),
    });
    if (!isDelegate(virtualService))
      return new Routing(virtualService, [routedBy(virtualService, clientsOf(virtualService, settings))], settings);
    const roots = mesh.related(rootsOfDelegate, virtualService);
    const handed = roots.map((root) => ({
      root,
      clients: clientsThroughRoot(virtualService, root, mesh),
      isHidden: followersOf(root, mesh).areNone("http"),
    }));
    const routed = withoutRepeated(handed).map(({ root, clients }) => routedBy(root, clients));
    return new Routing(virtualService, routed, settings);
  },
);

/** Of several roots in one namespace with the same clients only the first and the last: the others have no effect. */
function withoutRepeated<
  R extends { readonly root: VirtualService; readonly clients: Clients; readonly isHidden: boolean },
>(roots: readonly R[]): readonly R[] {
  if (roots.length < 3) return roots;
  const ends = new Map<string, readonly [first: R, last: R]>();
  for (const one of roots) {
    const clients = [...one.clients].map(([gateway, namespaces]) => [gateway, [...namespaces]]);
    const key = JSON.stringify([one.root.metadata.namespace, clients, one.isHidden]);
    ends.set(key, [ends.get(key)?.[0] ?? one, one]);
  }
  const kept = new Set([...ends.values()].flat());
  return roots.filter((one) => kept.has(one));
}

/** Two routes to one subset have the same clients if this key, built from the conditions about callers, is equal. */
export const callersAskedFor = ({ protocol, route }: Traffic): string => {
  if (!route.match.some(({ gateways, sourceNamespace }) => gateways.length > 0 || sourceNamespace)) return "";
  return JSON.stringify([protocol, route.match.map(({ gateways, sourceNamespace }) => [gateways, sourceNamespace])]);
};

/** The callers of a route, in the order of its gateways. */
export interface Callers {
  readonly root: VirtualService;
  /** Those of the sidecars that follow it. */
  readonly followers: Followers;
  readonly scopes: ClientScopes;
  /** Each entry is a pod of a gateway, each once, or the namespaces of all sidecars. */
  readonly inOrder: readonly (SubsetClient | { readonly sidecars: ReadonlySet<string> })[];
  /** The namespaces in which a gateway can have pods if the view contains none. */
  readonly somewhere: readonly ReadonlySet<string>[];
  /** Whether the view contains one of these Gateways: a Gateway that is not there has pods only once it is created. */
  readonly isGatewayThere: boolean;
  /** The namespaces in which pods of a Gateway would have the routes, if it offered a host of the VirtualService. */
  readonly notOffered: readonly ReadonlySet<string>[];
}

function callersAmong(clients: Clients, { root, followers, scopes, pods }: Omit<Routed, "clients">): Callers {
  const sidecars = ofSidecarsAlone(clients);
  const found = sidecars === undefined ? throughGateways(clients, pods) : { ...noGateways, inOrder: [{ sidecars }] };
  return { root, followers, scopes, ...found };
}
const noGateways = { somewhere: [], isGatewayThere: false, notOffered: [] } as const;

/** The namespaces, if no gateway is among the clients, as in most cases. */
function ofSidecarsAlone(clients: Clients): ReadonlySet<string> | undefined {
  return clients.size === 1 ? clients.get(meshGateway) : undefined;
}

function throughGateways(clients: Clients, pods: Routed["pods"]): Omit<Callers, "root" | "followers" | "scopes"> {
  const inOrder: Callers["inOrder"][number][] = [];
  const known = new Set<GatewayPods["workload"]>();
  for (const [gateway, visible] of clients) {
    if (gateway === meshGateway) inOrder.push({ sidecars: visible });
    for (const pod of pods.get(gateway) ?? []) {
      const { namespace } = pod.workload.metadata;
      if (known.has(pod.workload) || !includesNamespace(visible, namespace)) continue;
      known.add(pod.workload);
      inOrder.push({ namespace, gateway: pod, isServed: true });
    }
  }
  return { inOrder, ...withoutPods(clients, pods) };
}

function withoutPods(
  clients: Clients,
  pods: Routed["pods"],
): Pick<Callers, "somewhere" | "isGatewayThere" | "notOffered"> {
  const [somewhere, closed] = [new Set<ReadonlySet<string>>(), new Set<ReadonlySet<string>>()];
  let isGatewayThere = false;
  for (const [gateway, visible] of clients) {
    const there = pods.get(gateway);
    if (gateway === meshGateway || visible.size === 0 || (there !== undefined && there.length > 0)) continue;
    (there === notOffered ? closed : somewhere).add(visible);
    isGatewayThere ||= there !== undefined && there !== notOffered;
  }
  return { somewhere: [...somewhere], isGatewayThere, notOffered: [...closed] };
}

/** A VirtualService with subsets, its namespace, and those of the hosts of the subsets. */
export const namespacesOfSubsetClients = relation(
  "namespacesOfSubsetClients",
  index("VirtualService", ({ metadata, spec }, { domain }) => {
    const hosts = new Set(subsetDestinationsOf({ spec }).map(({ host }) => host));
    const found = [...hosts].flatMap(
      (host) => namespaceOfHost(fullHost(host, metadata.namespace, domain), domain) ?? [],
    );
    return found.length === 0 ? [] : new Set([metadata.namespace, ...found]);
  }),
  namespaceByName,
);

/** Those of these namespaces whose workloads are all gateways, waypoints or outside the mesh. */
export const namespacesWithoutSidecars = fact(
  "namespacesWithoutSidecars",
  "VirtualService",
  [namespacesOfSubsetClients, hasNoMeshRoutes],
  (virtualService, mesh): ReadonlySet<string> =>
    new Set(
      mesh
        .related(namespacesOfSubsetClients, virtualService)
        .filter((namespace) => mesh.get(hasNoMeshRoutes, namespace))
        .map(({ metadata }) => metadata.name),
    ),
);

/** Whether the namespace of this name, which has a DestinationRule for a host of another one, is one of those without sidecars. */
export const isWithoutSidecars = fact(
  "isWithoutSidecars",
  "key",
  [namespaceOfClientRule, hasNoMeshRoutes],
  (name, mesh) => mesh.under(namespaceOfClientRule, [name]).some((namespace) => mesh.get(hasNoMeshRoutes, namespace)),
);
