import type { Mesh } from "../../view/view.ts";
import { type ListedRule, rulesInOrder } from "../gateways/kubernetes-route-tables.ts";
import { declaredProtocol } from "../membership/service-protocol.ts";
import type { Service } from "../membership/services.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { selectedFirst, waypointVirtualServices } from "../traffic/virtual-service-choices.ts";
import { meshGateway } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import {
  doubtOfRoutes,
  isForSidecars,
  type MadeOfRoutes,
  madeOfRoutes,
  parentsOfName,
  routesOfParents,
} from "./gateway-api-routes.ts";

/** The rules of routes of the Gateway API that have a Service as their parent, for its requests at one port. */
export interface ParentRules {
  readonly port: number;
  /** In the order in which they are tried. */
  readonly rules: readonly ListedRule[];
}

interface Proxy {
  /** The namespace of the proxy that has the rules: of clients, or of the waypoint. */
  readonly client: string;
  readonly isWaypoint: boolean;
  /** Whether a Sidecar lets the proxy see what istiod makes of the routes. Default: it does. */
  readonly isImported?: ((virtualService: VirtualService) => boolean) | undefined;
}

/** Why it is not known whether istiod reads the routes that have a Service as their parent; undefined: it does, or there are none. */
export function doubtOfParent(service: Service, mesh: Mesh): string | undefined {
  const parents = [service];
  const routes = routesOfParents(parents, mesh);
  for (const { port } of service.spec.ports) {
    const doubt = port === undefined ? undefined : doubtOfRoutes(routes, { parents, port }, mesh);
    if (doubt !== undefined) return doubt;
  }
  return undefined;
}

/** The rules for each port of a Service at which requests are routed; empty: no route of the Gateway API is for it. */
export function rulesOfParent(service: Service, proxy: Proxy, mesh: Mesh): readonly ParentRules[] {
  const { domain } = mesh.settings;
  const name = hostOfService(service, domain);
  const parents = parentsOfName({ definition: service, name }, mesh);
  const all = routesOfParents(parents, mesh);
  if (all.length === 0) return [];
  const made = inOrder(madeOfRoutes(all, { parents, name }, mesh), { ...proxy, service, name }, mesh);
  return service.spec.ports.flatMap((declared): readonly ParentRules[] => {
    const { port } = declared;
    if (port === undefined || declaredProtocol(declared) === "TCP") return [];
    const lists = made
      .map((one) => rulesInOrder([{ ...one, gateway: meshGateway }], port))
      .filter(({ length }) => length > 0);
    // A sidecar uses those of the first VirtualService, and a waypoint those of all of them.
    const rules = proxy.isWaypoint ? lists.flat() : (lists[0] ?? []);
    return rules.length === 0 ? [] : [{ port, rules }];
  });
}

/** What the proxy has for requests, in the order in which it is tried. */
function inOrder(
  made: readonly MadeOfRoutes[],
  { client, isWaypoint, isImported = () => true, service, name }: Proxy & { service: Service; name: string },
  { settings }: Mesh,
): readonly MadeOfRoutes[] {
  const of = new Map(made.map((one) => [one.virtualService, one]));
  const all = [...of.keys()].filter(({ spec }) => spec.http.length > 0).filter(isImported);
  const host = { definition: service, name, client };
  const tried = isWaypoint
    ? waypointVirtualServices(client, { host: name, namespace: service.metadata.namespace }, all, settings)
    : all.filter((one) => isForSidecars(one, host, settings)).sort(selectedFirst(client, settings));
  return tried.flatMap((one) => of.get(one) ?? []);
}
