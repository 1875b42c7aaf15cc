import type { MeshSettings } from "../../view/settings.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { isOpenToAll } from "../../mesh/gateways/listener-gateways.ts";
import { type Gateway, isPlainHttp, passesThrough, serverHost } from "../../mesh/gateways/servers.ts";
import { ingressClasses, isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";

const plainInCel =
  "has(s.port) && has(s.port.protocol) && s.port.protocol.matches('(?i)^(http|http2|http_proxy|grpc|grpc-web)$')";
const noRoutesInCel = `has(s.tls) && (${plainInCel} ? has(s.tls.httpsRedirect) && s.tls.httpsRedirect == true
: !has(s.tls.mode) || s.tls.mode in ['', 'PASSTHROUGH', 'AUTO_PASSTHROUGH'])`;
const serversInCel = `(has(object.spec.servers) ? object.spec.servers : []).filter(s, !(${noRoutesInCel})
&& has(s.hosts) && s.hosts.exists(h, h in ['*', '*/*'])).map(s, has(s.port) && has(s.port.number) ? string(s.port.number) : '0')`;
const classesInCel = [...ingressClasses].map((name) => `'${name}'`).join(", ");
const listenersInCel = `(has(object.spec.gatewayClassName) && object.spec.gatewayClassName in [${classesInCel}] && has(object.spec.listeners) ? object.spec.listeners : [])
.filter(l, has(l.protocol) && l.protocol in ['HTTP', 'HTTPS', 'TLS'] && !(has(l.tls) && has(l.tls.mode) && l.tls.mode == 'Passthrough') && !(has(l.hostname) && l.hostname != '')
&& has(l.allowedRoutes) && has(l.allowedRoutes.namespaces) && has(l.allowedRoutes.namespaces.from) && (l.allowedRoutes.namespaces.from == 'All' || l.allowedRoutes.namespaces.from == 'Selector' && !(has(l.allowedRoutes.namespaces.selector)
&& (has(l.allowedRoutes.namespaces.selector.matchLabels) && l.allowedRoutes.namespaces.selector.matchLabels.size() > 0
|| has(l.allowedRoutes.namespaces.selector.matchExpressions) && l.allowedRoutes.namespaces.selector.matchExpressions.exists(e, !(has(e.key) && e.key == 'kubernetes.io/metadata.name' && has(e.operator) && e.operator == 'Exists'))))))
.map(l, 'listener ' + (has(l.name) ? l.name : ''))`;

export const gatewayOpenToAll = defineRule({
  id: "gateway-open-to-all",
  subject: ["Gateway", "KubernetesGateway"],
  reads: [],
  mode: "warn",
  since: "0.1.0",
  // One team alone may use a mesh, and a network may let nobody else in.
  stage: "trial",
  tags: ["gateway"],
  summary: "A Gateway lets routes of every namespace serve every host.",
  why: "A host without a namespace is for VirtualServices of all namespaces, and `*` is every host (Istio pilot/pkg/model/gateway.go sanitizeServerHostNamespace, pkg/config/host NamesForNamespace); so is a listener of the Gateway API without a hostname, with `allowedRoutes.namespaces.from: All` or an empty selector of namespaces (pilot/pkg/config/kube/gateway/conversion.go namespacesFromSelector). Whoever may create a route anywhere can serve any host at this gateway, with its address and its certificate.",
  fix: "List the hosts, and the namespace of each: `team-a/shop.example.com`, or `./shop.example.com` for the namespace of the Gateway. At a listener of the Gateway API, set `hostname`, or select the namespaces by labels, with `allowedRoutes.namespaces.from: Selector`.",
  incident: {
    symptoms: ["protection-missing", "other-destination"],
    proxies: ["gateway"],
    seen: "Nothing, until a route of another namespace serves a host here. Then its requests are answered by another team.",
    wayOut:
      "Delete the route that took the host (`kubectl get virtualservice,httproute -A`), then list the hosts of the Gateway.",
    silentWhen:
      "The server passes TLS through or only redirects to HTTPS, some namespace or part of the host is named, or the class of a Gateway of the Gateway API is none of Istio's.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  cel: {
    problems: `${isServedInCel} && has(object.spec) ? ${serversInCel} + ${listenersInCel} : []`,
  },

  *check(gateway, { settings }) {
    if (isServed(gateway, settings))
      yield* gateway.kind === "Gateway" ? ofServers(gateway) : ofListeners(gateway, settings);
  },
});

function* ofServers({ metadata, spec }: Gateway): Iterable<Problem> {
  for (const [i, server] of spec.servers.entries()) {
    const { hosts, port } = server;
    // Gateways between clusters pass every name through to istiod; gateway-tls-weak reports others in protected namespaces.
    if (isPlainHttp(server) ? server.tls?.httpsRedirect === true : passesThrough(server)) continue;
    const j = hosts.findIndex((one) => {
      const { host, namespace } = serverHost(one, metadata.namespace);
      return host === "*" && namespace === "*";
    });
    if (j >= 0)
      yield {
        at: ["spec", "servers", i, "hosts", j],
        message: `VirtualServices of every namespace can serve every host on port ${port?.number}`,
      };
  }
}

function* ofListeners(gateway: KubernetesGateway, settings: MeshSettings): Iterable<Problem> {
  if (!isForIngress(gateway, settings)) return;
  for (const [i, listener] of gateway.spec.listeners.entries())
    if (isOpenToAll(listener))
      yield {
        at: ["spec", "listeners", i, "allowedRoutes", "namespaces", "from"],
        message: `Listener ${listener.name} accepts routes of all namespaces for every host on port ${listener.port}`,
        key: `listener ${listener.name}`,
      };
}
