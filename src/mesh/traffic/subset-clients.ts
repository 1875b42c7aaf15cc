import { everyNamespace, includesNamespace } from "./export-to.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { lookUpSubset, namespacesThatMatter, type SubsetLookup, type SubsetTarget } from "./subsets.ts";
import type { MeshView } from "../../view/view.ts";
import {
  type Clients,
  clientsMatching,
  clientsOf,
  clientsThroughRoot,
  type GatewayPods,
  gatewayPodsOf,
  type gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  rootsOfDelegate,
  type workloadsOfGateway,
} from "./virtual-service-clients.ts";
import type { Traffic, VirtualService } from "./virtual-services.ts";

/** Proxies of one namespace that send requests to a subset. */
interface SubsetClient {
  readonly namespace: string;
  /** The pods, where they are a gateway's; undefined: any workload. */
  readonly gateway: GatewayPods | undefined;
  /**
   * Whether it is meant to use the route: the VirtualService's and the service's namespace, and gateways. The root
   * namespace holds configuration, so that what stands there is meant for others.
   */
  readonly isServed: boolean;
}
interface SubsetClients {
  readonly known: readonly SubsetClient[];
  /** Where the pods of a gateway may be of which the view shows none. */
  readonly somewhere: ReadonlySet<string>;
}

/** Clients that lack a subset. */
export interface SubsetFailure {
  /** Undefined: the gateways whose pods the view does not show, wherever they are. */
  readonly client: SubsetClient | undefined;
  readonly lookup: SubsetLookup;
  /** Whether it stops requests that the route is meant for. */
  readonly isGrave: boolean;
  /** Of a delegate: the VirtualService that makes them clients. */
  readonly root: VirtualService | undefined;
}

/** How requests come to the routes of a VirtualService: the same for all of them. */
export interface Routing {
  readonly virtualService: VirtualService;
  readonly routed: readonly Routed[];
  readonly settings: MeshSettings;
}

export function routingOf(
  virtualService: VirtualService,
  mesh: MeshView<typeof gatewaysOfVirtualService | typeof rootsOfDelegate | typeof workloadsOfGateway>,
): Routing {
  const roots = isDelegate(virtualService) ? mesh.related(rootsOfDelegate, virtualService) : [virtualService];
  const routed = roots.map((root) => ({ root, pods: gatewayPodsOf(root, mesh) }));
  return { virtualService, routed, settings: mesh.settings };
}

/** What makes the clients of two routes to one subset the same: all that their matches say of callers. */
export const callersAskedFor = ({ protocol, route }: Traffic): string => {
  const asked = route.match.filter(({ gateways, sourceNamespace }) => gateways.length > 0 || sourceNamespace);
  if (asked.length === 0) return "";
  return JSON.stringify([protocol, route.match.map(({ gateways, sourceNamespace }) => [gateways, sourceNamespace])]);
};

/**
 * Who of a route's clients lacks the subset. Clients that are not meant to use the route are named only where they look
 * elsewhere than those who are.
 */
export function subsetFailures(
  { virtualService, routed, settings }: Routing,
  traffic: Traffic,
  target: SubsetTarget,
): readonly SubsetFailure[] {
  if (routed.length === 0) return failuresOfNobody(target, settings);
  const failures = new Map<string, SubsetFailure>();
  for (const { root, pods } of routed) {
    const clients = routeClients(virtualService, traffic, root, settings);
    const found = subsetClients(clients, { root, pods }, target, settings);
    for (const failure of failuresOf(found, target, settings)) {
      const namespace = failure.client?.namespace ?? everyNamespace;
      if (failures.get(namespace)?.isGrave) continue;
      failures.set(namespace, { ...failure, root: root === virtualService ? undefined : root });
    }
  }
  return [...failures.values()];
}

/** A delegate that nobody hands requests over to: nothing fails yet. */
function failuresOfNobody(target: SubsetTarget, settings: MeshSettings): readonly SubsetFailure[] {
  const lookup = lookUpEverywhere(namespacesThatMatter(target), target, settings);
  return lookup ? [{ client: undefined, lookup, isGrave: false, root: undefined }] : [];
}

/** Who follows a route by way of a VirtualService with hosts: itself, or the root of a delegate. */
function routeClients(
  virtualService: VirtualService,
  { protocol, route }: Traffic,
  root: VirtualService,
  settings: MeshSettings,
): Clients {
  if (root !== virtualService) return clientsThroughRoot(virtualService, { protocol, route }, root, settings);
  return clientsMatching(clientsOf(root, settings), route.match, protocol, root.metadata.namespace);
}

/** A VirtualService with hosts, and the pods of its gateways. */
interface Routed {
  readonly root: VirtualService;
  readonly pods: ReadonlyMap<string, readonly GatewayPods[]>;
}

/** The clients of a route, one for each namespace that may find another subset than the rest. */
function subsetClients(
  clients: Clients,
  { root, pods }: Routed,
  target: SubsetTarget,
  { rootNamespace }: MeshSettings,
): SubsetClients {
  const { namespace } = root.metadata;
  const served = new Set([namespace, ...target.serviceNamespaces]);
  served.delete(rootNamespace);
  const known: SubsetClient[] = [];
  const somewhere = new Set<string>();
  for (const [gateway, visible] of clients) {
    const all = visible.has(everyNamespace)
      ? new Set([...served, namespace, ...namespacesThatMatter(target)])
      : visible;
    const there = pods.get(gateway) ?? [];
    if (gateway === meshGateway)
      for (const name of all) known.push({ namespace: name, gateway: undefined, isServed: served.has(name) });
    else if (there.length === 0) for (const name of all) somewhere.add(name);
    for (const pod of there)
      if (includesNamespace(visible, pod.workload.metadata.namespace))
        known.push({ namespace: pod.workload.metadata.namespace, gateway: pod, isServed: true });
  }
  return { known, somewhere };
}

type Failure = Omit<SubsetFailure, "root">;

function failuresOf(
  { known, somewhere }: SubsetClients,
  target: SubsetTarget,
  settings: MeshSettings,
): readonly Failure[] {
  const looked = known.map((client) => ({
    client,
    lookup: lookUpSubset(client.namespace, target, settings, client.gateway?.workload.pod.labels),
  }));
  const served = looked.filter(({ client, lookup }) => client.isServed && lookup.definedFor !== "all").map(graveIfAll);
  const isForOthersOnly = somewhere.size === 0 && !known.some(({ isServed }) => isServed);
  const isNowhere = isForOthersOnly && looked.every(({ lookup }) => lookup.definedFor === "none");
  const unseen = served.length === 0 ? lookUpEverywhere(somewhere, target, settings) : undefined;
  if (unseen) served.push({ client: undefined, lookup: unseen, isGrave: true });
  // The root namespace holds no clients worth a word, as long as there are any others.
  const others = looked.filter(
    ({ client, lookup }) =>
      !client.isServed &&
      lookup.definedFor !== "all" &&
      (isForOthersOnly || client.namespace !== settings.rootNamespace) &&
      !served.some((failure) => isAlike(failure.lookup, lookup)),
  );
  return [...served, ...others.map((failure) => ({ ...failure, isGrave: isNowhere }))];
}

const graveIfAll = (failure: Omit<Failure, "isGrave">): Failure => ({
  ...failure,
  isGrave: failure.lookup.definedFor === "none",
});

const isAlike = (a: SubsetLookup, b: SubsetLookup): boolean =>
  a.definedFor === b.definedFor && a.used.length === b.used.length && a.used.every((rule, i) => rule === b.used[i]);

/** What is found wherever one looks; undefined where the subset is there for some, or nowhere to look. */
export function lookUpEverywhere(
  namespaces: Iterable<string>,
  target: SubsetTarget,
  settings: MeshSettings,
): SubsetLookup | undefined {
  const lookups = [...namespaces].map((namespace) => lookUpSubset(namespace, target, settings));
  return lookups.every(({ definedFor }) => definedFor === "none") ? lookups.at(-1) : undefined;
}
