import { defineRule } from "../../engine/rule.ts";
import { isOpenToAll } from "../../mesh/gateways/listener-gateways.ts";
import { gatewayOfListenerSet, listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import { isForIngress } from "../../mesh/membership/gateways.ts";

export const listenerSetOpenToAll = defineRule({
  id: "listener-set-open-to-all",
  subject: "ListenerSet",
  reads: [gatewayOfListenerSet, listenersOfGateway],
  worksWithout: ["ListenerSet"],
  mode: "warn",
  since: "0.1.0",
  // One team alone may use a mesh, and a network may let nobody else in.
  stage: "trial",
  tags: ["gateway"],
  summary: "A ListenerSet lets routes of every namespace serve every host at its Gateway.",
  why: "A listener of a ListenerSet without a hostname, with `allowedRoutes.namespaces.from: All` or an empty selector of namespaces, is a listener of its Gateway for every host (Istio pilot/pkg/config/kube/gateway/gateway_collection.go ListenerSetCollection, pilot/pkg/config/kube/gateway/conversion.go buildListener, namespacesFromSelector). Whoever may create a route anywhere can serve any host there, with the address of the Gateway and the certificate of the ListenerSet, though the Gateway itself may name its hosts. gateway-open-to-all looks at the Gateway's own listeners.",
  fix: "Set `hostname`, or select the namespaces by labels, with `allowedRoutes.namespaces.from: Selector`.",
  incident: {
    symptoms: ["protection-missing", "other-destination"],
    proxies: ["gateway"],
    seen: "Nothing, until a route of another namespace serves a host here. Then its requests are answered by another team.",
    wayOut:
      "Delete the route that took the host (`kubectl get httproute,grpcroute -A`), then set the hostname of the listener.",
    silentWhen:
      "The Gateway is not known, does not have the listener, or is of a class that is none of Istio's; the listener passes TLS through.",
    page: "https://gateway-api.sigs.k8s.io/geps/gep-1713/",
  },

  *check(set, mesh) {
    const [gateway] = mesh.related(gatewayOfListenerSet, set);
    if (gateway === undefined || !isForIngress(gateway, mesh.settings)) return;
    const own = mesh.get(listenersOfGateway, gateway).byOwner.get(set) ?? [];
    for (const [i, { listener, leftOut }] of own.entries())
      if (leftOut === undefined && isOpenToAll(listener))
        yield {
          at: ["spec", "listeners", i, "allowedRoutes", "namespaces", "from"],
          message: `Listener ${listener.name} accepts routes of all namespaces for every host on port ${listener.port}`,
          key: `listener ${listener.name}`,
          related: [gateway],
          evidence: [gateway],
        };
  },
});
