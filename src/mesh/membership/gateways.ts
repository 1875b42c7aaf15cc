import type { ObjectOf } from "../../kube/object.ts";
import { index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { waypointClass } from "../objects/labels.ts";

export type KubernetesGateway = ObjectOf<"KubernetesGateway">;

/** A namespace and its Gateways of Istio's classes: waypoints and ingress gateways. */
export const gatewaysOfNamespace = relation(
  "gatewaysOfNamespace",
  namespaceByName,
  index("KubernetesGateway", ({ metadata, spec }) =>
    spec.gatewayClassName === waypointClass || spec.gatewayClassName === "istio" ? [metadata.namespace] : [],
  ),
);

/**
 * Istio's own classes that are not for waypoints. istiod would bind to any Gateway with an address, and classes of other
 * vendors can be waypoints.
 */
const ingressClasses: ReadonlySet<string> = new Set(["istio", "istio-remote", "istio-east-west"]);
export const isForIngress = ({ spec }: KubernetesGateway): boolean => ingressClasses.has(spec.gatewayClassName);
