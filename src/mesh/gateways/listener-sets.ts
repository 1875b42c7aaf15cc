import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { hasClassOfIstio, isIstiosIngress, type KubernetesGateway } from "../membership/gateways.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import { selectsByExpression } from "../objects/selectors.ts";
import { type ListenerGateway, type ListenerOwner, type ListenerSet, listenersWithSets } from "./listener-gateways.ts";

/** The Gateway to which a set adds listeners, as `namespace/name`; undefined: its parent is no Gateway. */
export function gatewayNamedBy({ metadata, spec: { parentRef } }: ListenerSet): string | undefined {
  const { group = "gateway.networking.k8s.io", kind = "Gateway", namespace, name } = parentRef;
  const isGateway = group === "gateway.networking.k8s.io" && kind === "Gateway";
  return isGateway ? `${namespace || metadata.namespace}/${name}` : undefined;
}

/** A ListenerSet and the Gateway that it names as its parent. */
export const gatewayOfListenerSet = relation(
  "gatewayOfListenerSet",
  index("ListenerSet", (set) => {
    const gateway = gatewayNamedBy(set);
    return gateway === undefined ? [] : [gateway];
  }),
  kubernetesGatewayByName,
);

/** A Gateway of the Gateway API and the ListenerSets that name it as their parent, whether it allows them or not. */
export const listenerSetsOfGateway = relation(
  "listenerSetsOfGateway",
  gatewayOfListenerSet.to,
  gatewayOfListenerSet.from,
);

/** A ListenerSet and its namespace, whose labels can decide whether the Gateway allows it. */
export const namespaceOfListenerSet = relation(
  "namespaceOfListenerSet",
  index("ListenerSet", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

/**
 * Of Istio's classes only those of ingress gateways have ListenerSets; about other classes another controller decides (Istio
 * pilot/pkg/config/kube/gatewaycommon/classinfo.go SupportsListenerSet).
 */
const supportsListenerSets = (gateway: KubernetesGateway, settings: MeshSettings): boolean =>
  isIstiosIngress(gateway, settings) || !hasClassOfIstio(gateway, settings);

/** The namespaces whose ListenerSets a Gateway allows. Without `from`, a selector decides. */
function allowedFrom({ spec: { allowedListeners } }: KubernetesGateway): "All" | "Same" | "Selector" | "None" {
  const { from = "Selector", selector } = allowedListeners?.namespaces ?? {};
  if (from === "Selector") return selector === undefined ? "None" : from;
  return from === "All" || from === "Same" ? from : "None";
}

/** Whether ListenerSets of some namespace can add listeners to a Gateway. */
export const canHaveListenerSets = (gateway: KubernetesGateway, settings: MeshSettings): boolean =>
  supportsListenerSets(gateway, settings) && allowedFrom(gateway) !== "None";

/**
 * Whether a Gateway has the listeners of a set that names it; undefined: the labels of the set's namespace are not known (Istio
 * pilot/pkg/config/kube/gatewaycommon/gateway_utils.go NamespaceAcceptedByAllowListeners).
 */
export function allowsListenerSet(
  gateway: KubernetesGateway,
  set: ListenerSet,
  mesh: MeshView<typeof namespaceOfListenerSet>,
): boolean | undefined {
  if (!canHaveListenerSets(gateway, mesh.settings)) return false;
  const from = allowedFrom(gateway);
  if (from === "Same") return set.metadata.namespace === gateway.metadata.namespace;
  const selector = gateway.spec.allowedListeners?.namespaces?.selector;
  if (from === "All" || selector === undefined) return true;
  const [namespace] = mesh.related(namespaceOfListenerSet, set);
  if (namespace === undefined || namespace.implied) return undefined;
  const { name, labels } = namespace.metadata;
  return selectsByExpression(selector, { ...labels, "kubernetes.io/metadata.name": name });
}

/** All listeners at the proxies of a Gateway. */
export interface ListenersOfGateway {
  readonly all: readonly ListenerGateway[];
  /** The same by what they are written in. A Gateway can have very many ListenerSets. */
  readonly byOwner: ReadonlyMap<ListenerOwner, readonly ListenerGateway[]>;
  /** Why there can be listeners beside these; undefined: there are none. */
  readonly others: string | undefined;
}

const withOwners = (all: readonly ListenerGateway[]): Pick<ListenersOfGateway, "all" | "byOwner"> => ({
  all,
  byOwner: new Map(all.map(({ owner, siblings }) => [owner, siblings])),
});

/**
 * The listeners of a Gateway and those of the ListenerSets that it allows (Istio pilot/pkg/config/kube/gateway/gateway_collection.go
 * ListenerSetCollection, GatewayCollection).
 */
export const listenersOfGateway = fact(
  "listenersOfGateway",
  "KubernetesGateway",
  [listenerSetsOfGateway, namespaceOfListenerSet],
  (gateway, mesh): ListenersOfGateway => {
    if (!canHaveListenerSets(gateway, mesh.settings))
      return { ...withOwners(listenersWithSets(gateway, [], mesh.settings)), others: undefined };
    const sets = mesh.related(listenerSetsOfGateway, gateway);
    mesh.visited(sets.length);
    const uncertain = sets.find((set) => allowsListenerSet(gateway, set, mesh) === undefined);
    const allowed = sets.filter((set) => allowsListenerSet(gateway, set, mesh) === true);
    return {
      ...withOwners(listenersWithSets(gateway, allowed, mesh.settings)),
      others: mesh.knows("ListenerSet")
        ? uncertain && `whether ${idOf(gateway)} allows ${idOf(uncertain)} depends on labels that are not known`
        : `${idOf(gateway)} lets ListenerSets add listeners, and these are not known`,
    };
  },
);
