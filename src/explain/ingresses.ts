import { idOf } from "../kube/identity.ts";
import type { Box } from "../mesh/authorization/requests/boxes.ts";
import { ingressHostsOver, type IngressRoute } from "../mesh/gateways/ingresses.ts";
import type { EntryHost } from "../mesh/requests/front.ts";
import type { Outcome } from "../mesh/requests/outcome.ts";
import { outside } from "../mesh/requests/sources.ts";
import { undecided } from "../mesh/requests/way.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** The Ingresses that Istio's ingress gateway serves for a host, with their routes in the order in which they are compared. */
export const ingressLines = (host: string, mesh: Mesh): readonly ExplanationLine[] =>
  [...ingressHostsOver(host, mesh)].map(({ name, found: { first, routes } }) => ({
    key: "ingress",
    of: name,
    text: `At the ingress gateway, before VirtualServices of the same host: ${idOf(first)}, for ${name === "*" ? "every host" : name}`,
    objects: [first],
    lines: routes.map(routeLine),
  }));

function routeLine({ ingress, at, path, service, port }: IngressRoute): ExplanationLine {
  const matched =
    path === undefined ? "every path" : "exact" in path ? `path ${path.exact}` : `paths below ${path.prefix}`;
  return {
    key: "ingress.route",
    of: `${idOf(ingress)} ${at.join(".")}`,
    text: `${matched}: to port ${port} of Service ${ingress.metadata.namespace}/${service}, by ${idOf(ingress)}`,
    objects: [ingress],
  };
}

/** Requests that an Ingress may route: what becomes of them is not followed. Undefined: no Ingress does. */
export function outcomeByIngress(to: EntryHost, requests: Box, mesh: Mesh): Outcome | undefined {
  if (to.scheme === "tcp" || (to.port !== 80 && to.port !== 443)) return undefined;
  for (const { found } of ingressHostsOver(to.host, mesh))
    if (found.routes.length > 0)
      return undecided(
        requests,
        outside,
        `${idOf(found.first)} routes the host at the ingress gateway, and requests are not followed by Ingresses`,
      );
  return undefined;
}
