import type { Mesh } from "../../view/view.ts";
import { type ListedRule, rulesInOrder } from "../gateways/kubernetes-route-tables.ts";
import { declaredProtocol } from "../membership/service-protocol.ts";
import type { Service } from "../membership/services.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { meshGateway } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { convertedRoutes, parentsOfName, routesOfParents } from "./gateway-api-routes.ts";

/** The rules of routes of the Gateway API that have a Service as their parent, for its requests at one port. */
export interface ParentRules {
  readonly port: number;
  /** In the order in which they are tried. A text: why that is not decided. */
  readonly rules: readonly ListedRule[] | string;
}

interface Proxy {
  /** The namespace of the proxy that has the rules: of clients, or of the waypoint. */
  readonly client: string;
  readonly isWaypoint: boolean;
  /** Whether a Sidecar lets the proxy see what istiod makes of the routes. Default: it does. */
  readonly isImported?: ((virtualService: VirtualService) => boolean) | undefined;
}

/** The rules for each port of a Service at which requests are routed; empty: no route of the Gateway API is for it. */
export function rulesOfParent(
  service: Service,
  { client, isWaypoint, isImported = () => true }: Proxy,
  mesh: Mesh,
): readonly ParentRules[] {
  const { domain } = mesh.settings;
  const name = hostOfService(service, domain);
  const parents = parentsOfName({ definition: service, name }, mesh);
  const all = routesOfParents(parents, mesh);
  if (all.length === 0) return [];
  return service.spec.ports.flatMap((declared): readonly ParentRules[] => {
    const { port } = declared;
    if (port === undefined || declaredProtocol(declared) === "TCP") return [];
    const of = {
      definition: service,
      parents,
      name,
      port,
      isStream: false,
      client,
      isWaypoint,
      domain,
    };
    const found = convertedRoutes(all, of);
    if (found === undefined) return [];
    if (typeof found === "string") return [{ port, rules: found }];
    return isImported(found.virtualService)
      ? [{ port, rules: rulesInOrder([{ ...found, gateway: meshGateway }], port) }]
      : [];
  });
}
