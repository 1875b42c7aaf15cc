import { defineRule } from "../../engine/rule.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";

const oldVersions: ReadonlyMap<string, string> = new Map([
  ["TLSV1_0", "TLS 1.0"],
  ["TLSV1_1", "TLS 1.1"],
]);
const passing: ReadonlySet<string> = new Set(["PASSTHROUGH", "AUTO_PASSTHROUGH"]);

export const gatewayTlsWeak = defineRule({
  id: "gateway-tls-weak",
  subject: "Gateway",
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A Gateway accepts TLS below 1.2, or passes connections through for every host name.",
  why: "TLS 1.0 and 1.1 are insecure and are offered only if minProtocolVersion allows them (Istio pilot/pkg/networking/core/gateway.go buildGatewayListenerTLSContext). With PASSTHROUGH and every host, connections to any SNI name are passed through.",
  fix: "Set minProtocolVersion to TLSV1_2 or remove it, and list the hosts that are passed through.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway"],
    seen: "`openssl s_client -tls1_1 -connect HOST:PORT` gets a connection. With PASSTHROUGH for every host, connections to any name reach a backend.",
    wayOut:
      "Remove minProtocolVersion, or list the hosts. Clients that speak only old TLS then get no connection: look for them in the access log first (`%DOWNSTREAM_TLS_VERSION%`).",
    silentWhen:
      "The minimum is 1.2 or not set, and AUTO_PASSTHROUGH for names of the cluster, as multi-cluster gateways have it.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  cel: {
    problems: `${isServedInCel} && has(object.spec) && has(object.spec.servers)
? object.spec.servers.filter(s, has(s.tls) && has(s.tls.minProtocolVersion) && s.tls.minProtocolVersion in ['TLSV1_0', 'TLSV1_1']).map(s, 'accepts ' + s.tls.minProtocolVersion)
+ object.spec.servers.filter(s, has(s.tls) && has(s.tls.mode) && s.tls.mode in ['PASSTHROUGH', 'AUTO_PASSTHROUGH']
&& (!has(s.hosts) || s.hosts.size() == 0 || s.hosts.exists(h, h == '*' || h.endsWith('/*') && h.indexOf('/') == h.size() - 2))).map(s, 'passes through by ' + s.tls.mode)
: []`,
  },

  *check(gateway, { settings }) {
    if (!isServed(gateway, settings)) return;
    for (const [i, server] of gateway.spec.servers.entries()) {
      const at = ["spec", "servers", i, "tls"];
      const { minProtocolVersion = "", mode = "" } = server.tls ?? {};
      const version = oldVersions.get(minProtocolVersion);
      if (version !== undefined)
        yield {
          at: [...at, "minProtocolVersion"],
          message: `This server accepts ${version}; the minimum should be TLS 1.2`,
          fix: "Set minProtocolVersion to TLSV1_2 or TLSV1_3, or remove it.",
        };
      if (passing.has(mode) && isForEveryHost(server.hosts))
        yield {
          at: [...at, "mode"],
          message: `This server has mode ${mode} for every host: it passes connections through to any SNI name`,
          fix: `List in \`hosts\` only the names whose connections should be passed through${mode === "AUTO_PASSTHROUGH" ? ', such as "*.local"' : ""}, instead of every host.`,
        };
    }
  },
});

/** `namespace/*` limits the namespaces of routes, not the host names. */
const isForEveryHost = (hosts: readonly string[]): boolean =>
  hosts.length === 0 || hosts.some((host) => host.slice(host.indexOf("/") + 1) === "*");
