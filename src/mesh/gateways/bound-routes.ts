import { byId } from "../../kube/identity.ts";
import type { Mesh } from "../../view/view.ts";
import { gatewayOfProxy, isProxyOf, type KubernetesGateway } from "../membership/gateways.ts";
import type { Workload } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { selects } from "../objects/selectors.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { gatewaysOfVirtualService, nameOf, workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import type { Protocol, VirtualService } from "../traffic/virtual-services.ts";
import { attachmentsOf } from "./attachment.ts";
import { type Acceptance, routeAcceptances } from "./route-acceptance.ts";
import type { ListenerOwner } from "./listener-gateways.ts";
import { listenersOfGateway } from "./listener-sets.ts";
import type { KubernetesRoute } from "./routes.ts";
import { routesNaming } from "./routes-at-gateway.ts";
import { takenAtGateways } from "./gateway-routes.ts";
import { takenAtListeners } from "./listener-routes.ts";
import { type Gateway, isPlainHttp, type Server } from "./servers.ts";

/** The workloads that a Gateway selects, in any namespace (Istio pilot/pkg/model/push_context.go mergeGateways). */
export const proxiesOfGateway = (gateway: Gateway, mesh: Mesh): readonly Workload[] =>
  Object.keys(gateway.spec.selector).length === 0
    ? []
    : mesh.related(workloadsOfGateway, gateway).filter(({ pod }) => selects(gateway.spec.selector, pod.labels));

/** The workloads that istiod created for a Gateway of the Gateway API. */
export const proxiesOfKubernetesGateway = (gateway: KubernetesGateway, mesh: Mesh): readonly Workload[] =>
  (mesh.lookup(gatewayOfProxy.from, [nameOf(gateway)]) as readonly Workload[]).filter((one) =>
    isProxyOf(one, gateway, mesh.settings),
  );

/**
 * What a Gateway makes of a VirtualService that names it.
 * - `used`: for the offered hosts, with routes of the protocols.
 * - `not-exported`: its exportTo leaves out the namespaces of all proxies of the Gateway.
 * - `no-host`: no server offers one of its hosts to its namespace.
 * - `no-routes`: it has no routes of a protocol that these servers use.
 */
export interface BoundVirtualService {
  readonly virtualService: VirtualService;
  readonly because: "used" | "not-exported" | "no-host" | "no-routes";
  /** The hosts that servers offer to its namespace. */
  readonly offered: readonly string[];
}

/** The VirtualServices that name a Gateway and that istiod reads, whatever the Gateway makes of them, sorted by name. */
export function virtualServicesBoundTo(gateway: Gateway, mesh: Mesh): readonly BoundVirtualService[] {
  const proxies = new Set(proxiesOfGateway(gateway, mesh).map(({ metadata }) => metadata.namespace));
  const own = nameOf(gateway);
  const bound = mesh.lookup(gatewaysOfVirtualService.from, [own]) as readonly VirtualService[];
  return bound
    .map((virtualService) => bindingOf(virtualService, { gateway, proxies }, mesh))
    .sort((a, b) => byId(a.virtualService, b.virtualService));
}

function bindingOf(
  virtualService: VirtualService,
  { gateway, proxies }: { readonly gateway: Gateway; readonly proxies: ReadonlySet<string> },
  { settings }: Mesh,
): BoundVirtualService {
  const { metadata, spec } = virtualService;
  const { offered: places, protocols } = attachmentsOf(virtualService, settings)(gateway);
  const offered = spec.hosts.filter((_, i) => places.has(i));
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  const isSeen = proxies.size === 0 || [...proxies].some((namespace) => includesNamespace(visible, namespace));
  const written = (["http", "tcp", "tls"] as const).filter((protocol: Protocol) => spec[protocol].length > 0);
  const hasRoutes = written.some((protocol) => protocols.has(protocol));
  const of = offered.length === 0 ? "no-host" : hasRoutes ? "used" : "no-routes";
  const because = isSeen ? of : "not-exported";
  return { virtualService, because, offered };
}

/** A Gateway that has one list of routes with another one. */
export interface GatewayBeside {
  readonly gateway: Gateway;
  /** Whether its routes come before those of the other one. */
  readonly isFirst: boolean;
}

/** Gateways whose servers for plain HTTP on the port of a server have one list of routes with it. */
export function gatewaysBesideServer(server: Server, gateway: Gateway, mesh: Mesh): readonly GatewayBeside[] {
  if (!isPlainHttp(server)) return [];
  const proxies = new Set(proxiesOfGateway(gateway, mesh));
  const own = selectorText(gateway.spec.selector);
  const isSameListener = (other: Server) =>
    isPlainHttp(other) && other.port?.number === server.port?.number && (other.bind ?? "") === (server.bind ?? "");
  const meets = (other: Gateway) =>
    selectorText(other.spec.selector) === own || proxiesOfGateway(other, mesh).some((proxy) => proxies.has(proxy));
  return [...mesh.all("Gateway")]
    .filter((other) => other !== gateway && nameOf(other) !== nameOf(gateway) && isServed(other, mesh.settings))
    .filter((other) => other.spec.servers.some(isSameListener) && meets(other))
    .sort(oldestFirst)
    .map((other) => ({ gateway: other, isFirst: oldestFirst(other, gateway) < 0 }));
}

/** A route of spec.http that gets no request for a host at a Gateway, because a VirtualService takes them. */
export interface LostRoute {
  readonly i: number;
  readonly host: string;
  readonly by: VirtualService;
  /** The Gateway of the other VirtualService. */
  readonly byGateway: Gateway;
}

/**
 * The http routes of a VirtualService that get no request at a Gateway, because another VirtualService at the same listener, of this
 * Gateway or of one beside it, takes them.
 */
export function routesLostAt(gateway: Gateway, virtualService: VirtualService, mesh: Mesh): readonly LostRoute[] {
  const own = nameOf(gateway);
  return hostsOf(virtualService, mesh.settings).flatMap((host) => {
    const here = [...(mesh.get(takenAtGateways, host).get(virtualService)?.values() ?? [])];
    const beside = mesh.get(takenAtListeners, host).get(virtualService) ?? [];
    return [
      ...here.filter((one) => one.gateway === own).map(({ i, by }) => ({ i, host, by, byGateway: gateway })),
      ...beside.filter((one) => one.gateway === own).map(({ i, by, byGateway }) => ({ i, host, by, byGateway })),
    ];
  });
}

/** A route of the Gateway API that names a Gateway, or one of its ListenerSets; `result` undefined: its reference names no listener that exists. */
export interface BoundRoute {
  readonly route: KubernetesRoute;
  readonly result: Acceptance | undefined;
  /** Its hostnames that listeners offer; `*`: all of the listeners. */
  readonly offered: readonly string[];
}

/** The routes that name a Gateway of the Gateway API, or one of its ListenerSets, sorted by name. */
export function routesBoundTo(gateway: KubernetesGateway, mesh: Mesh): readonly BoundRoute[] {
  const owners = new Set<ListenerOwner>([gateway, ...mesh.get(listenersOfGateway, gateway).byOwner.keys()]);
  return routesNaming(gateway, mesh)
    .map((route): BoundRoute => {
      const parents = mesh.get(routeAcceptances, route).filter(({ parent }) => owners.has(parent));
      const accepted = parents.find(({ result }) => result === "accepted") ?? parents[0];
      const offered = new Set(parents.flatMap((one) => [...one.offered.keys()]));
      return { route, result: accepted?.result, offered: [...offered] };
    })
    .sort((a, b) => (keyOfRoute(a) < keyOfRoute(b) ? -1 : 1));
}

const keyOfRoute = ({ route }: BoundRoute): string => `${nameOf(route)} ${route.originKind}`;
