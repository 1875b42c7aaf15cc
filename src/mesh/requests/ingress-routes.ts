import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import { type ingressHost, ingressHostsOver, serversOfIngress } from "../gateways/ingresses.ts";
import { covers } from "../traffic/hosts.ts";
import type { EntryHost } from "./front.ts";
import type { Outcome } from "./outcome.ts";
import { outside } from "./sources.ts";
import { undecided } from "./way.ts";

type View = MeshView<typeof ingressHost>;

/** The ports at which istiod routes requests for a host by Ingresses: those of the Gateway that it makes of the first one. */
export function* entriesByIngress(
  host: string,
  mesh: View,
): Generator<EntryHost & { readonly ingress: string }, undefined> {
  for (const { found } of ingressHostsOver(host, mesh)) {
    if (found.routes.length === 0) continue;
    const ports = new Set(
      serversOfIngress(found.first)
        .filter(({ hosts }) => hosts.some((one) => covers(one.toLowerCase(), host)))
        .map(({ port }) => port),
    );
    for (const port of ports)
      yield { kind: "entry", host, port, scheme: port === 443 ? "https" : "http", ingress: idOf(found.first) };
  }
}

/** Requests that an Ingress may route: what becomes of them is not followed. Undefined: no Ingress does. */
export function outcomeByIngress(to: EntryHost, requests: Box, mesh: View): Outcome | undefined {
  for (const { port, scheme, ingress } of entriesByIngress(to.host, mesh))
    if (port === to.port && scheme === to.scheme)
      return undecided(
        requests,
        outside,
        `${ingress} routes the host at the ingress gateway, and requests are not followed by Ingresses`,
      );
  return undefined;
}
