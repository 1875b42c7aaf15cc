import { idOf } from "../../kube/identity.ts";
import { counted } from "../../text/phrases.ts";
import { fact, type MeshView, relation } from "../../view/view.ts";
import { hasClassOfIstio, isDeployedByHand, type KubernetesGateway, serviceAccountOf } from "../membership/gateways.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { includesNamespace } from "../traffic/export-to.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import { servicesOfVirtualService } from "../traffic/registry.ts";
import {
  type Clients,
  clientsMatching,
  clientsOf,
  clientsThroughRoot,
  gatewayPodsOf,
  gatewaysOfVirtualService,
  handedOver,
  isDelegate,
  rootsOfDelegate,
  workloadsOfGateway,
} from "../traffic/virtual-service-clients.ts";
import { trafficOf, type VirtualService } from "../traffic/virtual-services.ts";
import type { ListenerSet } from "./listener-gateways.ts";
import { allowsListenerSet, gatewayOfListenerSet, namespaceOfListenerSet } from "./listener-sets.ts";
import { routeAcceptances } from "./route-acceptance.ts";
import { backendOf, backendsOf, type KubernetesRoute, servicesOfRoute } from "./routes.ts";

/** The proxies of an ingress gateway that run with one service account, as callers of what is behind it. */
export interface Sender {
  /** One of them, in messages: `Deployment istio-system/istio-ingressgateway`. */
  readonly name: string;
  readonly identity: readonly [trustDomain: string, namespace: string, serviceAccount: string];
}

/** Names one of them with its service account, and how many others there are. */
export function formatSenders([first, ...others]: readonly Sender[]): string {
  if (first === undefined) return "";
  const [, namespace, account] = first.identity;
  const more = others.length === 0 ? "" : ` and ${counted(others.length, "other")}`;
  return `${first.name} (service account ${namespace}/${account})${more}`;
}

/** A destination of a route, and the gateways that send requests there. */
export interface Sent<To> {
  /** In the route. */
  readonly at: readonly (string | number)[];
  readonly to: To;
  readonly senders: readonly Sender[];
}

/** What `sentByVirtualService` and `sentByRoute` read. */
export const readsSenders = [
  gatewaysOfVirtualService,
  workloadsOfGateway,
  rootsOfDelegate,
  handedOver,
  routeAcceptances,
  gatewayOfListenerSet,
  namespaceOfListenerSet,
] as const;
type View = MeshView<(typeof readsSenders)[number]>;

/** The host and the subset of a destination. */
export interface HostSentTo {
  readonly host: string;
  readonly subset: string;
}

/**
 * The destinations to which gateways send requests by a VirtualService: those of routes that the gateway uses, on whose pods a server offers
 * one of the hosts (Istio pilot/pkg/model/gateway.go mergeGateways, push_context.go VirtualServicesForGateway). Mirrors are left out, because
 * nobody waits for their answers, and so are gateways without known pods.
 */
export function* sentByVirtualService(virtualService: VirtualService, mesh: View): Iterable<Sent<HostSentTo>> {
  const { namespace } = virtualService.metadata;
  const ways = isDelegate(virtualService)
    ? mesh.related(rootsOfDelegate, virtualService).map((root) => ({
        clients: clientsThroughRoot(virtualService, root, mesh),
        senders: sendersOf(root, mesh),
      }))
    : [{ clients: clientsOf(virtualService, mesh.settings), senders: sendersOf(virtualService, mesh) }];
  const used = ways.filter(({ senders }) => senders.size > 0);
  if (used.length === 0) return;
  for (const { at, protocol, route, destination, isUncertain } of trafficOf(virtualService)) {
    if (isUncertain || at[3] !== "route") continue;
    const senders = used.flatMap(({ clients, senders: all }) =>
      sendersAmong(clientsMatching(clients, route.match, protocol, namespace), all),
    );
    const host = fullHost(destination.host, namespace, mesh.settings.domain);
    if (senders.length > 0) yield { at, to: { host, subset: destination.subset ?? "" }, senders };
  }
}

/** A Service to which gateways send requests by a VirtualService. */
export interface SentToService extends Sent<HostSentTo> {
  readonly service: Service;
}

/** The destinations of `sentByVirtualService` that are Services of this cluster. */
export function* servicesSentByVirtualService(
  virtualService: VirtualService,
  mesh: View & MeshView<typeof servicesOfVirtualService>,
): Iterable<SentToService> {
  const { domain } = mesh.settings;
  const services = new Map(
    mesh.related(servicesOfVirtualService, virtualService).map((one) => [hostOfService(one, domain), one]),
  );
  if (services.size === 0) return;
  for (const sent of sentByVirtualService(virtualService, mesh)) {
    const service = services.get(sent.to.host);
    if (service !== undefined) yield { ...sent, service };
  }
}

interface SenderAt extends Sender {
  /** The namespace of the pods, to which the routes have to be exported. */
  readonly namespace: string;
}

function sendersAmong(clients: Clients, all: ReadonlyMap<string, readonly SenderAt[]>): readonly Sender[] {
  const found: Sender[] = [];
  for (const [gateway, namespaces] of clients)
    for (const sender of all.get(gateway) ?? [])
      if (includesNamespace(namespaces, sender.namespace)) found.push(sender);
  return found;
}

/** Of so many gateways and accounts of one route at most: a VirtualService may have hundreds of both gateways and destinations. */
const mostSenders = 10;

/** By the name of a gateway of a VirtualService, one for each service account of its pods. */
function sendersOf(virtualService: VirtualService, mesh: View): ReadonlyMap<string, readonly SenderAt[]> {
  const found = new Map<string, readonly SenderAt[]>();
  let left = mostSenders;
  for (const [gateway, pods] of gatewayPodsOf(virtualService, mesh)) {
    const byAccount = new Map<string, SenderAt>();
    for (const { workload } of pods) {
      const { namespace } = workload.metadata;
      const account = workload.pod.serviceAccountName;
      const key = `${namespace}/${account}`;
      if (left <= 0 || byAccount.has(key)) continue;
      left -= 1;
      const identity = [mesh.settings.trustDomain, namespace, account] as const;
      byAccount.set(key, { name: idOf(workload), namespace, identity });
    }
    mesh.visited(pods.length);
    if (byAccount.size > 0) found.set(gateway, [...byAccount.values()]);
  }
  return found;
}

/** The `namespace/name` of the Services to which gateways send requests by a route of the Gateway API, with istiod's proxies of these gateways. */
export function* sentByRoute(route: KubernetesRoute, mesh: View): Iterable<Sent<string>> {
  const senders = sendersOfRoute(route, mesh);
  if (senders.length === 0) return;
  for (const { at, ref, isMirror } of backendsOf(route)) {
    const { kind, namespace, name } = backendOf(ref, route);
    if (kind === "Service" && !isMirror) yield { at, to: `${namespace}/${name}`, senders };
  }
}

function sendersOfRoute(route: KubernetesRoute, mesh: View): readonly Sender[] {
  const found: Sender[] = [];
  for (const { parent, offered } of mesh.get(routeAcceptances, route)) {
    if (offered.size === 0 || found.length >= mostSenders) continue;
    const gateway = parent.kind === "KubernetesGateway" ? parent : gatewayOfSet(parent, mesh);
    if (gateway === undefined || !hasClassOfIstio(gateway, mesh.settings) || isDeployedByHand(gateway)) continue;
    const identity = [
      mesh.settings.trustDomain,
      gateway.metadata.namespace,
      serviceAccountOf(gateway, mesh.settings),
    ] as const;
    found.push({ name: idOf(gateway), identity });
  }
  return found;
}

/** The Gateway that certainly has the listeners of a set. */
function gatewayOfSet(set: ListenerSet, mesh: View): KubernetesGateway | undefined {
  const [gateway] = mesh.related(gatewayOfListenerSet, set);
  return gateway !== undefined && allowsListenerSet(gateway, set, mesh) === true ? gateway : undefined;
}

/** The destinations of `sentByRoute` that are known Services. */
export function* servicesSentByRoute(
  route: KubernetesRoute,
  mesh: View & MeshView<typeof servicesOfRoute>,
): Iterable<Sent<string> & { readonly service: Service }> {
  const services = new Map(
    mesh.related(servicesOfRoute, route).map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]),
  );
  for (const sent of sentByRoute(route, mesh)) {
    const service = services.get(sent.to);
    if (service !== undefined) yield { ...sent, service };
  }
}

/** A Service and the VirtualServices that route its host or send requests to it. */
const virtualServicesOfService = relation(
  "virtualServicesOfService",
  servicesOfVirtualService.to,
  servicesOfVirtualService.from,
);
/** A Service and the routes of the Gateway API that name it. */
const routesOfService = relation("routesOfService", servicesOfRoute.to, servicesOfRoute.from);

/** The gateways that send requests to a Service. */
export interface ServiceBehindGateways {
  readonly service: Service;
  readonly senders: readonly Sender[];
}

/** The Services of a namespace to which ingress gateways send requests, each with one sender for each service account. */
export const servicesBehindGateways = fact(
  "servicesBehindGateways",
  "Namespace",
  [servicesOfNamespace, virtualServicesOfService, routesOfService, ...readsSenders],
  (namespace, mesh): readonly ServiceBehindGateways[] => {
    const services = mesh.related(servicesOfNamespace, namespace);
    const virtualServices = new Set(services.flatMap((one) => mesh.related(virtualServicesOfService, one)));
    const routes = new Set(services.flatMap((one) => mesh.related(routesOfService, one)));
    if (virtualServices.size === 0 && routes.size === 0) return [];
    const found = new SendersByName();
    for (const one of virtualServices)
      for (const { to, senders } of sentByVirtualService(one, mesh)) found.add(to.host, senders);
    for (const one of routes) for (const { to, senders } of sentByRoute(one, mesh)) found.add(to, senders);
    return services.flatMap((service) => {
      const { metadata } = service;
      const names = [hostOfService(service, mesh.settings.domain), `${metadata.namespace}/${metadata.name}`];
      const senders = found.of(names);
      return senders.length === 0 ? [] : [{ service, senders }];
    });
  },
);

class SendersByName {
  readonly #found = new Map<string, Map<string, Sender>>();

  add(name: string, senders: readonly Sender[]): void {
    let known = this.#found.get(name);
    if (known === undefined) this.#found.set(name, (known = new Map()));
    for (const sender of senders) {
      const account = sender.identity.join("/");
      if (!known.has(account)) known.set(account, sender);
    }
  }

  of(names: readonly string[]): readonly Sender[] {
    const all = new Map(names.flatMap((name) => [...(this.#found.get(name) ?? [])]));
    return [...all.values()];
  }
}
