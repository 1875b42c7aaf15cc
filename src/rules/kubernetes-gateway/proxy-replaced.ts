import { defineRule, type Problem } from "../../engine/rule.ts";
import { proxyConfigAnnotation, proxyConfigOf } from "../../kube/proxy-config.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import { decisiveProxyConfig } from "../../mesh/membership/proxy-variables.ts";
import { waypointClass } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";

export const kubernetesGatewayProxyReplaced = defineRule({
  id: "kubernetes-gateway-proxy-replaced",
  subject: "KubernetesGateway",
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "ambient"],
  summary: "A Gateway of the Gateway API chooses another proxy, or another configuration of it, than istiod would run.",
  why: "The pods of a Gateway or waypoint are made by istiod from its annotations, from those in spec.infrastructure and from the ConfigMap in parametersRef (Istio pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go, manifests/charts/istio-control/istio-discovery/files/waypoint.yaml and kube-gateway.yaml), their labels can undo the one that keeps the injector away, and none are made if spec.addresses names a host (pilot/pkg/config/kube/gatewaycommon/gateway_utils.go IsManaged). So whoever writes the Gateway decides what enforces the policies that are bound to it.",
  fix: "Remove the annotation, the label, the address or parametersRef from the Gateway. Ask those who run the mesh to change the proxy of all gateways, in the GatewayClass or in Istio's values.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway", "waypoint"],
    seen: "`istioctl proxy-status` shows no proxy of the Gateway or another version, or its policies deny nothing.",
    wayOut: "Apply the previous version of the Gateway; istiod then makes the pods again.",
    silentWhen:
      "The class is none of Istio's, the ConfigMap of parametersRef itself changes, or the annotations set only resources, ports and log levels.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(gateway, { settings }) {
    if (!hasClassOfIstio(gateway) || !isServed(gateway, settings)) return;
    yield* ofImage(gateway);
    yield* ofInjection(gateway);
    yield* ofProxyConfig(gateway);
    yield* ofParameters(gateway);
    yield* ofAddresses(gateway);
  },
});

const proxyImage = "sidecar.istio.io/proxyImage";

/** The templates use this annotation of the Gateway itself, if it names a whole image. */
function* ofImage({ metadata: { annotations } }: KubernetesGateway): Iterable<Problem> {
  const image = annotations[proxyImage] ?? "";
  if (image.includes("/"))
    yield {
      at: ["metadata", "annotations", proxyImage],
      message: `The Gateway chooses the image of its proxy: annotation ${proxyImage} ${JSON.stringify(image)}`,
      key: proxyImage,
      fix: `Remove the annotation ${proxyImage}.`,
    };
}

const inject = "sidecar.istio.io/inject";

/**
 * The templates keep the injector from the pods with a label, which those of spec.infrastructure, or else of the Gateway,
 * replace. Injected, the pods have the annotations of a sidecar decide about image, bootstrap and templates.
 */
function* ofInjection({ metadata, spec: { infrastructure } }: KubernetesGateway): Iterable<Problem> {
  const own = infrastructure?.labels;
  if ((own ?? metadata.labels)[inject] === "true")
    yield {
      at: [...(own === undefined ? ["metadata", "labels"] : ["spec", "infrastructure", "labels"]), inject],
      message: `The Gateway has its pods injected, so that its annotations decide what they run: label ${inject} "true"`,
      key: inject,
      fix: `Remove the label ${inject}.`,
    };
}

/**
 * The pods get the annotations of spec.infrastructure, or else those of the Gateway (extractInfrastructureMetadata), and the
 * agent in them applies this one (pilot/cmd/pilot-agent/config/config.go ConstructProxyConfig).
 */
function* ofProxyConfig({ metadata, spec: { infrastructure } }: KubernetesGateway): Iterable<Problem> {
  const own = infrastructure?.annotations;
  const at = own === undefined ? ["metadata", "annotations"] : ["spec", "infrastructure", "annotations"];
  for (const { field, effect } of decisiveProxyConfig(proxyConfigOf(own ?? metadata.annotations)))
    yield {
      at: [...at, proxyConfigAnnotation],
      message: `The Gateway ${effect}: ${field} in annotation ${proxyConfigAnnotation}`,
      key: `${proxyConfigAnnotation} ${field}`,
      fix: `Remove ${field} from the annotation.`,
    };
}

function* ofParameters({ spec: { infrastructure } }: KubernetesGateway): Iterable<Problem> {
  const { kind = "", name = "" } = infrastructure?.parametersRef ?? {};
  if (kind === "ConfigMap" && name !== "")
    yield {
      at: ["spec", "infrastructure", "parametersRef"],
      message: `ConfigMap ${name} changes the pods of this Gateway, also their image, and is not checked`,
      key: "parametersRef",
      fix: "Remove parametersRef, or restrict who may write the ConfigMap to those who may replace the proxy.",
    };
}

/**
 * With a host, ztunnel sends requests to other pods than istiod's (extractGatewayServices, ambient/waypoints.go
 * getGatewayAddress). The Deployment of an ingress gateway may be written by hand, and is checked as one.
 */
function* ofAddresses({ spec: { addresses, gatewayClassName } }: KubernetesGateway): Iterable<Problem> {
  const host = addresses.find(({ type }) => type === "Hostname");
  if (host !== undefined && gatewayClassName === waypointClass)
    yield {
      at: ["spec", "addresses"],
      message: `istiod runs no proxy for this waypoint: ztunnel sends requests to ${JSON.stringify(host.value)}`,
      key: "addresses",
      fix: "Remove spec.addresses, so that istiod runs the waypoint.",
    };
}
