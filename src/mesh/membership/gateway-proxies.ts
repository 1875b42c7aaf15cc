import type { MeshSettings } from "../../view/settings.ts";
import { proxyConfigAnnotation, type ProxyConfigFields, proxyConfigOf } from "../../kube/proxy-config.ts";
import type { Path } from "../../kube/read.ts";
import { hasClassOfIstio, isIstiosWaypoint, type KubernetesGateway } from "./gateways.ts";
import { decisiveProxyConfig } from "./proxy-variables.ts";

/** What makes the proxy of a Gateway another one than istiod would run. */
export interface ProxyReplacement {
  readonly at: Path;
  /** The same for two that do the same. */
  readonly key: string;
  readonly fix: string;
  /** A sentence about the gateway, `the Gateway` or `waypoint infra/shared`. */
  sentence(gateway: string): string;
}

/**
 * What a Gateway of one of Istio's classes says of its pods that replaces their proxy or decides whom it trusts. istiod makes them from the
 * annotations of the Gateway, from those in spec.infrastructure and from the ConfigMap in parametersRef (Istio
 * pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go, manifests/charts/istio-control/istio-discovery/files/waypoint.yaml and
 * kube-gateway.yaml).
 */
export function proxyReplacements(gateway: KubernetesGateway, settings: MeshSettings): readonly ProxyReplacement[] {
  if (!hasClassOfIstio(gateway, settings)) return [];
  return [
    ...ofImage(gateway),
    ...ofInjection(gateway),
    ...ofProxyConfig(gateway),
    ...ofParameters(gateway),
    ...(isIstiosWaypoint(gateway, settings) ? ofAddresses(gateway) : []),
  ];
}

const proxyImage = "sidecar.istio.io/proxyImage";

/** The templates use this annotation of the Gateway itself, if it names a whole image. */
function* ofImage({ metadata: { annotations } }: KubernetesGateway): Iterable<ProxyReplacement> {
  const image = annotations[proxyImage] ?? "";
  if (image.includes("/"))
    yield {
      at: ["metadata", "annotations", proxyImage],
      sentence: (gateway) =>
        `${gateway} chooses the image of its proxy: annotation ${proxyImage} ${JSON.stringify(image)}`,
      key: proxyImage,
      fix: `Remove the annotation ${proxyImage}.`,
    };
}

const inject = "sidecar.istio.io/inject";

/**
 * The templates keep the injector from the pods with a label, which those of spec.infrastructure, or else of the Gateway,
 * replace. Injected, the pods have the annotations of a sidecar decide about image, bootstrap and templates.
 */
function* ofInjection({ metadata, spec: { infrastructure } }: KubernetesGateway): Iterable<ProxyReplacement> {
  const own = infrastructure?.labels;
  if ((own ?? metadata.labels)[inject] === "true")
    yield {
      at: [...(own === undefined ? ["metadata", "labels"] : ["spec", "infrastructure", "labels"]), inject],
      sentence: (gateway) =>
        `${gateway} has its pods injected, so that its annotations decide what they run: label ${inject} "true"`,
      key: inject,
      fix: `Remove the label ${inject}.`,
    };
}

/**
 * The proxy config that a Gateway gives its pods, and where. They get the annotations of spec.infrastructure, or else those of the
 * Gateway (extractInfrastructureMetadata), and the agent in them applies this one (pilot/cmd/pilot-agent/config/config.go
 * ConstructProxyConfig).
 */
export function proxyConfigOfGateway({ metadata, spec: { infrastructure } }: KubernetesGateway): {
  readonly at: Path;
  readonly config: ProxyConfigFields | undefined;
} {
  const own = infrastructure?.annotations;
  const at = own === undefined ? ["metadata", "annotations"] : ["spec", "infrastructure", "annotations"];
  return { at: [...at, proxyConfigAnnotation], config: proxyConfigOf(own ?? metadata.annotations) };
}

function* ofProxyConfig(gateway: KubernetesGateway): Iterable<ProxyReplacement> {
  const { at, config } = proxyConfigOfGateway(gateway);
  for (const { field, effect } of decisiveProxyConfig(config))
    yield {
      at,
      sentence: (name) => `${name} ${effect}: ${field} in annotation ${proxyConfigAnnotation}`,
      key: `${proxyConfigAnnotation} ${field}`,
      fix: `Remove ${field} from the annotation.`,
    };
}

function* ofParameters({ spec: { infrastructure } }: KubernetesGateway): Iterable<ProxyReplacement> {
  const { kind = "", name = "" } = infrastructure?.parametersRef ?? {};
  if (kind === "ConfigMap" && name !== "")
    yield {
      at: ["spec", "infrastructure", "parametersRef"],
      sentence: (gateway) =>
        `${gateway} has its pods changed by ConfigMap ${name}, also their image, and the ConfigMap is not checked`,
      key: "parametersRef",
      fix: "Remove parametersRef, or restrict who may write the ConfigMap to those who may replace the proxy.",
    };
}

/**
 * With a host, ztunnel sends requests to other pods than istiod's (extractGatewayServices, ambient/waypoints.go
 * getGatewayAddress). The Deployment of an ingress gateway may be written by hand, and is checked as one.
 */
function* ofAddresses({ spec: { addresses } }: KubernetesGateway): Iterable<ProxyReplacement> {
  const host = addresses.find(({ type }) => type === "Hostname");
  if (host !== undefined)
    yield {
      at: ["spec", "addresses"],
      sentence: (gateway) =>
        `${gateway} has no proxy that istiod runs: ztunnel sends requests to ${JSON.stringify(host.value)}`,
      key: "addresses",
      fix: "Remove spec.addresses, so that istiod runs the waypoint.",
    };
}
