import { defineRule } from "../../engine/rule.ts";
import { isServed } from "../../mesh/objects/revision.ts";

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
  summary: "A Gateway takes TLS below 1.2, or passes connections on whatever name they ask for.",
  why: "TLS 1.0 and 1.1 are broken and only on offer where minProtocolVersion says so (Istio pilot/pkg/networking/core/gateway.go buildGatewayListenerTLSContext). With PASSTHROUGH and every host, what a client asks for by SNI is passed on unread.",
  fix: "Set minProtocolVersion to TLSV1_2 or leave it out; name the hosts that are passed through.",

  *check(gateway, { settings }) {
    if (!isServed(gateway, settings)) return;
    for (const [i, server] of gateway.spec.servers.entries()) {
      const at = ["spec", "servers", i, "tls"];
      const { minProtocolVersion = "", mode = "" } = server.tls ?? {};
      const version = oldVersions.get(minProtocolVersion);
      if (version !== undefined)
        yield {
          at: [...at, "minProtocolVersion"],
          message: `The server takes ${version}: the least should be TLS 1.2`,
        };
      if (passing.has(mode) && isForEveryHost(server.hosts))
        yield {
          at: [...at, "mode"],
          message: `${mode} for every host: connections are passed on whatever name they ask for`,
        };
    }
  },
});

/** `namespace/*` narrows down whose routes count, not the names. */
const isForEveryHost = (hosts: readonly string[]): boolean =>
  hosts.length === 0 || hosts.some((host) => host.slice(host.indexOf("/") + 1) === "*");
