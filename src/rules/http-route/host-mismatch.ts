import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Listener, ListenerGateway } from "../../mesh/gateways/listener-gateways.ts";
import { httpsListeners, listenersTakingFrom } from "../../mesh/gateways/listener-names.ts";
import { gatewayOfListenerSet } from "../../mesh/gateways/listener-sets.ts";
import { type ParentAcceptance, routeAcceptances } from "../../mesh/gateways/route-acceptance.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [routeAcceptances, gatewayOfListenerSet, httpsListeners] as const;

export const httpRouteHostMismatch = defineRule({
  id: "http-route-host-mismatch",
  subject: "KubernetesRoute",
  reads,
  worksWithout: ["ReferenceGrant"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary: "A host of a route is offered by no listener of its Gateways, so requests to it get 404.",
  why: "Only hosts that a listener and a route have in common are served (Istio pilot/pkg/config/kube/gateway/conversion.go referenceAllowed). Of several listeners of one port and protocol, a host belongs to the one that names it most exactly, and a route that attaches to the others alone is not used for it (hostnameAllowedByIsolation). Those over TLS belong to the most exact HTTPS listener, also of a ListenerSet (pilot/pkg/model/gateway.go GetSNIHostsForServer).",
  fix: "Add a listener for the host to the Gateway, or correct the hostname.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests for the host get 404 at the gateway. The condition `Accepted` of the route is False, with reason `NoMatchingListenerHostname`, if no host is offered.",
    wayOut: "Apply the previous version of the route or of the Gateway.",
    silentWhen:
      "The route has no hostnames, one of its parents is not known and may offer the host, or a more exact listener has the host at a Gateway of another controller.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(route, mesh) {
    const parents = mesh.get(routeAcceptances, route);
    for (const { at, parent, result } of parents)
      if (result === "host")
        yield {
          at,
          message: `${idOf(parent)} offers none of the hostnames of this route, so the route has no effect there`,
          related: [parent],
          evidence: [parent],
        };
    yield* takenElsewhere(route.spec.hostnames, parents, mesh);
    // Other parents, and those that are not known, can be for any host.
    if (parents.length < route.spec.parentRefs.length || !parents.some(({ result }) => result === "accepted")) return;
    for (const [i, host] of route.spec.hostnames.entries())
      if (!parents.some(({ offered }) => offered.has(host)))
        yield {
          at: ["spec", "hostnames", i],
          ...mismatchOf(host, parents),
          key: host,
          related: parents.map(({ parent }) => parent),
          evidence: parents.map(({ parent }) => parent),
        };
  },
});

function mismatchOf(host: string, parents: readonly ParentAcceptance[]): Pick<Problem, "message" | "fix"> {
  for (const { parent, taken } of parents) {
    const listener = taken.get(host);
    if (listener !== undefined) return takenBy({ listener, owner: parent }, host);
  }
  return {
    message: `No listener of ${parents.map(({ parent }) => idOf(parent)).join(" or ")} offers host ${JSON.stringify(host)}`,
  };
}

type Taking = Pick<ListenerGateway, "listener" | "owner">;

const takenBy = ({ listener: { name, hostname }, owner }: Taking, host: string): Pick<Problem, "message" | "fix"> => ({
  message: `Requests for host ${JSON.stringify(host)} belong to listener "${name}" of ${idOf(owner)}, which is for "${hostname}" and has no part of this route`,
  fix: `Let the route attach to listener "${name}" too: name it in another parentRef, or leave \`sectionName\` out. It has to allow the namespace of the route.`,
});

/**
 * Hosts that some listeners have no part of, though others do: a more exact listener takes them, of the same parent, or for connections with
 * TLS of a ListenerSet or the Gateway beside it.
 */
function* takenElsewhere(
  hostnames: readonly string[],
  parents: readonly ParentAcceptance[],
  mesh: MeshView<(typeof reads)[number]>,
): Iterable<Problem> {
  for (const [i, host] of hostnames.entries()) {
    const used = new Set(parents.flatMap(({ offered }) => offered.get(host) ?? []));
    const takings = new Map<Listener, Taking>();
    for (const { parent, taken, offered } of used.size > 0 ? parents : []) {
      const isolated = taken.get(host);
      if (isolated !== undefined) takings.set(isolated, { listener: isolated, owner: parent });
      const gateways = parent.kind === "ListenerSet" ? mesh.related(gatewayOfListenerSet, parent) : [parent];
      const listeners = offered.get(host) ?? [];
      const beside = gateways.flatMap((gateway) => listenersTakingFrom(listeners, host, gateway, mesh));
      for (const taking of beside) takings.set(taking.listener, taking);
    }
    for (const [listener, taking] of takings)
      if (!used.has(listener)) {
        const evidence = [...new Set([...parents.map(({ parent }) => parent), taking.owner])];
        yield { at: ["spec", "hostnames", i], ...takenBy(taking, host), related: evidence, evidence };
      }
  }
}
