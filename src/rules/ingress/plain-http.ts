import { defineRule } from "../../engine/rule.ts";
import { hostsOfIngress, isServedByIstio } from "../../mesh/gateways/ingresses.ts";

export const ingressPlainHttp = defineRule({
  id: "ingress-plain-http",
  subject: "Ingress",
  reads: [isServedByIstio],
  worksWithout: ["IngressClass"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  // A load balancer in front of the gateway can terminate TLS, or the gateway can be an internal one, which no manifest shows.
  stage: "trial",
  tags: ["gateway"],
  summary:
    "An Ingress of Istio's class in a protected namespace lets clients of the ingress gateway call its Services over plain HTTP.",
  why: "Of every Ingress of its class, istiod makes a server for plain HTTP at port 80 of the ingress gateway, with or without `tls`, and no redirect to HTTPS (Istio pilot/pkg/config/kube/ingress/gateways.go convertIngressV1alpha3). Everybody between the client and the gateway can read and change the requests, with their cookies and tokens.",
  fix: "Write a Gateway with `tls: { httpsRedirect: true }` and a VirtualService, or a Gateway and an HTTPRoute of the Gateway API, instead of the Ingress. If a load balancer in front of the gateway terminates TLS, or only the cluster reaches the gateway, add an exception.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway"],
    seen: "`curl -I http://HOST/` answers without a redirect to HTTPS (301).",
    wayOut:
      "Delete the Ingress, or deny requests over plain HTTP at the ingress gateway with an AuthorizationPolicy for port 8080 of its pods.",
    silentWhen: "Another controller serves the Ingress, or its IngressClass is not known.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/kubernetes-ingress/",
  },

  *check(ingress, mesh) {
    if (mesh.get(isServedByIstio, ingress) !== true) return;
    const found = new Set<string>();
    for (const { host, rule } of hostsOfIngress(ingress)) {
      if (found.has(host)) continue;
      found.add(host);
      yield {
        at: ["spec", "rules", rule],
        message: `The ingress gateway serves ${host === "*" ? "every host" : `"${host}"`} over plain HTTP, and an Ingress cannot redirect to HTTPS`,
      };
    }
  },
});
