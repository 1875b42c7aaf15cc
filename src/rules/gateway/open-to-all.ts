import { defineRule } from "../../engine/rule.ts";
import { serverHost } from "../../mesh/gateways/servers.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";

export const gatewayOpenToAll = defineRule({
  id: "gateway-open-to-all",
  subject: "Gateway",
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "A Gateway of a protected namespace lets VirtualServices of every namespace serve every host.",
  why: "A host without a namespace is for VirtualServices of all namespaces, and `*` is every host (Istio pilot/pkg/model/gateway.go sanitizeServerHostNamespace, pkg/config/host NamesForNamespace). Whoever may create a VirtualService anywhere can serve any host at this gateway, with its address and its certificate.",
  fix: "List the hosts, and the namespace of each: `team-a/shop.example.com`, or `./shop.example.com` for the namespace of the Gateway.",
  incident: {
    symptoms: ["protection-missing", "other-destination"],
    proxies: ["gateway"],
    seen: "Nothing, until a VirtualService of another namespace serves a host here. Then its requests are answered by another team.",
    wayOut:
      "Delete the VirtualService that took the host (`kubectl get virtualservice -A`), then list the hosts of the Gateway.",
    silentWhen:
      "The server has mode AUTO_PASSTHROUGH, where no VirtualService decides, or some namespace or part of the host is named.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  cel: {
    problems: `${isServedInCel} && has(object.spec) && has(object.spec.servers)
? object.spec.servers.filter(s, !(has(s.tls) && has(s.tls.mode) && s.tls.mode == 'AUTO_PASSTHROUGH')
&& has(s.hosts) && s.hosts.exists(h, h in ['*', '*/*'])).map(s, has(s.port) && has(s.port.number) ? int(s.port.number) : 0)
: []`,
  },

  *check(gateway, { settings }) {
    if (!isServed(gateway, settings)) return;
    for (const [i, { hosts, tls }] of gateway.spec.servers.entries()) {
      // No VirtualService decides what such a server forwards to.
      if (tls?.mode === "AUTO_PASSTHROUGH") continue;
      const j = hosts.findIndex((one) => {
        const { host, namespace } = serverHost(one, gateway.metadata.namespace);
        return host === "*" && namespace === "*";
      });
      if (j >= 0)
        yield {
          at: ["spec", "servers", i, "hosts", j],
          message: `VirtualServices of every namespace can serve every host on port ${gateway.spec.servers[i]?.port?.number}`,
        };
    }
  },
});
