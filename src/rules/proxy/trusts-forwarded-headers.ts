import type { MeshSettings } from "../../view/settings.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { proxyConfigAnnotation, type ProxyConfigFields, proxyConfigOf } from "../../kube/proxy-config.ts";
import { hasClassOfIstio, isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import {
  believedCertificates,
  believesProxyProtocol,
  trustedProxies,
} from "../../mesh/membership/forwarded-headers.ts";
import { proxyConfigOfGateway } from "../../mesh/membership/gateway-proxies.ts";
import { injectedProxy } from "../../mesh/membership/injection-templates.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";

export const proxyTrustsForwardedHeaders = defineRule({
  id: "proxy-trusts-forwarded-headers",
  subject: ["Workload", "KubernetesGateway"],
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary: "A proxy believes addresses or client certificates in headers that its clients can write.",
  why: "With `numTrustedProxies`, a gateway takes the address of a client from X-Forwarded-For, that many entries from its end, and `remoteIpBlocks` of policies compare this address; with `proxyProtocol`, it takes the address from the beginning of each connection. With `forwardClientCertDetails` or `forwardedClientCert`, a proxy passes X-Forwarded-Client-Cert on as it came, and the application takes it for the identity of the caller (Istio pilot/pkg/networking/core/gateway.go buildGatewayConnectionManager, buildGatewayListener, pilot/pkg/networking/util/proxy_headers.go GetProxyHeadersFromProxyConfig). If fewer proxies are in front than are trusted, clients choose both.",
  fix: "Set numTrustedProxies to the number of proxies that every request passes before this one, set proxyProtocol only if nothing but a load balancer reaches the gateway, and leave the headers of client certificates to the defaults of Istio.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests with an X-Forwarded-For of their own satisfy `remoteIpBlocks`, or the application sees an identity in X-Forwarded-Client-Cert that the caller does not have.",
    wayOut: "Apply the previous version of the object, and create the pods of the proxy again.",
    silentWhen:
      "As many proxies were trusted before, or numTrustedProxies or proxyProtocol is that of a new object: whether these proxies exist is not known. The mesh config is checked by mesh-config-weakened.",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/network-topologies/",
  },

  *check(object, { settings }) {
    const proxy = proxyOf(object, settings);
    if (proxy?.config !== undefined) yield* certificates(undefined, proxy);
  },

  *compare(before, after) {
    const old = proxyOf(before.object, before.mesh.settings)?.config;
    const now = proxyOf(after.object, after.mesh.settings);
    if (now?.config === undefined || now.config === old) return;
    const [few, many] = [trustedProxies(old), trustedProxies(now.config)];
    if (now.isGateway && many > few)
      yield {
        at: now.at,
        message: `The proxy believes more proxies in front of it, so that clients may choose the address that remoteIpBlocks compare: gatewayTopology.numTrustedProxies ${many} in annotation ${proxyConfigAnnotation}`,
        key: "numTrustedProxies",
      };
    if (now.isGateway && believesProxyProtocol(now.config) && !believesProxyProtocol(old))
      yield {
        at: now.at,
        message: `The proxy believes the address with which each connection begins, so that clients who reach it directly choose the address that ipBlocks and remoteIpBlocks compare: gatewayTopology.proxyProtocol in annotation ${proxyConfigAnnotation}`,
        key: "proxyProtocol",
      };
    yield* certificates(old, now);
  },
});

interface ProxyOf {
  readonly at: Problem["at"];
  readonly config: ProxyConfigFields | undefined;
  /** Whether gatewayTopology has an effect: only in gateways. */
  readonly isGateway: boolean;
}

/** The proxy of a workload, or of a Gateway whose pods get its annotations; undefined: it is none of Istio's. */
function proxyOf(object: Workload | KubernetesGateway, settings: MeshSettings): ProxyOf | undefined {
  if (object.kind === "Workload") {
    const { pod, podAt } = object;
    const at = [...podAt, "metadata", "annotations", proxyConfigAnnotation];
    return { at, config: proxyConfigOf(pod.annotations), isGateway: injectedProxy(pod) === "router" };
  }
  if (!hasClassOfIstio(object, settings)) return undefined;
  return { ...proxyConfigOfGateway(object), isGateway: isForIngress(object, settings) };
}

function* certificates(old: ProxyConfigFields | undefined, { at, config, isGateway }: ProxyOf): Iterable<Problem> {
  const believed = believedCertificates(config, isGateway);
  if (believed !== undefined && believed.value !== believedCertificates(old, isGateway)?.value)
    yield {
      at,
      message: `The proxy passes on client certificates that clients write into a header themselves: ${believed.field} ${JSON.stringify(believed.value)} in annotation ${proxyConfigAnnotation}`,
      key: believed.field,
    };
}
