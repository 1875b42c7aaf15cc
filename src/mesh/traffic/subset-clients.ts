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
  /** The pods of a gateway; undefined: any workload of the namespace. */
  readonly gateway: GatewayPods | undefined;
  /**
   * Whether these clients are intended to use the route: those in the namespaces of the VirtualService and the service,
   * and gateways. A VirtualService in the root namespace is intended for clients elsewhere.
   */
  readonly isServed: boolean;
}
interface SubsetClients {
  readonly known: readonly SubsetClient[];
  /** The namespace that stands for the pods of a gateway if the view contains none. */
  readonly somewhere: ReadonlySet<string>;
}

/** Clients that lack a subset. */
export interface SubsetFailure {
  /** Undefined: gateways whose pods the view does not contain. */
  readonly client: SubsetClient | undefined;
  readonly lookup: SubsetLookup;
  /** Whether requests that the route is intended for fail. */
  readonly isGrave: boolean;
  /** For a delegate: the root VirtualService through which the clients reach it. */
  readonly root: VirtualService | undefined;
}

/** How requests reach the routes of a VirtualService; the same for all its routes. */
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

/** Two routes to one subset have the same clients if this key, built from the conditions about callers, is equal. */
export const callersAskedFor = ({ protocol, route }: Traffic): string => {
  if (!route.match.some(({ gateways, sourceNamespace }) => gateways.length > 0 || sourceNamespace)) return "";
  return JSON.stringify([protocol, route.match.map(({ gateways, sourceNamespace }) => [gateways, sourceNamespace])]);
};

/**
 * The clients of a route for which the subset does not exist. Clients that the route is not intended for are included
 * only if they use other DestinationRules than the intended clients.
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

/** Whether no VirtualService delegates to this one, so that no request fails yet. */
function failuresOfNobody(target: SubsetTarget, settings: MeshSettings): readonly SubsetFailure[] {
  const lookup = lookUpEverywhere(namespacesThatMatter(target), target, settings);
  return lookup ? [{ client: undefined, lookup, isGrave: false, root: undefined }] : [];
}

/** The clients of a route through a VirtualService with hosts: itself, or the root of a delegate. */
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

/** The clients of a route: one entry for each namespace whose look-up can differ from that of the others. */
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
  // Clients in the root namespace are ignored if there are any others.
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

/** The result that all look-ups share; undefined if the subset exists for some clients, or there are no look-ups. */
export function lookUpEverywhere(
  namespaces: Iterable<string>,
  target: SubsetTarget,
  settings: MeshSettings,
): SubsetLookup | undefined {
  const lookups = [...namespaces].map((namespace) => lookUpSubset(namespace, target, settings));
  return lookups.every(({ definedFor }) => definedFor === "none") ? lookups.at(-1) : undefined;
}
