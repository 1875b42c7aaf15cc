import { idOf } from "../kube/identity.ts";
import {
  type PassedOverVirtualService,
  virtualServiceChoices,
  virtualServicesOfHost,
} from "../mesh/traffic/virtual-service-choices.ts";
import { type Route, routesOf, shareOf } from "../mesh/traffic/virtual-services.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** The VirtualService that sidecars of a namespace use for a host, its routes, and those without effect. */
export function virtualServiceLine(client: string, host: string, mesh: Mesh): ExplanationLine {
  const candidates = virtualServicesOfHost(host, mesh);
  const { used, passedOver } = virtualServiceChoices(client, host, candidates, mesh.settings);
  const lines = passedOver.map((one) => passedOverLine(one, client));
  if (used === undefined)
    return {
      key: "virtualService",
      text: "No VirtualService is used: requests go to the service directly",
      value: "none",
      lines,
    };
  return {
    key: "virtualService",
    text: `${idOf(used)} is used`,
    value: idOf(used),
    objects: [used],
    lines: [...[...routesOf(used)].map(routeLine), ...lines],
  };
}

function routeLine(written: Route): ExplanationLine {
  const { protocol, route, destinations, at } = written;
  const name = "name" in route && route.name ? ` ${route.name}` : "";
  const conditions =
    route.match.length === 0 ? "" : `, where ${route.match.length === 1 ? "its match" : "one of its matches"} applies`;
  const targets = destinations.map((weighted) => {
    const { host, subset } = weighted.destination;
    return `${Math.round(shareOf(weighted, written) * 1000) / 10}% to ${host}${subset ? ` subset ${subset}` : ""}`;
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
  if (route.directResponse !== undefined) return `direct response ${route.directResponse.status ?? "(no status)"}`;
  if (route.delegate === undefined) return "nowhere";
  const { namespace, name } = route.delegate;
  return `delegated to VirtualService ${namespace ? `${namespace}/` : ""}${name}`;
}

function passedOverLine({ virtualService, because, by }: PassedOverVirtualService, client: string): ExplanationLine {
  const other = by === undefined ? "another one" : idOf(by);
  const reasons: Readonly<Record<typeof because, string>> = {
    "not-read": "no control plane has the revision in its label istio.io/rev",
    "gateways-only": `it is bound to ${virtualService.spec.gateways.join(", ")} and not to the mesh`,
    "not-exported": `it is not exported to ${client}`,
    "no-route": `none of its routes is for clients in ${client}`,
    "less-specific": `${other} is for a more specific host`,
    nearer: `${other} is exported to ${client} by name, or private to it, and comes first`,
    younger: `${other} is older and is used; the two are not merged`,
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
