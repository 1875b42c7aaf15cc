import { defineRule } from "../../engine/rule.ts";
import { isPlainHttp } from "../../mesh/gateways/servers.ts";
import { isServed } from "../../mesh/objects/revision.ts";

export const gatewayPlainHttp = defineRule({
  id: "gateway-plain-http",
  subject: "Gateway",
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "A Gateway of a protected namespace accepts requests over plain HTTP and does not redirect them to HTTPS.",
  why: "Without `tls.httpsRedirect`, the gateway forwards plain HTTP requests as they are (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig sets RequireTls only then). Everybody between the client and the gateway can read and change them, with their cookies and tokens.",
  fix: "Set `tls: { httpsRedirect: true }` on this server, and serve the hosts with HTTPS. If a load balancer in front of the gateway terminates TLS, add an exception.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway"],
    seen: "`curl -I http://HOST/` answers 200 instead of a redirect (301).",
    wayOut: "Set httpsRedirect. If HTTPS is not ready yet, limit the host to clients that may use plain HTTP.",
    silentWhen:
      "The server redirects, or it speaks HTTPS. A redirect by the application itself or by a VirtualService is not looked at.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
  },

  *check(gateway, { settings }) {
    if (!isServed(gateway, settings)) return;
    for (const [i, server] of gateway.spec.servers.entries())
      if (isPlainHttp(server) && server.tls?.httpsRedirect !== true)
        yield {
          at: ["spec", "servers", i],
          message: `This server accepts plain ${server.port?.protocol} for ${shown(server.hosts)} without a redirect to HTTPS`,
          key: `${server.port?.number} ${[...server.hosts].sort().join(" ")}`,
        };
  },
});

const shown = (hosts: readonly string[]): string => {
  const [first, ...others] = hosts.map((host) => JSON.stringify(host));
  return others.length === 0 ? (first ?? "no host") : `${first} and ${others.length} more`;
};
