import { changedIn, deployment, objectsIn, type Raw, type StoryChange, service } from "./story.ts";

// Payments in an ambient mesh, built step by step as a team would apply it: the namespaces, mTLS, the authorization, a canary,
// retries, traces and an entrance. The intents are written as soon as they hold, and every later step keeps them.

const namespaces = (labels: string): string =>
  ["payments", "orders", "web"]
    .map((name) => `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${name}${labels} }\n---\n`)
    .join("");

/** What is there before the first step: nothing of it is in the mesh. */
export const start: readonly Raw[] = objectsIn(
  `apiVersion: v1\nkind: Namespace\nmetadata: { name: istio-system }\n---\n${namespaces("")}${[
    deployment("payments", "payments-api-v1", "version: v1"),
    deployment("payments", "payments-api-v2", "version: v2"),
    deployment("orders", "orders-api"),
    deployment("web", "storefront"),
    service("payments", "payments-api"),
    service("orders", "orders-api"),
  ].join("")}`,
);

export interface Step {
  readonly name: string;
  /** Applied in this order. */
  readonly objects: readonly Raw[];
}

const step = (name: string, text: string): Step => ({ name, objects: objectsIn(text) });

/** Until the intents hold. */
export const first: readonly Step[] = [
  step("the namespaces join the mesh", namespaces(", labels: { istio.io/dataplane-mode: ambient }")),
  step(
    "mTLS is required, in the mesh and in payments",
    `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: payments-mtls, namespace: payments }
spec: { mtls: { mode: STRICT } }`,
  ),
  step(
    "payments gets a waypoint",
    `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: payments }
spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
---
apiVersion: v1
kind: Namespace
metadata: { name: payments, labels: { istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint } }`,
  ),
  step(
    "only orders posts payments",
    `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-waypoint, namespace: payments }
spec:
  selector: { matchLabels: { app: payments-api } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/payments/sa/waypoint] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-orders-to-payments, namespace: payments }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }]
  action: ALLOW
  rules:
    - from: [{ source: { principals: [cluster.local/ns/orders/sa/orders-api] } }]
      to: [{ operation: { methods: [POST], paths: ["/payments/*"] } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-all, namespace: payments }
spec: {}`,
  ),
];

export const intents: readonly Raw[] = objectsIn(`
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: payments-are-posted-by-orders, namespace: payments }
spec:
  to: { service: payments-api, ports: [8080] }
  requests:
    - from: [serviceaccount/orders/orders-api]
      methods: [POST]
      paths: [/payments/*]
      expect: allowed
    - from: [others]
      expect: denied
    - from: [mesh, outside]
      expect: encrypted
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: pods-take-requests-from-the-waypoint-only, namespace: payments }
spec:
  to: { workloads: { app: payments-api } }
  requests:
    - from: [namespace/orders, namespace/web, outside]
      expect: denied
`);

/** Each keeps the intents. */
export const later: readonly Step[] = [
  step(
    "a canary of another application",
    `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: orders-api, namespace: orders }
spec: { host: orders-api, subsets: [{ name: all, labels: { app: orders-api } }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: orders-api, namespace: orders }
spec: { hosts: [orders-api], http: [{ route: [{ destination: { host: orders-api, subset: all } }] }] }`,
  ),
  step(
    "a canary of payments, with limits of its connections",
    `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: payments-api, namespace: payments }
spec:
  host: payments-api
  trafficPolicy:
    connectionPool: { tcp: { maxConnections: 100 }, http: { http1MaxPendingRequests: 50, http2MaxRequests: 100 } }
    outlierDetection: { consecutiveGatewayErrors: 5, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 50 }
  subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: payments-api, namespace: payments }
spec:
  hosts: [payments-api]
  http:
    - route:
        - { destination: { host: payments-api, subset: v1 }, weight: 90 }
        - { destination: { host: payments-api, subset: v2 }, weight: 10 }`,
  ),
  step(
    "timeouts and retries",
    `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: payments-api, namespace: payments }
spec:
  hosts: [payments-api]
  http:
    - timeout: 10s
      retries: { attempts: 3, perTryTimeout: 3s, retryOn: "connect-failure,reset" }
      route:
        - { destination: { host: payments-api, subset: v1 }, weight: 90 }
        - { destination: { host: payments-api, subset: v2 }, weight: 10 }`,
  ),
  step(
    "traces",
    `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: payments-tracing, namespace: payments }
spec: { tracing: [{ randomSamplingPercentage: 10 }] }`,
  ),
  step(
    "an entrance with a route that the policies refuse",
    `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: istio-system }
spec:
  gatewayClassName: istio
  listeners: [{ name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: payments, namespace: payments }
spec:
  parentRefs: [{ name: public, namespace: istio-system }]
  hostnames: [pay.example]
  rules: [{ matches: [{ path: { type: PathPrefix, value: /v1 } }], backendRefs: [{ name: payments-api, port: 8080 }] }]`,
  ),
];

const every = [...start, ...[...first, ...later].flatMap(({ objects }) => objects)];
const changed = (kind: string, name: string, change: (raw: Raw) => void): Raw =>
  changedIn(every, { kind, name, change });

/** Changes of one kind of object each, after all steps. */
export const pairs: readonly StoryChange[] = [
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "allow-orders-to-payments", ({ spec }) => {
      spec.rules[0].from[0].source = { namespaces: ["orders", "web"] };
    }),
    harmless: changed("AuthorizationPolicy", "allow-orders-to-payments", ({ spec }) => {
      spec.rules[0].from[0].source.principals.push("cluster.local/ns/orders/sa/orders-api");
      spec.rules[0].to.push({ operation: { methods: ["POST"], paths: ["/payments/refunds/*"] } });
    }),
    message:
      /others must be denied: POST \/payments\/ from .* would be allowed, by AuthorizationPolicy payments\/allow-orders-to-payments rule 1/,
  },
  {
    kind: "PeerAuthentication",
    breaking: changed("PeerAuthentication", "payments-mtls", ({ spec }) => {
      spec.mtls.mode = "PERMISSIVE";
    }),
    harmless: changed("PeerAuthentication", "payments-mtls", ({ metadata }) => {
      metadata.labels = { team: "payments" };
    }),
    message: /must be encrypted: .* would be sent in plaintext/,
  },
  {
    kind: "DestinationRule",
    breaking: changed("DestinationRule", "payments-api", ({ spec }) => {
      spec.subsets.pop();
    }),
    harmless: changed("DestinationRule", "payments-api", ({ spec }) => {
      spec.trafficPolicy.connectionPool.tcp.maxConnections = 200;
    }),
    message: /must be allowed: POST \/payments\/ .* would reach nothing: subset "v2"/,
  },
  {
    kind: "VirtualService",
    breaking: changed("VirtualService", "payments-api", ({ spec }) => {
      spec.http[0].route[1].destination.host = "payment-api";
    }),
    harmless: changed("VirtualService", "payments-api", ({ spec }) => {
      spec.http[0].route[0].weight = 50;
      spec.http[0].route[1].weight = 50;
    }),
    message: /must be allowed: POST \/payments\/ .* would reach nothing/,
  },
  {
    kind: "Deployment, the labels of its pods",
    breaking: changed("Deployment", "payments-api-v1", ({ spec }) => {
      spec.template.metadata.labels["istio.io/dataplane-mode"] = "none";
    }),
    harmless: changed("Deployment", "payments-api-v1", ({ spec }) => {
      spec.template.metadata.labels.team = "payments";
    }),
    message: /must be (denied|encrypted)/,
  },
  {
    kind: "Namespace",
    breaking: changed("Namespace", "payments", ({ metadata }) => {
      delete metadata.labels["istio.io/use-waypoint"];
    }),
    harmless: changed("Namespace", "payments", ({ metadata }) => {
      metadata.labels.team = "payments";
    }),
    message: /orders-api must be allowed: POST \/payments\/ from service account orders\/orders-api would be denied/,
  },
  {
    kind: "Service",
    breaking: changed("Service", "payments-api", ({ spec }) => {
      spec.selector.app = "payment-api";
    }),
    harmless: changed("Service", "payments-api", ({ spec }) => {
      spec.ports.push({ name: "http-metrics", port: 9090, targetPort: 9090 });
    }),
    message: /must be allowed/,
  },
  {
    kind: "Gateway, the waypoint",
    breaking: changed("Gateway", "waypoint", () => undefined),
    isDeletion: true,
    harmless: changed("Gateway", "waypoint", ({ metadata }) => {
      metadata.labels = { team: "payments" };
    }),
    message: /orders-api must be allowed/,
  },
];
