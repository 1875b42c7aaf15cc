import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { isOwned } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { commonNamespaces, includesNamespace, visibleTo } from "./export-to.ts";
import type { HttpRoute, Protocol, Route, VirtualService } from "./virtual-services.ts";

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
  if (spec.gateways.length === 0) return new Set([meshGateway]);
  return new Set(spec.gateways.map((gateway) => fullGatewayName(gateway, metadata.namespace)));
}

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
 * pilot/pkg/networking/core/route/route.go sourceMatchHTTP); in tcp and tls both are checked
 * (pilot/pkg/networking/core/tls.go matchTCP, matchTLS). Source labels are assumed to match some workload.
 */
export function clientsMatching(
  clients: Clients,
  matches: readonly SourceMatch[],
  protocol: Protocol,
  namespace: string,
): Clients {
  if (matches.length === 0) return clients;
  const through = new Map<string, ReadonlySet<string>>();
  for (const match of matches) {
    const gateways = new Set(match.gateways.map((gateway) => fullGatewayName(gateway, namespace)));
    const asked = protocol === "http" && gateways.size > 0 ? undefined : match.sourceNamespace;
    for (const [gateway, namespaces] of clients)
      if (gateways.size === 0 || gateways.has(gateway)) add(through, gateway, from(asked, namespaces));
  }
  return through;
}

const from = (asked: string | undefined, namespaces: ReadonlySet<string>): ReadonlySet<string> =>
  asked ? commonNamespaces(namespaces, new Set([asked])) : namespaces;

function add(clients: Map<string, ReadonlySet<string>>, gateway: string, namespaces: ReadonlySet<string>): void {
  if (namespaces.size > 0) clients.set(gateway, namespaces.union(clients.get(gateway) ?? new Set()));
}

/**
 * A VirtualService without hosts is a delegate (Istio pilot/pkg/model/virtualservice_controller.go
 * delegateVirtualServices).
 */
export const isDelegate = ({ spec }: VirtualService): boolean => spec.hosts.length === 0;

const nameOf = ({ metadata }: { readonly metadata: VirtualService["metadata"] }) =>
  `${metadata.namespace}/${metadata.name}`;
const delegateName = ({ delegate }: HttpRoute, namespace: string): string =>
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

/**
 * The clients that reach a route of a delegate through one root: those that both matches accept, if the delegate is
 * visible to the root (Istio pilot/pkg/model/virtualservice_controller.go mergeVirtualServices, virtualservice.go
 * mergeHTTPMatchRequests).
 */
export function clientsThroughRoot(
  delegate: VirtualService,
  route: Pick<Route, "protocol" | "route">,
  root: VirtualService,
  settings: MeshSettings,
): Clients {
  const { metadata, spec } = delegate;
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  const clients = new Map<string, ReadonlySet<string>>();
  if (!includesNamespace(visible, root.metadata.namespace)) return clients;
  const own = clientsOf(root, settings);
  for (const handing of root.spec.http) {
    if (handing.delegate === undefined || delegateName(handing, root.metadata.namespace) !== nameOf(delegate)) continue;
    const handed = clientsMatching(own, handing.match, "http", root.metadata.namespace);
    for (const [gateway, left] of clientsMatching(handed, route.route.match, route.protocol, metadata.namespace))
      add(clients, gateway, left);
  }
  return clients;
}

/** A VirtualService and the Gateways that it is bound to. */
export const gatewaysOfVirtualService = relation(
  "gatewaysOfVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isDelegate(virtualService) || !isServed(virtualService, settings) ? [] : gatewaysOf(virtualService),
  ),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? [nameOf(gateway)] : [])),
);

const pair = ([key, value]: readonly [string, string]) => `${key}=${value}`;

/** A Gateway and the workloads in any namespace that have one of the labels in its selector. */
export const workloadsOfGateway = relation(
  "workloadsOfGateway",
  index("Gateway", ({ spec }) => Object.entries(spec.selector).map(pair).sort().slice(0, 1)),
  index("Workload", (workload) => (isOwned(workload) ? [] : Object.entries(workload.pod.labels).map(pair))),
);
/** The pods (templates) of a gateway, and the Gateway that selects them. */
export interface GatewayPods {
  readonly gateway: ObjectOf<"Gateway">;
  readonly workload: ObjectOf<"Workload">;
}

/**
 * The workloads that serve the gateways of a VirtualService, by gateway name. A Gateway selects pods of every namespace
 * (Istio pilot/pkg/model/push_context.go mergeGateways, without PILOT_SCOPE_GATEWAY_TO_NAMESPACE). The proxies that serve
 * a Gateway without a selector are not in the view.
 */
export function gatewayPodsOf(
  virtualService: VirtualService,
  mesh: MeshView<typeof gatewaysOfVirtualService | typeof workloadsOfGateway>,
): ReadonlyMap<string, readonly GatewayPods[]> {
  const pods = new Map<string, readonly GatewayPods[]>();
  for (const gateway of mesh.related(gatewaysOfVirtualService, virtualService)) {
    const workloads = mesh.related(workloadsOfGateway, gateway);
    const selected = workloads.filter(({ pod }) => selects(gateway.spec.selector, pod.labels));
    pods.set(
      nameOf(gateway),
      selected.map((workload) => ({ gateway, workload })),
    );
  }
  return pods;
}
