// Labels, annotations and names that configure Istio. Each constant is defined only here.

/** Label of a namespace or a pod: `ambient` or `none` (Istio cni/pkg/util/enablement_selector.go). */
export const dataplaneMode = "istio.io/dataplane-mode";
/** Label of a namespace: `enabled` or `disabled`. */
export const injectionLabel = "istio-injection";
/** On a namespace or a pod, the revision that injects it; on an Istio object, the revision that reads it. */
export const revisionLabel = "istio.io/rev";
/** The labels that enroll a namespace. */
export const enrollmentLabels = [dataplaneMode, injectionLabel, revisionLabel] as const;
/** Label or annotation of a pod: whether it gets a sidecar. */
export const injectSidecar = "sidecar.istio.io/inject";
/** The annotation that the injector sets on an injected pod. */
export const sidecarStatus = "sidecar.istio.io/status";
/** Annotation of a pod: the templates that the injector uses for it. */
export const injectTemplates = "inject.istio.io/templates";

export const useWaypoint = "istio.io/use-waypoint";
/** Label of a Service or a namespace: whether ingress gateways send requests through the waypoint. */
export const ingressUseWaypoint = "istio.io/ingress-use-waypoint";
export const useWaypointNamespace = "istio.io/use-waypoint-namespace";
/** Labels of a Service, a ServiceEntry or a namespace: a second waypoint, for a share of the connections. */
export const useWaypointCanary = "istio.io/use-waypoint-canary";
export const useWaypointCanaryNamespace = "istio.io/use-waypoint-canary-namespace";
/** Annotation: that share, in percent. */
export const canaryWeight = "istio.io/use-waypoint-canary-weight";
/** Label of a waypoint, or of its GatewayClass: `service`, `workload`, `all` or `none`. */
export const waypointFor = "istio.io/waypoint-for";
/** Annotation of a waypoint, or of its GatewayClass: how its proxies take requests, if not as ztunnel sends them. */
export const inboundBinding = "ambient.istio.io/waypoint-inbound-binding";
/** The GatewayClass of waypoints. */
export const waypointClass = "istio-waypoint";
/** The annotation of a Gateway of the Gateway API with the service account of its pods. */
export const gatewayServiceAccount = "gateway.istio.io/service-account";
export const gatewayApiGroup = "gateway.networking.k8s.io";
/** The label on workloads that istiod creates for a Gateway of the Gateway API. */
export const managedGateway = "gateway.istio.io/managed";
/** The annotation with the value `gateway` on what istiod makes of routes of the Gateway API (Istio pkg/config/constants InternalRouteSemantics). */
export const routeSemantics = "internal.istio.io/route-semantics";
export const gatewayNameLabel = "gateway.networking.k8s.io/gateway-name";

/**
 * Labels that no template has: Kubernetes' controllers, Argo Rollouts and Istio's injector (pkg/kube/inject) set them on pods, and so
 * do the operator of Postgres by Zalando, that of Redis by Spotahome, and Vault, which say with them what a pod is at the moment.
 */
export const givenLabels: ReadonlySet<string> = new Set([
  "apps.kubernetes.io/pod-index",
  "batch.kubernetes.io/controller-uid",
  "batch.kubernetes.io/job-name",
  "controller-revision-hash",
  "controller-uid",
  "job-name",
  "pod-template-hash",
  "redisfailovers-role",
  "rollouts-pod-template-hash",
  "security.istio.io/tlsMode",
  "service.istio.io/canonical-name",
  "service.istio.io/canonical-revision",
  "spilo-role",
  "statefulset.kubernetes.io/pod-name",
  "vault-active",
  "vault-initialized",
  "vault-perf-standby",
  "vault-sealed",
]);

/**
 * The label by which Patroni says what a pod of its StatefulSet is at the moment. Applications have labels of this name in their
 * templates, too, so that others than these values are theirs.
 */
export const roleLabel = "role";
export const rolesAtRunTime: ReadonlySet<string> = new Set(["master", "primary", "replica", "standby_leader"]);
