import type { ObjectOf } from "../../kube/object.ts";
import { index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { waypointClass } from "../objects/labels.ts";

export type KubernetesGateway = ObjectOf<"KubernetesGateway">;

/** A namespace and the gateways in it that Istio runs: waypoints, and those of its class for ingress. */
export const gatewaysOfNamespace = relation(
  "gatewaysOfNamespace",
  namespaceByName,
  index("KubernetesGateway", ({ metadata, spec }) =>
    spec.gatewayClassName === waypointClass || spec.gatewayClassName === "istio" ? [metadata.namespace] : [],
  ),
);

/**
 * Istio's own classes that are for something else. istiod itself would bind any Gateway that has an address; classes
 * of other vendors may well be waypoints.
 */
const ingressClasses: ReadonlySet<string> = new Set(["istio", "istio-remote", "istio-east-west"]);
export const isForIngress = ({ spec }: KubernetesGateway): boolean => ingressClasses.has(spec.gatewayClassName);
