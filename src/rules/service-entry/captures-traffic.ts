import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isWildcard, covers } from "../../mesh/traffic/hosts.ts";
import { isTcpProtocol } from "../../mesh/traffic/service-entry-hosts.ts";
import { isTrueText } from "../../mesh/objects/parse-bool.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { SettingsWith } from "../../view/settings.ts";
import { setting } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

export const serviceEntryCapturesTraffic = defineRule({
  id: "service-entry-captures-traffic",
  subject: "ServiceEntry",
  reads: [setting("dnsCapture")],
  mode: "warn",
  since: "0.1.0",
  summary: "A ServiceEntry sends requests for other hosts or addresses to its own endpoints.",
  why: "A TCP port without addresses makes Envoy listen for every address of that port, and the connections that no Service takes go to the endpoints of the ServiceEntry (Istio pilot/pkg/networking/core/listener.go buildSidecarOutboundListener). The same happens with an address range that contains others' addresses, and for HTTP and TLS with a wildcard host for names that nothing else defines (pilot/pkg/networking/core/tls.go buildSidecarOutboundTLSFilterChainOpts). With resolution NONE, requests still go to the address that the client asked for.",
  fix: "List the addresses of the host, narrow the range or the wildcard, or limit the ServiceEntry with exportTo.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar"],
    seen: "Connections to other hosts on the same port reach the endpoints of the ServiceEntry: a database client gets the wrong database, or a certificate of another name.",
    wayOut: "Delete the ServiceEntry, or limit it with `exportTo: [.]`.",
    silentWhen:
      "The resolution is NONE or DYNAMIC_DNS, addresses are given, the port is for HTTP or TLS, where hosts can be told apart, or the mesh config has ISTIO_META_DNS_CAPTURE in proxyMetadata, so that proxies give each host an address of its own.",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(entry, { settings }) {
    if (!isServed(entry, settings) || !hasOwnEndpoints(entry)) return;
    yield* broadHosts(entry, settings.domain);
    yield* broadAddresses(entry);
    if (!hasAddressesOfDns(entry, settings)) yield* wholePorts(entry);
  },
});

/** With resolution NONE, the requests go on to the address that the client asked for; DYNAMIC_DNS looks up its host. */
const hasOwnEndpoints = ({ spec }: ServiceEntry): boolean =>
  ["STATIC", "DNS", "DNS_ROUND_ROBIN"].includes(spec.resolution ?? "NONE");

/** Proxies that answer DNS queries give hosts an address of their own (Istio pilot/pkg/model/service.go nodeUsesAutoallocatedIPs). */
const hasAddressesOfDns = ({ spec }: ServiceEntry, { dnsCapture }: SettingsWith<"dnsCapture">): boolean =>
  isTrueText(dnsCapture) && !spec.hosts.some(isWildcard);

/** Names count where HTTP or the server name of TLS tells hosts apart. */
function* broadHosts({ spec }: ServiceEntry, domain: string): Iterable<Problem> {
  if (spec.ports.every(({ protocol }) => protocol && isTcpProtocol(protocol))) return;
  for (const [i, host] of spec.hosts.entries()) {
    const isOfServices = covers(host, `*.svc.${domain}`) || host.endsWith(`.svc.${domain}`);
    const isTopLevel = host.startsWith("*.") && !host.slice(2).includes(".");
    if (isWildcard(host) && host !== "*" && (isOfServices || isTopLevel))
      yield {
        at: ["spec", "hosts", i],
        message: `Requests for every name below ${JSON.stringify(host)} that nothing else defines go to the endpoints of this ServiceEntry`,
      };
  }
}

/** So many addresses are not of one service: a range of the first bits alone. */
const broadestBits = { v4: 8, v6: 16 };

/** At a port for HTTP or TLS, the host or the server name has to fit as well (Istio pilot/pkg/networking/core/tls.go). */
function* broadAddresses({ spec }: ServiceEntry): Iterable<Problem> {
  if (!spec.ports.some(({ protocol }) => isTcpProtocol(protocol))) return;
  for (const [i, address] of spec.addresses.entries()) {
    const [start = "", length = ""] = address.split("/");
    const bits = start.includes(":") ? broadestBits.v6 : broadestBits.v4;
    if (/^\d{1,3}$/.test(length) && Number(length) <= bits)
      yield {
        at: ["spec", "addresses", i],
        message: `Connections to every address in "${address}" go to the endpoints of this ServiceEntry`,
      };
  }
}

function* wholePorts({ spec }: ServiceEntry): Iterable<Problem> {
  if (spec.addresses.length > 0) return;
  for (const [i, { number, protocol }] of spec.ports.entries())
    if (number !== undefined && isTcpProtocol(protocol))
      yield {
        at: ["spec", "ports", i],
        message: `${protocol ? "Connections" : "Connections without HTTP"} to port ${number} of any host that has no Service go to the endpoints of this ServiceEntry, unless proxies capture DNS: ${protocol ? "a TCP port without addresses" : "a port with neither a protocol nor addresses"}`,
        key: `port ${number}`,
      };
}
