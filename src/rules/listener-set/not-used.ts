import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { grantsForListenerSet, missingCertificate } from "../../mesh/gateways/listener-certificates.ts";
import { addressesOfGateway, closedPort } from "../../mesh/gateways/gateway-addresses.ts";
import type { ListenerGateway, ListenerSet } from "../../mesh/gateways/listener-gateways.ts";
import { fixOfKinds, unsupportedKinds } from "../../mesh/gateways/listener-kinds.ts";
import {
  allowsListenerSet,
  gatewayNamedBy,
  gatewayOfListenerSet,
  listenersOfGateway,
  namespaceOfListenerSet,
} from "../../mesh/gateways/listener-sets.ts";
import { hasClassOfIstio, isIstiosIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  gatewayOfListenerSet,
  namespaceOfListenerSet,
  listenersOfGateway,
  addressesOfGateway,
  grantsForListenerSet,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const listenerSetNotUsed = defineRule({
  id: "listener-set-not-used",
  subject: "ListenerSet",
  reads,
  worksWithout: ["KubernetesGateway", "ReferenceGrant", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A ListenerSet, or one of its listeners, has no effect: its Gateway is missing or does not allow it, another listener comes first, the Services that the Gateway names as its addresses do not have its port, its certificate may not be used, or it allows kinds of routes that its protocol cannot have.",
  why: "A Gateway has the listeners of a ListenerSet only if `allowedListeners` allows the namespace of the set, which is none by default (Istio pilot/pkg/config/kube/gateway/gateway_collection.go ListenerSetCollection, pilot/pkg/config/kube/gatewaycommon/gateway_utils.go NamespaceAcceptedByAllowListeners). A listener whose port and host the Gateway or an older ListenerSet has is left out (pilot/pkg/config/kube/gatewaycommon/listener_conflict.go ComputeGatewayListenerConflicts), and so is one whose certificate is in another namespace without a ReferenceGrant for ListenerSets (pilot/pkg/config/kube/gateway/conversion.go buildTLS). Only Gateways of class `istio` have ListenerSets (pilot/pkg/config/kube/gatewaycommon/classinfo.go).",
  fix: "Correct `parentRef`, allow the namespace in `spec.allowedListeners` of the Gateway, choose a host that no other listener has, or create the ReferenceGrant.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests for the host get 404 at the gateway, or no connection. The condition `Accepted` of the ListenerSet is False, or `Conflicted` of its listener is True.",
    wayOut: "Apply the previous version of the Gateway, or delete the listener that came first.",
    silentWhen:
      "The class of the Gateway is none of Istio's, the Gateway is not known, or it selects namespaces by labels that are not known. Whether the Secret of a certificate exists is not looked at.",
    page: "https://gateway-api.sigs.k8s.io/geps/gep-1713/",
  },

  *check(set, mesh) {
    const named = gatewayNamedBy(set);
    if (named === undefined) return;
    const [gateway] = mesh.related(gatewayOfListenerSet, set);
    if (gateway === undefined) {
      if (mesh.knows("KubernetesGateway")) yield missing(named, mesh);
    } else if (hasClassOfIstio(gateway, mesh.settings)) {
      const isAllowed = allowsListenerSet(gateway, set, mesh);
      if (isAllowed === false) yield notAllowed(gateway, set, mesh.settings);
      else if (isAllowed === true) yield* ofListeners(gateway, set, mesh);
    }
  },
});

const at = ["spec", "parentRef"];

function missing(named: string, mesh: View): Problem {
  const [namespace = "", name = ""] = named.split("/");
  return {
    at,
    message: `Gateway ${named} does not exist, so the ListenerSet has no effect`,
    evidence: [absent("KubernetesGateway", namespace, name)],
    ...(mesh.knowsAll("KubernetesGateway") ? {} : { guess: "all Gateways" }),
  };
}

function notAllowed(gateway: KubernetesGateway, { metadata }: ListenerSet, settings: MeshSettings): Problem {
  const because = isIstiosIngress(gateway, settings)
    ? `does not allow ListenerSets of namespace ${metadata.namespace}`
    : `is of class ${gateway.spec.gatewayClassName}, which has no ListenerSets`;
  return {
    at,
    message: `${idOf(gateway)} ${because}, so it has none of these listeners`,
    related: [gateway],
    evidence: [gateway],
  };
}

function* ofListeners(gateway: KubernetesGateway, set: ListenerSet, mesh: View): Iterable<Problem> {
  const own = mesh.get(listenersOfGateway, gateway).byOwner.get(set) ?? [];
  const addresses = mesh.get(addressesOfGateway, gateway);
  for (const [i, one] of own.entries()) {
    if (one.leftOut === undefined) yield* unsupportedIn(one, i, gateway);
    const found =
      one.leftOut === undefined
        ? (closedPort(one.listener.port, addresses) ?? missingIn(one, set, mesh))
        : { because: one.leftOut };
    if (found === undefined) continue;
    const { because, ...more } = found;
    yield {
      at: ["spec", "listeners", i],
      message: `${idOf(gateway)} does not have listener ${one.listener.name}: ${because}`,
      key: `${one.listener.name} ${because}`,
      related: [gateway],
      evidence: [gateway],
      ...more,
    };
  }
}

function* unsupportedIn({ listener }: ListenerGateway, i: number, gateway: KubernetesGateway): Iterable<Problem> {
  for (const { i: place, kind, words } of unsupportedKinds(listener))
    yield {
      at: ["spec", "listeners", i, "allowedRoutes", "kinds", place],
      message: `Listener ${listener.name} ${words}`,
      key: `${listener.name} ${listener.protocol} ${kind}`,
      related: [gateway],
      evidence: [gateway],
      fix: fixOfKinds,
    };
}

function missingIn(one: ListenerGateway, set: ListenerSet, mesh: View) {
  const missing = missingCertificate(one, mesh.get(grantsForListenerSet, set));
  if (missing === undefined || (missing.needsGrant && !mesh.knows("ReferenceGrant"))) return undefined;
  const isGuess = missing.needsGrant && !mesh.knowsAll("ReferenceGrant");
  return { because: missing.because, ...(isGuess ? { guess: "all ReferenceGrants" } : {}) };
}
