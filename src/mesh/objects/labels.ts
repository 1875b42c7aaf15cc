// Labels, annotations and names by which Istio is told what to do, each written once.

/** Of a namespace or a pod: `ambient`, or `none` (Istio cni/pkg/util/enablement_selector.go). */
export const dataplaneMode = "istio.io/dataplane-mode";
/** Of a namespace: `enabled` or `disabled`. */
export const injectionLabel = "istio-injection";
/** Of a namespace or a pod the revision that injects it; of Istio's own objects the one that reads them. */
export const revisionLabel = "istio.io/rev";
/** What a namespace is enrolled by. */
export const enrollmentLabels = [dataplaneMode, injectionLabel, revisionLabel] as const;
/** Of a pod, as a label or an annotation: whether it gets a sidecar. */
export const injectSidecar = "sidecar.istio.io/inject";
/** An annotation that the injector leaves on a pod. */
export const sidecarStatus = "sidecar.istio.io/status";

export const useWaypoint = "istio.io/use-waypoint";
export const useWaypointNamespace = "istio.io/use-waypoint-namespace";
/** Of a waypoint: `service`, `workload`, `all` or `none`. */
export const waypointFor = "istio.io/waypoint-for";
/** The GatewayClass of waypoints. */
export const waypointClass = "istio-waypoint";
export const gatewayApiGroup = "gateway.networking.k8s.io";
/** On what istiod makes for a Gateway of the Gateway API. */
export const managedGateway = "gateway.istio.io/managed";
export const gatewayNameLabel = "gateway.networking.k8s.io/gateway-name";
