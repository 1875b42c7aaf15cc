import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type Gateway, type Server, serverNames, terminatesHttps } from "../../mesh/gateways/servers.ts";
import { oldestFirst } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selectorText } from "../../mesh/objects/selector-groups.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

/** The certificate of a server, for proxies that a selector reaches, on one port. */
const certificateKeys = (gateway: Gateway, settings: MeshSettings): ReadonlySet<string> =>
  new Set(
    isServed(gateway, settings) && Object.keys(gateway.spec.selector).length > 0
      ? gateway.spec.servers.flatMap((server) => certificateKey(server, gateway) ?? [])
      : [],
  );

const certificateKey = (server: Server, { spec }: Gateway): string | undefined =>
  terminatesHttps(server) && server.tls?.credentialName
    ? JSON.stringify([selectorText(spec.selector), server.port?.number, server.bind, server.tls.credentialName])
    : undefined;

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
    "Two Gateways serve different hosts with one certificate on the same port, so browsers get 404 for one of them.",
  why: "A browser reuses an HTTP/2 connection for every host that the certificate is for. The connection belongs to the server of the first host (Istio pilot/pkg/networking/core/gateway.go builds one filter chain and one set of routes for each HTTPS server), which does not know the other host and answers 404.",
  fix: "Serve all hosts of a certificate by one server of one Gateway, with a wildcard or a list of hosts, and bind the VirtualServices of all of them to it.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Browsers get 404 for one of the hosts, and not always; curl, which opens a connection for each host, gets an answer.",
    wayOut: "Delete the newer Gateway, or add its host to the server of the older one.",
    silentWhen: "The Gateways serve on other ports or at other proxies, or have certificates of different names.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(gateway, mesh) {
    const others = mesh
      .related(gatewaysWithCertificate, gateway)
      .filter((other) => other !== gateway && oldestFirst(other, gateway) < 0);
    for (const [i, server] of gateway.spec.servers.entries()) {
      const key = certificateKey(server, gateway);
      if (key === undefined) continue;
      const names = serverNames(server, gateway.metadata.namespace);
      const other = others.find((one) => servesOthers(one, key, names));
      if (other !== undefined)
        yield {
          at: ["spec", "servers", i, "tls", "credentialName"],
          message: `${idOf(other)} serves other hosts with the certificate ${JSON.stringify(server.tls?.credentialName)} on port ${server.port?.number} of the same proxies`,
          key: `${server.port?.number} ${server.tls?.credentialName}`,
          related: [other],
          evidence: [other],
        };
    }
  },
});

/** Whether a Gateway uses the certificate for other names. */
const servesOthers = (gateway: Gateway, key: string, names: ReadonlySet<string>): boolean =>
  gateway.spec.servers.some(
    (server) =>
      certificateKey(server, gateway) === key && !isSame(serverNames(server, gateway.metadata.namespace), names),
  );

const isSame = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => a.symmetricDifference(b).size === 0;
