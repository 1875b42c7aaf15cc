import { idOf } from "../kube/identity.ts";
import { coveringHosts } from "../mesh/traffic/hosts.ts";
import {
  everyVirtualServiceByHost,
  type PassedOverVirtualService,
  virtualServiceChoices,
} from "../mesh/traffic/virtual-service-choices.ts";
import { type Route, routesOf, type VirtualService } from "../mesh/traffic/virtual-services.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import type { Inquiry } from "./inquiry.ts";

/** Every VirtualService that may cover a host, whoever looks. */
export const virtualServicesOfHost = (host: string, mesh: Mesh): readonly VirtualService[] =>
  mesh.lookup(everyVirtualServiceByHost, coveringHosts(host)) as readonly VirtualService[];

/** Which VirtualService sidecars of a namespace follow for a host, its routes, and those that have no effect. */
export function virtualServiceLine(client: string, host: string, { mesh }: Inquiry): ExplanationLine {
  const candidates = virtualServicesOfHost(host, mesh);
  const { used, passedOver } = virtualServiceChoices(client, host, candidates, mesh.settings);
  const lines = passedOver.map((one) => passedOverLine(one, client));
  if (used === undefined)
    return {
      key: "virtualService",
      text: "No VirtualService is followed: requests go to the service as it is",
      value: "none",
      lines,
    };
  return {
    key: "virtualService",
    text: `${idOf(used)} is followed`,
    value: idOf(used),
    objects: [used],
    lines: [...[...routesOf(used)].map(routeLine), ...lines],
  };
}

function routeLine({ protocol, route, destinations, at }: Route): ExplanationLine {
  const name = "name" in route && route.name ? ` ${route.name}` : "";
  const conditions =
    route.match.length === 0 ? "" : `, where ${route.match.length === 1 ? "its match" : "one of its matches"} holds`;
  const sum = destinations.reduce((total, { weight }) => total + (weight ?? 0), 0);
  const targets = destinations.map(({ destination, weight }) => {
    const share =
      destinations.length === 1 ? "100%" : sum === 0 ? "0" : `${Math.round(((weight ?? 0) / sum) * 1000) / 10}%`;
    return `${share} to ${destination.host}${destination.subset ? ` subset ${destination.subset}` : ""}`;
  });
  const index = String(at[2]);
  return {
    key: "virtualService.route",
    of: `${protocol}[${index}]`,
    text: `${protocol}[${index}]${name}${conditions}: ${targets.join(", ") || otherAction(route)}`,
  };
}

function otherAction(route: Route["route"]): string {
  if (!("redirect" in route)) return "nowhere";
  if (route.redirect !== undefined) return "redirects";
  if (route.directResponse !== undefined) return `answers ${route.directResponse.status ?? "itself"}`;
  if (route.delegate === undefined) return "nowhere";
  const { namespace, name } = route.delegate;
  return `left to VirtualService ${namespace ? `${namespace}/` : ""}${name}`;
}

function passedOverLine({ virtualService, because, by }: PassedOverVirtualService, client: string): ExplanationLine {
  const other = by === undefined ? "another one" : idOf(by);
  const reasons: Readonly<Record<typeof because, string>> = {
    "not-read": "no control plane serves its istio.io/rev",
    "gateways-only": `it is bound to ${virtualService.spec.gateways.join(", ")} and not to the mesh`,
    "not-exported": `it is not exported to ${client}`,
    "no-route": `no route of it is for clients in ${client}`,
    "less-specific": `${other} is for a more specific host`,
    nearer: `${other} is exported to ${client} by name, or private to it, and comes first`,
    younger: `${other} is older and owns the host; they are not merged`,
  };
  return objectLine(
    "virtualService.passedOver",
    virtualService,
    `${idOf(virtualService)} has no effect: ${reasons[because]}`,
    {
      value: because,
      counts: false,
    },
  );
}
