import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { type Gateway, type Server, serverNames, terminatesHttps } from "../../mesh/gateways/servers.ts";
import { oldestFirst } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selectorText } from "../../mesh/objects/selector-groups.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

/** Its certificates, for the proxies that a selector reaches, on their ports. */
const certificateKeys = (gateway: Gateway, settings: MeshSettings): ReadonlySet<string> =>
  new Set(
    isServed(gateway, settings) && Object.keys(gateway.spec.selector).length > 0
      ? gateway.spec.servers.flatMap((server) => certificatesOf(server, gateway).map(({ key }) => key))
      : [],
  );

interface Certificate {
  /** The same for the same certificate at the same proxies and port. */
  readonly key: string;
  /** The name of a Secret or of a file. */
  readonly name: string;
  /** The path of the name below `tls`. */
  readonly at: Path;
}

/** The certificates of a server that ends TLS of HTTP, from Secrets or files. */
function certificatesOf(server: Server, { spec }: Gateway): readonly Certificate[] {
  const { tls } = server;
  if (tls === undefined || !terminatesHttps(server)) return [];
  const found: readonly (readonly [kind: string, name: string | undefined, at: Path])[] = [
    ["secret", tls.credentialName, ["credentialName"]],
    ...tls.credentialNames.map((name, i) => ["secret", name, ["credentialNames", i]] as const),
    ["file", tls.serverCertificate, ["serverCertificate"]],
    ...tls.tlsCertificates.map((one, i) => ["file", one.serverCertificate, ["tlsCertificates", i]] as const),
  ];
  return found.flatMap(([kind, name, at]) => {
    if (name === undefined || name === "") return [];
    const key = JSON.stringify([selectorText(spec.selector), server.port?.number, server.bind, kind, name]);
    return [{ key, name, at }];
  });
}

/** A Gateway, and the Gateways that use one of its certificates at the same proxies and ports. */
const gatewaysWithCertificate = relation(
  "gatewaysWithCertificate",
  index("Gateway", certificateKeys),
  index("Gateway", certificateKeys),
);

export const gatewayCertificateShared = defineRule({
  id: "gateway-certificate-shared",
  subject: "Gateway",
  reads: [gatewaysWithCertificate],
  mode: "warn",
  since: "0.1.0",
  // Each of many Gateways would be evaluated for a change of any of them.
  onlyOwnChanges: true,
  stage: "trial",
  tags: ["gateway"],
  summary:
    "Two servers of Gateways serve different hosts with one certificate on the same port, so browsers get 404 for one of them.",
  why: "A browser reuses an HTTP/2 connection for every host that the certificate is for. The connection belongs to the server of the first host (Istio builds one filter chain and one set of routes for each HTTPS server: pilot/pkg/networking/core/gateway.go buildGatewayTCPBasedFilterChains, pilot/pkg/model/gateway.go gatewayRDSRouteName), which does not know the other host and answers 404.",
  fix: "Serve all hosts of a certificate by one server of one Gateway, with a wildcard or a list of hosts, and bind the VirtualServices of all of them to it.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Browsers get 404 for one of the hosts, and not always; curl, which opens a connection for each host, gets an answer.",
    wayOut: "Delete the newer Gateway or server, or add its host to the older one.",
    silentWhen:
      "The servers are on other ports or at other proxies, or their certificates have different names; and Gateways with different selectors are not compared, though one proxy may have both.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(gateway, mesh) {
    const others = mesh
      .related(gatewaysWithCertificate, gateway)
      .filter((other) => other !== gateway && oldestFirst(other, gateway) < 0);
    const earlier = new Map<string, ReadonlySet<string>>();
    for (const [i, server] of gateway.spec.servers.entries()) {
      const names = serverNames(server, gateway.metadata.namespace);
      const certificates = certificatesOf(server, gateway);
      for (const certificate of certificates) {
        const other = others.find((one) => servesOthers(one, certificate.key, names));
        const own = earlier.get(certificate.key);
        if (other === undefined && (own === undefined || isSame(own, names))) continue;
        yield problemOf(certificate, server, { i, other });
        break;
      }
      for (const { key } of certificates) if (!earlier.has(key)) earlier.set(key, names);
    }
  },
});

function problemOf(
  { name, at }: Certificate,
  { port }: Server,
  { i, other }: { readonly i: number; readonly other: Gateway | undefined },
): Problem {
  const by = other === undefined ? "An earlier server of this Gateway" : idOf(other);
  return {
    at: ["spec", "servers", i, "tls", ...at],
    message: `${by} serves other hosts with the certificate ${JSON.stringify(name)} on port ${port?.number} of the same proxies`,
    key: `${port?.number} ${name}`,
    ...(other === undefined ? {} : { related: [other], evidence: [other] }),
  };
}

/** Whether a Gateway uses the certificate for other names. */
const servesOthers = (gateway: Gateway, key: string, names: ReadonlySet<string>): boolean =>
  gateway.spec.servers.some(
    (server) =>
      certificatesOf(server, gateway).some((one) => one.key === key) &&
      !isSame(serverNames(server, gateway.metadata.namespace), names),
  );

const isSame = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => a.symmetricDifference(b).size === 0;
