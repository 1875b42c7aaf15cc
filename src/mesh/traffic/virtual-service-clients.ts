import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { isOwned } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { commonNamespaces, includesNamespace, visibleTo } from "./export-to.ts";
import { offering } from "./offered-hosts.ts";
import type { HttpRoute, Protocol, VirtualService } from "./virtual-services.ts";

/** The reserved gateway name for all sidecars and waypoints. */
export const meshGateway = "mesh";

/**
 * The clients of a route: by gateway (`mesh` for sidecars, else `namespace/name`), the namespaces of the proxies; `*`
 * stands for all namespaces.
 */
export type Clients = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Converts a gateway name in a VirtualService to `namespace/name`. `name` and `./name` are in its own namespace, and the
 * old form `name.namespace.svc.cluster.local` is still supported (Istio pilot/pkg/model/config.go resolveGatewayName).
 */
export function fullGatewayName(gateway: string, namespace: string): string {
  if (gateway === meshGateway) return gateway;
  const slash = gateway.indexOf("/");
  if (slash >= 0) return gateway.slice(0, slash) === "." ? `${namespace}${gateway.slice(slash)}` : gateway;
  const [name, owner] = gateway.split(".");
  return `${owner ?? namespace}/${name}`;
}

/** No gateways means the mesh (Istio pilot/pkg/model/push_context.go getGatewayNames). */
export function gatewaysOf({ metadata, spec }: VirtualService): ReadonlySet<string> {
  if (spec.gateways.length === 0) return onlySidecars;
  return new Set(spec.gateways.map((gateway) => fullGatewayName(gateway, metadata.namespace)));
}

const onlySidecars: ReadonlySet<string> = new Set([meshGateway]);

/**
 * The clients of a VirtualService with hosts. exportTo is checked for the namespace of the proxy, also for pods of
 * gateways (Istio pilot/pkg/model/push_context.go initVirtualServices, VirtualServicesForGateway).
 */
export function clientsOf(virtualService: VirtualService, settings: MeshSettings): Clients {
  const { metadata, spec } = virtualService;
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  return new Map([...gatewaysOf(virtualService)].map((gateway) => [gateway, visible]));
}

interface SourceMatch {
  readonly gateways: readonly string[];
  readonly sourceNamespace: string | undefined;
}

/**
 * The clients that some match of a route accepts. In http, a match with gateways ignores the source namespace (Istio
 * pilot/pkg/networking/core/route/route.go sourceMatchHTTP); in tcp and tls sidecars check both (pilot/pkg/networking/core/tls.go
 * matchTCP, matchTLS), and gateways ask for gateways and ports alone (pilot/pkg/networking/core/gateway.go l4SingleMatch). Source
 * labels are assumed to match some workload.
 */
export function clientsMatching(
  clients: Clients,
  matches: readonly SourceMatch[],
  protocol: Protocol,
  namespace: string,
): Clients {
  if (matches.length === 0) return clients;
  const through = new UnitedClients();
  for (const match of matches) {
    const gateways = new Set(match.gateways.map((gateway) => fullGatewayName(gateway, namespace)));
    const isAskedAt = (gateway: string) => (protocol === "http" ? gateways.size === 0 : gateway === meshGateway);
    for (const [gateway, namespaces] of gateways.size === 0 ? clients : thoseOf(gateways, clients))
      through.add(gateway, from(isAskedAt(gateway) ? match.sourceNamespace : undefined, namespaces));
  }
  return through.all();
}

/** The clients of these gateways, in the order of `clients`. */
function thoseOf(gateways: ReadonlySet<string>, clients: Clients): Iterable<readonly [string, ReadonlySet<string>]> {
  const found: [string, ReadonlySet<string>][] = [];
  for (const gateway of gateways) {
    const namespaces = clients.get(gateway);
    if (namespaces !== undefined) found.push([gateway, namespaces]);
  }
  if (found.length < 2) return found;
  const places = placesOf(clients);
  return found.sort(([a], [b]) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
}

const places = new WeakMap<Clients, ReadonlyMap<string, number>>();

function placesOf(clients: Clients): ReadonlyMap<string, number> {
  let found = places.get(clients);
  if (found === undefined) {
    found = new Map([...clients.keys()].map((gateway, i) => [gateway, i]));
    places.set(clients, found);
  }
  return found;
}

const from = (asked: string | undefined, namespaces: ReadonlySet<string>): ReadonlySet<string> =>
  asked ? commonNamespaces(namespaces, new Set([asked])) : namespaces;

/** The union of the clients of several matches or routes. Namespaces of the last one are first. */
class UnitedClients {
  readonly #namespaces = new Map<string, Set<ReadonlySet<string>>>();

  add(gateway: string, namespaces: ReadonlySet<string>): void {
    if (namespaces.size === 0) return;
    const there = this.#namespaces.get(gateway) ?? new Set();
    this.#namespaces.set(gateway, there);
    there.delete(namespaces);
    there.add(namespaces);
  }

  all(): Clients {
    return new Map([...this.#namespaces].map(([gateway, all]) => [gateway, united([...all])]));
  }
}

function united([first, ...more]: readonly ReadonlySet<string>[]): ReadonlySet<string> {
  if (first === undefined || more.length === 0) return first ?? new Set();
  return new Set([first, ...more].reverse().flatMap((namespaces) => [...namespaces]));
}

/**
 * A VirtualService without hosts is a delegate (Istio pilot/pkg/model/virtualservice_controller.go
 * delegateVirtualServices).
 */
export const isDelegate = ({ spec }: VirtualService): boolean => spec.hosts.length === 0;

export const nameOf = ({ metadata }: { readonly metadata: VirtualService["metadata"] }) =>
  `${metadata.namespace}/${metadata.name}`;
/** The `namespace/name` of the delegate of a route. */
export const delegateName = ({ delegate }: HttpRoute, namespace: string): string =>
  `${delegate?.namespace || namespace}/${delegate?.name}`;

/** A delegate and the VirtualServices with hosts that delegate a route to it. */
export const rootsOfDelegate = relation(
  "rootsOfDelegate",
  index("VirtualService", (delegate, settings) =>
    isDelegate(delegate) && isServed(delegate, settings) ? [nameOf(delegate)] : [],
  ),
  index("VirtualService", (root, settings) =>
    isDelegate(root) || !isServed(root, settings)
      ? []
      : new Set(
          root.spec.http.flatMap((route) => (route.delegate ? [delegateName(route, root.metadata.namespace)] : [])),
        ),
  ),
);

/** A VirtualService with hosts and the delegates that its routes name. */
export const delegatesOfRoot = relation("delegatesOfRoot", rootsOfDelegate.to, rootsOfDelegate.from);

/**
 * The clients of the routes of a VirtualService with hosts that delegate, by the `namespace/name` of the delegate. They
 * reach a route of the delegate if its matches accept them too, and if the delegate is visible to the root (Istio
 * pilot/pkg/model/virtualservice_controller.go mergeVirtualServices, virtualservice.go mergeHTTPMatchRequests).
 */
export const handedOver = fact(
  "handedOver",
  "VirtualService",
  [],
  (root, { settings }): ReadonlyMap<string, Clients> => {
    const { metadata, spec } = root;
    const own = clientsOf(root, settings);
    const handed = new Map<string, UnitedClients>();
    for (const route of spec.http) {
      if (route.delegate === undefined) continue;
      const name = delegateName(route, metadata.namespace);
      const clients = handed.get(name) ?? new UnitedClients();
      handed.set(name, clients);
      for (const [gateway, left] of clientsMatching(own, route.match, "http", metadata.namespace))
        clients.add(gateway, left);
    }
    return new Map([...handed].map(([name, clients]) => [name, clients.all()]));
  },
);

/** The clients that reach a delegate through one root, before its own matches. */
export function clientsThroughRoot(
  delegate: VirtualService,
  root: VirtualService,
  mesh: MeshView<typeof handedOver>,
): Clients {
  const { metadata, spec } = delegate;
  const visible = visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
  if (!includesNamespace(visible, root.metadata.namespace)) return nobody;
  return mesh.get(handedOver, root).get(nameOf(delegate)) ?? nobody;
}
const nobody: Clients = new Map();

/** A VirtualService and the Gateways that it is bound to. */
export const gatewaysOfVirtualService = relation(
  "gatewaysOfVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isDelegate(virtualService) || !isServed(virtualService, settings) ? [] : gatewaysOf(virtualService),
  ),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? [nameOf(gateway)] : [])),
);

/** A Gateway and the VirtualServices that are bound to it. */
export const virtualServicesOfGateway = relation(
  "virtualServicesOfGateway",
  gatewaysOfVirtualService.to,
  gatewaysOfVirtualService.from,
);

const pair = ([key, value]: readonly [string, string]) => `${key}=${value}`;

/** The key of workloads that a selector may select. */
export const keysOfSelector = (selector: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(selector).map(pair).sort().slice(0, 1);

/** The keys of pods with these labels, by which selectors find them. */
export const labelKeys = (labels: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(labels).map(pair);

/** A Gateway and the workloads in any namespace that have one of the labels in its selector. */
export const workloadsOfGateway = relation(
  "workloadsOfGateway",
  index("Gateway", ({ spec }) => keysOfSelector(spec.selector)),
  index("Workload", (workload) => (isOwned(workload) ? [] : labelKeys(workload.pod.labels))),
);
/** A workload and the Gateways that have one of its labels in their selectors. */
export const gatewaysOfWorkload = relation("gatewaysOfWorkload", workloadsOfGateway.to, workloadsOfGateway.from);
/** The Gateways that select a workload. */
export const gatewaysSelecting = (
  workload: ObjectOf<"Workload">,
  mesh: MeshView<typeof gatewaysOfWorkload>,
): readonly ObjectOf<"Gateway">[] =>
  mesh
    .related(gatewaysOfWorkload, workload)
    .filter(({ spec }) => Object.keys(spec.selector).length > 0 && selects(spec.selector, workload.pod.labels));

/** The pods (templates) of a gateway, and the Gateway that selects them. */
export interface GatewayPods {
  readonly gateway: ObjectOf<"Gateway">;
  readonly workload: ObjectOf<"Workload">;
}

/** Those of a Gateway that offers no host of the VirtualService, so that its pods have none of the routes. */
export const notOffered: readonly GatewayPods[] = [];

const noPods: ReadonlyMap<string, readonly GatewayPods[]> = new Map();

/**
 * The workloads that serve the gateways of a VirtualService, by gateway name. A Gateway selects pods of every namespace
 * (Istio pilot/pkg/model/push_context.go mergeGateways, without PILOT_SCOPE_GATEWAY_TO_NAMESPACE). The proxies that serve
 * a Gateway without a selector are not in the view.
 */
export function gatewayPodsOf(
  virtualService: VirtualService,
  mesh: MeshView<typeof gatewaysOfVirtualService | typeof workloadsOfGateway>,
): ReadonlyMap<string, readonly GatewayPods[]> {
  const gateways = mesh.related(gatewaysOfVirtualService, virtualService);
  if (gateways.length === 0) return noPods;
  const pods = new Map<string, readonly GatewayPods[]>();
  const offers = offering(virtualService, mesh.settings);
  for (const gateway of gateways) {
    if (!gateway.spec.servers.some((server) => offers(server, gateway))) {
      pods.set(nameOf(gateway), notOffered);
      continue;
    }
    const workloads = mesh.related(workloadsOfGateway, gateway);
    const selected = workloads.filter(({ pod }) => selects(gateway.spec.selector, pod.labels));
    pods.set(
      nameOf(gateway),
      selected.map((workload) => ({ gateway, workload })),
    );
  }
  return pods;
}
