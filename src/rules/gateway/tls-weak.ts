import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import type { Server } from "../../mesh/gateways/servers.ts";
import { isServed, isServedInCel } from "../../mesh/objects/revision.ts";

const oldVersions: ReadonlyMap<string, string> = new Map([
  ["TLSV1_0", "TLS 1.0"],
  ["TLSV1_1", "TLS 1.1"],
]);
/** Istio pilot/pkg/networking/core/listener.go isSimpleOrMutual: with the other modes, the versions of a server are not read. */
const readingVersions: ReadonlySet<string> = new Set(["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"]);
/** By mode, what passes for every host (pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTLSRoutes). */
const passing: ReadonlyMap<string, string> = new Map([
  ["PASSTHROUGH", "to whatever name a VirtualService routes"],
  ["AUTO_PASSTHROUGH", "to every service of the mesh, also to those of ServiceEntries"],
]);

export const gatewayTlsWeak = defineRule({
  id: "gateway-tls-weak",
  subject: "Gateway",
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A Gateway accepts TLS below 1.2, or passes connections through for every host name.",
  why: "TLS 1.0 and 1.1 are insecure, and a server with mode SIMPLE, MUTUAL or OPTIONAL_MUTUAL offers them only if minProtocolVersion allows them (Istio pilot/pkg/networking/core/listener.go BuildListenerTLSContext, applyServerTLSSettings). With PASSTHROUGH and every host, connections to any name that a VirtualService routes are passed through. With AUTO_PASSTHROUGH, those with mTLS of Istio are, to every service of the mesh that the hosts cover (pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTLSRoutes, builtAutoPassthroughFilterChains).",
  fix: "Set minProtocolVersion to TLSV1_2 or remove it, and list the hosts that are passed through.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway"],
    seen: "`openssl s_client -tls1_1 -connect HOST:PORT` gets a connection. With PASSTHROUGH for every host, connections to any name that is routed reach a backend.",
    wayOut:
      "Remove minProtocolVersion, or list the hosts. Clients that speak only old TLS then get no connection: look for them in the access log first (`%DOWNSTREAM_TLS_VERSION%`).",
    silentWhen:
      "The minimum is 1.2 or not set; the mode is ISTIO_MUTUAL or passes TLS through, with which istiod does not read the minimum; or AUTO_PASSTHROUGH is for names of the cluster, as multi-cluster gateways have it.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  cel: {
    problems: `${isServedInCel} && has(object.spec) && has(object.spec.servers)
? object.spec.servers.filter(s, has(s.tls) && has(s.tls.mode) && s.tls.mode in ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL'] && has(s.tls.minProtocolVersion) && s.tls.minProtocolVersion in ['TLSV1_0', 'TLSV1_1']).map(s, 'accepts ' + s.tls.minProtocolVersion)
+ object.spec.servers.filter(s, has(s.tls) && has(s.tls.mode) && s.tls.mode in ['PASSTHROUGH', 'AUTO_PASSTHROUGH']
&& has(s.hosts) && s.hosts.exists(h, h == '*' || h.endsWith('/*') && h.indexOf('/') == h.size() - 2)).map(s, 'passes through by ' + s.tls.mode)
: []`,
  },

  *check(gateway, { settings }) {
    if (!isServed(gateway, settings)) return;
    for (const [i, server] of gateway.spec.servers.entries()) {
      const at = ["spec", "servers", i, "tls"];
      yield* oldVersionOf(server, at);
      yield* passedOn(server, at);
    }
  },
});

function* oldVersionOf({ tls }: Server, at: Path): Iterable<Problem> {
  const version = oldVersions.get(tls?.minProtocolVersion ?? "");
  if (version !== undefined && readingVersions.has(tls?.mode ?? ""))
    yield {
      at: [...at, "minProtocolVersion"],
      message: `This server accepts ${version}; the minimum should be TLS 1.2`,
      fix: "Set minProtocolVersion to TLSV1_2 or TLSV1_3, or remove it.",
    };
}

function* passedOn({ tls, hosts }: Server, at: Path): Iterable<Problem> {
  const mode = tls?.mode ?? "";
  const to = passing.get(mode);
  if (to !== undefined && isForEveryHost(hosts))
    yield {
      at: [...at, "mode"],
      message: `This server has mode ${mode} for every host: it passes connections through ${to}`,
      fix: `List in \`hosts\` only the names whose connections should be passed through${mode === "AUTO_PASSTHROUGH" ? ', such as "*.local"' : ""}, instead of every host.`,
    };
}

/** `namespace/*` limits the namespaces of routes, not the host names. */
const isForEveryHost = (hosts: readonly string[]): boolean =>
  hosts.some((host) => host.slice(host.indexOf("/") + 1) === "*");
