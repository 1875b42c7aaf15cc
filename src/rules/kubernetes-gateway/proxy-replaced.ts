import { defineRule } from "../../engine/rule.ts";
import { proxyReplacements } from "../../mesh/membership/gateway-proxies.ts";
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
    if (!isServed(gateway, settings)) return;
    for (const { at, key, fix, sentence } of proxyReplacements(gateway, settings))
      yield { at, message: sentence("The Gateway"), key, fix };
  },
});
