import { defineRule } from "../../engine/rule.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";

export const gatewayWithoutSelector = defineRule({
  id: "gateway-without-selector",
  subject: "Gateway",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "A Gateway has no selector, so every gateway of the mesh serves its hosts.",
  why: "A Gateway without a selector, or with an empty one, applies to all proxies of gateways in all namespaces: ingress gateways of other teams, egress gateways, and those that istiod deploys for the Gateway API (Istio pilot/pkg/model/push_context.go mergeGateways). They open its ports and send the requests on as its VirtualServices say, past the policies that are only at the gateway which was meant.",
  fix: "Write the labels of the pods that are to serve the Gateway: `selector: {istio: ingressgateway}`.",
  incident: {
    symptoms: ["open-access", "no-route"],
    proxies: ["gateway"],
    seen: "Hosts of the Gateway are answered at the addresses of other gateways, or servers of other Gateways are no longer, because the older one of a port wins.",
    wayOut: "Apply the Gateway with a selector: the other gateways drop its servers within seconds.",
    silentWhen:
      "Each Gateway without a selector is reported, also where the mesh has one gateway only. One that only a revision of Istio which is not there reads is left out.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  cel: {
    problems: `${isServedInCel} && has(object.spec) && has(object.spec.servers) && object.spec.servers.exists(s, has(s.hosts) && s.hosts.size() > 0)
&& !(has(object.spec.selector) && object.spec.selector.size() > 0) ? ['selector'] : []`,
  },

  *check(gateway, mesh) {
    const { selector, servers } = gateway.spec;
    const isOffering = servers.some(({ hosts }) => hosts.length > 0);
    if (!isServed(gateway, mesh.settings) || !isOffering || Object.keys(selector).length > 0) return;
    yield {
      at: ["spec", "selector"],
      message: "Every gateway of the mesh serves this Gateway, in all namespaces: it has no selector",
    };
  },
});
