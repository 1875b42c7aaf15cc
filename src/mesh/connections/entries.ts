import type { Mesh } from "../../view/view.ts";
import { idOf } from "../../kube/identity.ts";
import { everyRequest } from "../authorization/requests/boxes.ts";
import { listenerGateways } from "../gateways/listener-gateways.ts";
import { listenersOfGateway } from "../gateways/listener-sets.ts";
import { hostnamesOf } from "../gateways/route-acceptance.ts";
import { type KubernetesRoute, parentOf } from "../gateways/routes.ts";
import { type Gateway, isPlainHttp, serverHosts, terminatesHttps } from "../gateways/servers.ts";
import { isServed } from "../objects/revision.ts";
import { isWildcard, mostSpecificFirst, overlaps } from "../traffic/hosts.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { gatewaysOf, nameOf } from "../traffic/virtual-service-clients.ts";
import { outcomesOfEntry, usualPort } from "../requests/entry.ts";
import { frontOf, type WebScheme } from "../requests/front.ts";
import type { Outcome } from "../requests/outcome.ts";
import type { SharedLists } from "./callers.ts";
import { Access } from "./access.ts";
import { type SharedDecisions, workForPort } from "./port-access.ts";
import type { Scope } from "./targets.ts";

/** A host that a Gateway offers to the outside, and for which it has routes. */
export interface GatewayEntry {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly scheme: WebScheme;
  /** As it is offered, perhaps with a wildcard, in lower case. */
  readonly host: string;
}

/** `https://shop.example.com`, with the port if it is not the usual one. */
export const urlOf = ({ host, port, scheme }: Pick<GatewayEntry, "host" | "port" | "scheme">): string =>
  `${scheme}://${host}${port === usualPort[scheme] ? "" : `:${port}`}`;

/** A host, a port and a scheme that some Gateway has routes for. */
type Name = Pick<GatewayEntry, "host" | "port" | "scheme">;

/** A server that reads HTTP, with the hosts that it offers. */
interface Offered {
  readonly port: number;
  readonly scheme: WebScheme;
  readonly hosts: readonly string[];
}

/** The names for which some Gateway has a server and a route that overlap, sorted. */
function namesIn(mesh: Mesh): readonly Name[] {
  const found = new Map<string, Name>();
  for (const { offered, routed } of [...ofVirtualServices(mesh), ...ofRoutes(mesh)])
    for (const name of offered.flatMap((one) => commonNames(one, routed))) found.set(urlOf(name), name);
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
}

/** What a Gateway offers, and the hosts for which something that is bound to it has routes. */
interface Pair {
  readonly offered: readonly Offered[];
  readonly routed: readonly string[];
}

function* ofVirtualServices(mesh: Mesh): Iterable<Pair> {
  const { settings } = mesh;
  const gateways = [...mesh.all("Gateway")].filter((gateway) => isServed(gateway, settings));
  const servers = new Map(gateways.map((gateway) => [nameOf(gateway), offeredBy(gateway)]));
  for (const virtualService of mesh.all("VirtualService"))
    if (virtualService.spec.http.length > 0 && isServed(virtualService, settings))
      for (const gateway of gatewaysOf(virtualService))
        yield { offered: servers.get(gateway) ?? [], routed: hostsOf(virtualService, settings) };
}

function* ofRoutes(mesh: Mesh): Iterable<Pair> {
  const gateways = [...mesh.all("KubernetesGateway")];
  const listeners = new Map(
    gateways.map((gateway) => [
      nameOf(gateway),
      listenerGateways(gateway, mesh.settings).flatMap(({ generated }) => offeredBy(generated)),
    ]),
  );
  const ofSets = gateways.flatMap((gateway) => mesh.get(listenersOfGateway, gateway).all);
  const bySet = Map.groupBy(ofSets, ({ owner }) => (owner.kind === "ListenerSet" ? nameOf(owner) : undefined));
  for (const route of mesh.all("KubernetesRoute"))
    for (const { kind, name } of parentsNamed(route))
      yield {
        offered:
          kind === "Gateway"
            ? (listeners.get(name) ?? [])
            : (bySet.get(name) ?? []).flatMap((one) => offeredBy(one.generated)),
        routed: hostnamesOf(route).map((host) => host.toLowerCase()),
      };
}

const commonNames = ({ hosts, port, scheme }: Offered, routed: readonly string[]): readonly Name[] =>
  hosts.flatMap((offered) =>
    routed
      .filter((route) => overlaps(offered, route))
      .map((route) => ({ host: [offered, route].sort(mostSpecificFirst)[0] ?? route, port, scheme })),
  );

const offeredBy = (gateway: Gateway): readonly Offered[] =>
  gateway.spec.servers.flatMap((server) => {
    const scheme = isPlainHttp(server) ? "http" : terminatesHttps(server) ? "https" : undefined;
    if (scheme === undefined || server.port?.number === undefined) return [];
    const hosts = serverHosts(server, gateway.metadata.namespace).map(({ host }) => host.toLowerCase());
    return [{ port: server.port.number, scheme, hosts }];
  });

const parentsNamed = (route: KubernetesRoute): readonly { readonly kind: string; readonly name: string }[] =>
  route.originKind === "HTTPRoute" || route.originKind === "GRPCRoute"
    ? route.spec.parentRefs
        .map((ref) => parentOf(ref, route))
        .filter(({ kind }) => kind === "Gateway" || kind === "ListenerSet")
        .map(({ kind, namespace, name }) => ({ kind, name: `${namespace}/${name}` }))
    : [];

/** A host that stands for all those under a wildcard that no other name takes. */
const standingFor = (host: string): string => (isWildcard(host) ? `any-name${host.slice(1) || ".example"}` : host);

/** What requests from outside reach by the Gateways of a mesh. */
export class Entries {
  readonly #mesh: Mesh;
  readonly #lists: SharedLists;
  readonly #decisions: SharedDecisions;

  constructor(mesh: Mesh, lists: SharedLists, decisions: SharedDecisions) {
    this.#mesh = mesh;
    this.#lists = lists;
    this.#decisions = decisions;
  }

  /** In the order of their URLs. Of a scope, those by which something in it can be reached, and only that. */
  in(scope: Scope): ReadonlyMap<string, { readonly entry: GatewayEntry; readonly access: Access }> {
    const found = new Map<string, { readonly entry: GatewayEntry; readonly access: Access }>();
    for (const name of namesIn(this.#mesh))
      for (const [gateway, outcomes] of Map.groupBy(this.#outcomes(name), ({ route }) => route.gateway)) {
        const own = outcomes.filter((outcome) => isIn(scope, outcome));
        if (gateway === undefined || own.length === 0) continue;
        const entry = { ...gateway.metadata, ...name };
        found.set(`${urlOf(name)} ${idOf(gateway)} ${gateway.kind}`, {
          entry: {
            namespace: entry.namespace,
            name: entry.name,
            port: name.port,
            scheme: name.scheme,
            host: name.host,
          },
          access: new Access(own.map(withoutHost), this.#lists),
        });
      }
    return found;
  }

  #outcomes({ host: written, port, scheme }: Name): readonly Outcome[] {
    const host = standingFor(written);
    const to = { kind: "entry", host, port, scheme } as const;
    const decide = this.#decisions.of.bind(this.#decisions);
    const entering = { to, front: frontOf(host, this.#mesh) };
    return [
      ...outcomesOfEntry(entering, everyRequest, this.#mesh, {
        limit: workForPort,
        decide,
        memory: this.#lists.memory,
      }),
    ];
  }
}

/** All requests are for the same host. */
const withoutHost = (outcome: Outcome): Outcome => ({
  ...outcome,
  requests: outcome.requests.without((attribute) => attribute === "host"),
});

function isIn(scope: Scope, { route, workloads }: Outcome): boolean {
  if (scope.kind === "mesh") return true;
  if (scope.kind === "host") return route.destinations.some(({ host }) => host === scope.host);
  const services = route.destinations.flatMap(({ object }) => (object?.kind === "Service" ? object.metadata : []));
  if (scope.kind === "service")
    return services.some(({ namespace, name }) => namespace === scope.namespace && name === scope.name);
  return [...services, ...workloads.map(({ metadata }) => metadata)].some(({ namespace }) => namespace === scope.name);
}
