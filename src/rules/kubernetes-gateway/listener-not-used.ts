import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { certificateReads, type ListenerGateway, missingCertificate } from "../../mesh/gateways/listener-gateways.ts";
import { listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [listenersOfGateway, ...certificateReads] as const;
type View = MeshView<(typeof reads)[number]>;

export const kubernetesGatewayListenerNotUsed = defineRule({
  id: "kubernetes-gateway-listener-not-used",
  subject: "KubernetesGateway",
  reads,
  worksWithout: ["ListenerSet", "ReferenceGrant"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary:
    "A listener of a Gateway of the Gateway API has no effect: an earlier one takes its port and host, Istio does not support its protocol, or its certificate may not be used.",
  why: "For such a listener istiod generates no server, so no proxy listens for it, and routes that name it alone have no effect (Istio pilot/pkg/config/kube/gateway/conversion.go buildListener, buildTLS). Of HTTP, HTTPS and TLS, a hostname can be on a port once, and TCP or UDP leaves a port to nothing else (pilot/pkg/config/kube/gatewaycommon/listener_conflict.go listenersDistinct). A certificate in another namespace needs a ReferenceGrant there (pilot/pkg/config/kube/gatewaycommon/references.go SecretAllowed).",
  fix: "Use another port or hostname, correct the protocol or the TLS settings, or create the ReferenceGrant in the namespace of the certificate.",
  incident: {
    symptoms: ["no-route", "unreachable"],
    proxies: ["gateway"],
    seen: "Connections to the port are refused, or requests for the host get 404 or another certificate. In the status of the Gateway, `Conflicted` of the listener is True, or `Accepted` or `ResolvedRefs` is False.",
    wayOut: "Apply the previous version of the Gateway, or create the ReferenceGrant again.",
    silentWhen:
      "The class of the Gateway is not `istio`, or only the Secret itself is missing or wrong, because Secrets are not read. Listeners of ListenerSets have a rule of their own.",
    page: "https://gateway-api.sigs.k8s.io/api-types/gateway/",
  },

  *check(gateway, mesh) {
    // Waypoints have one listener, for which istiod generates no server, and other classes have other rules.
    if (gateway.spec.gatewayClassName !== "istio") return;
    const own = mesh.get(listenersOfGateway, gateway).byOwner.get(gateway) ?? [];
    for (const [i, one] of own.entries()) {
      const problem = problemOf(one, mesh);
      if (problem !== undefined) yield { at: ["spec", "listeners", i], ...problem };
    }
  },
});

function problemOf(one: ListenerGateway, mesh: View): Omit<Problem, "at"> | undefined {
  const { listener, leftOut } = one;
  const without = mesh.knows("ReferenceGrant") ? missingCertificate(one, mesh) : undefined;
  const because = leftOut ?? without;
  if (because === undefined) return undefined;
  const places =
    leftOut === undefined ? (listener.tls?.certificateRefs ?? []).flatMap(({ namespace }) => namespace || []) : [];
  const others = new Set(places.filter((place) => place !== one.of.metadata.namespace));
  return {
    message: `Listener ${listener.name} has no effect: ${because}`,
    key: `${listener.name} ${because}`,
    ...(others.size > 0 ? { evidence: [...others].map((place) => absent("ReferenceGrant", place)) } : {}),
  };
}
