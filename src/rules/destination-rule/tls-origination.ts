import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { portsApart } from "../../mesh/client-tls/client-tls.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { entriesOfDestinationRule } from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { isExternal, isTcpProtocol, portsBehind } from "../../mesh/traffic/service-entry-hosts.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type Tls = NonNullable<NonNullable<DestinationRule["spec"]["trafficPolicy"]>["tls"]>;

export const destinationRuleTlsOrigination = defineRule({
  id: "destination-rule-tls-origination",
  subject: "DestinationRule",
  reads: [entriesOfDestinationRule],
  worksWithout: ["ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "TLS to a host outside the mesh is not verified, goes to a plaintext port, or uses mesh certificates.",
  why: "With insecureSkipVerify, Envoy accepts every certificate (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamClusterTLSContext). Without subjectAltNames, it compares the name of the certificate only for HTTP and only if sni is not set (setAutoSniAndAutoSanValidation), so anyone with a certificate of a public CA can answer. ISTIO_MUTUAL sends the certificate of the mesh, which a server outside does not know.",
  fix: "Use mode SIMPLE or MUTUAL with subjectAltNames, and caCertificates if the CA is a private one.",
  incident: {
    symptoms: ["protection-missing", "origination-fails"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "A missing check of the certificate is not visible in traffic. TLS to a plaintext port and ISTIO_MUTUAL to a server outside fail with 503 and `TLS_error` in the access log.",
    wayOut:
      "Apply the previous version. If requests fail, try without `tls` only if the application speaks TLS itself.",
    silentWhen:
      "The host is in the mesh, the ServiceEntry or the DestinationRule has subjectAltNames, or Envoy takes the name from HTTP requests.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-tls-origination/",
  },

  *check(rule, mesh) {
    const host = hostOfRule(rule, mesh.settings);
    if (!isServed(rule, mesh.settings) || namespaceOfHost(host, mesh.settings.domain) !== undefined) return;
    const entries = mesh.related(entriesOfDestinationRule, rule).filter(isExternal);
    for (const { at, tls, port, apart } of tlsOf(rule)) {
      // What portLevelSettings replace at every port is sent to none (service-entry-tls-lost).
      const isAnywhere = entries.some(({ spec }) => spec.ports.some(({ number }) => !apart.has(number)));
      if (entries.length > 0 && !isAnywhere) continue;
      for (const found of problemsOf(tls, { host, port, entries })) yield { ...found, at: [...at, ...found.at] };
    }
  },
});

interface Setting {
  readonly at: Path;
  readonly tls: Tls;
  /** Undefined: for all ports. */
  readonly port: number | undefined;
  /** The ports for which others replace it. */
  readonly apart: ReadonlySet<number | undefined>;
}

function* tlsOf({ spec }: DestinationRule): Iterable<Setting> {
  const policies = [
    [["spec", "trafficPolicy"], spec.trafficPolicy] as const,
    ...spec.subsets.map(({ trafficPolicy }, i) => [["spec", "subsets", i, "trafficPolicy"], trafficPolicy] as const),
  ];
  for (const [at, policy] of policies) {
    if (policy?.tls !== undefined)
      yield { at: [...at, "tls"], tls: policy.tls, port: undefined, apart: portsApart(policy) };
    for (const [i, { tls, port }] of (policy?.portLevelSettings ?? []).entries())
      if (tls !== undefined) yield { at: [...at, "portLevelSettings", i, "tls"], tls, port: port?.number, apart: none };
  }
}

const none: ReadonlySet<number> = new Set();

interface Destination {
  readonly host: string;
  readonly port: number | undefined;
  readonly entries: readonly ServiceEntry[];
}

function* problemsOf(tls: Tls, destination: Destination): Iterable<Problem> {
  const { host, entries, port } = destination;
  const key = (about: string) => JSON.stringify([host, port, about]);
  if (tls.mode === "ISTIO_MUTUAL") {
    const [entry] = entries.filter(({ spec }) => spec.endpoints.length === 0);
    if (entry !== undefined)
      yield {
        at: ["mode"],
        message: `Clients show the certificate of the mesh to "${host}", which ${idOf(entry)} says is outside the mesh`,
        key: key("mesh certificate"),
        evidence: [entry],
        related: [entry],
      };
  }
  if (tls.mode !== "SIMPLE" && tls.mode !== "MUTUAL") return;
  if (tls.insecureSkipVerify === true)
    yield {
      at: ["insecureSkipVerify"],
      message: `Clients of "${host}" accept every certificate: insecureSkipVerify is set`,
      key: key("skipped"),
    };
  else yield* uncheckedName(tls, destination, key("name"));
  const [plain] = entries.filter((entry) => isPlainPort(entry, port));
  if (plain !== undefined)
    yield {
      at: ["mode"],
      message: `Clients speak TLS to port 80 of "${host}", which ${idOf(plain)} says is HTTP, and no targetPort leads to another port`,
      key: key("plain port"),
      evidence: [plain],
      related: [plain],
      fix: "Set `targetPort: 443` on the port of the ServiceEntry.",
    };
}

/** Which certificate answers is only checked by name if names are given, or Envoy takes the name from an HTTP request. */
function* uncheckedName(tls: Tls, { host, port, entries }: Destination, key: string): Iterable<Problem> {
  if (tls.subjectAltNames.length > 0 || entries.length === 0) return;
  if (entries.some(({ spec }) => spec.subjectAltNames.length > 0)) return;
  const isAnyTcp = entries.some(({ spec }) =>
    spec.ports.some(({ number, protocol }) => (port === undefined || number === port) && isTcpProtocol(protocol)),
  );
  if (!tls.sni && !isAnyTcp) return;
  yield {
    at: [],
    message: `Clients of "${host}" accept the certificate of any host of the CA: subjectAltNames is not set${tls.sni ? ", and with sni the name is not taken from the request" : ", and names are only taken from HTTP requests"}`,
    key,
    evidence: entries,
    related: entries,
  };
}

/** The one port of the entry, or a port that the setting names. */
function isPlainPort({ spec }: ServiceEntry, port: number | undefined): boolean {
  if (port === undefined ? spec.ports.length !== 1 : port !== 80) return false;
  const own = spec.ports.find(({ number }) => number === 80);
  return own?.protocol?.toUpperCase() === "HTTP" && portsBehind(spec, own).every((behind) => behind === 80);
}
