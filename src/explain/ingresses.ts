import { idOf } from "../kube/identity.ts";
import { ingressHostsOver, type IngressRoute } from "../mesh/gateways/ingresses.ts";
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
