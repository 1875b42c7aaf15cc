import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type Index, index } from "../../view/view.ts";
import { labelsOfGatewayPods } from "../membership/gateways.ts";
import { matchLabelsOf } from "../objects/selectors.ts";
import { keysOfSelector, labelKeys } from "../traffic/virtual-service-clients.ts";

type PolicyKind = "AuthorizationPolicy" | "RequestAuthentication";

/** Where policies of one kind may be attached to ingress gateways. */
interface ByPlace<K extends PolicyKind> {
  /** By their namespace. */
  readonly namespace: Index<K>;
  /** Those of the root namespace by a label of their selector, which is for the pods of all namespaces. */
  readonly meshWideLabel: Index<K>;
}

/** `counts`: which policies the indexes have. */
export const policiesAtGateways = <K extends PolicyKind>(
  kind: K,
  counts: (policy: ObjectOf<K>, settings: MeshSettings) => boolean,
): ByPlace<K> => ({
  namespace: index(kind, (one, settings) => (counts(one, settings) ? [one.metadata.namespace] : [])),
  meshWideLabel: index(kind, (one, settings) =>
    one.metadata.namespace === settings.rootNamespace && counts(one, settings)
      ? keysOfSelector(matchLabelsOf(one))
      : [],
  ),
});

/** Gateways of any namespace by the labels of their pods, as `meshWideLabel` has them. */
export const gatewaysByPodLabel = index("KubernetesGateway", (gateway, settings) =>
  labelKeys(labelsOfGatewayPods(gateway, settings)),
);
