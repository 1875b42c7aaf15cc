import { egressGateway } from "./egress.ts";
import { deployment, objectsIn, type Raw, service } from "./story.ts";

// A bank: an entrance, namespaces with sidecars and in ambient mode, a waypoint, a database and a network outside the mesh, an
// egress gateway, a canary and tokens; and what must hold there.

const namespace = (name: string, labels: string): string => `
apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { ${labels} } }
---`;
const sidecar = "istio-injection: enabled";
const ambient = "istio.io/dataplane-mode: ambient";

const gatewayPods = (where: string, name: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${where} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: ${name}, containers: [{ name: istio-proxy, image: auto }] }
---`;

const infrastructure = `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "outboundTrafficPolicy: { mode: REGISTRY_ONLY }" }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
---
apiVersion: v1
kind: Service
metadata: { name: entrance, namespace: edge }
spec: { selector: { app: entrance }, ports: [{ name: https, port: 443, targetPort: 8443 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: bank, namespace: edge }
spec:
  selector: { app: entrance }
  servers: [{ port: { number: 443, name: https, protocol: HTTPS }, hosts: [bank.example.com], tls: { mode: SIMPLE, credentialName: bank } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bank, namespace: web }
spec:
  hosts: [bank.example.com]
  gateways: [edge/bank]
  http: [{ route: [{ destination: { host: storefront, port: { number: 8080 } } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: storefront-by-entrance, namespace: web }
spec:
  selector: { matchLabels: { app: storefront } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/edge/sa/entrance] } }]
      to: [{ operation: { notPaths: ["/admin*"] } }]
---`;

const accounts = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: accounts, namespace: accounts }
spec:
  selector: { matchLabels: { app: accounts } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/web/sa/storefront] } }]
      to: [{ operation: { methods: [GET], paths: ["/accounts/*"] } }]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: default, namespace: web }
spec: { egress: [{ hosts: ["./*", "accounts/*", "payments/*", "customers/*", "infra/*"] }] }
---`;

const payments = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: payments, namespace: payments }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: payments, namespace: payments }
spec:
  rules:
    - from: [{ source: { namespaces: [web, accounts] } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: payments, namespace: payments }
spec:
  host: payments
  subsets:
    - { name: stable, labels: { version: v1 } }
    - { name: canary, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: payments, namespace: payments }
spec:
  hosts: [payments]
  http:
    - route:
        - { destination: { host: payments, subset: stable }, weight: 95 }
        - { destination: { host: payments, subset: canary }, weight: 5 }
---`;

const ledger = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: ledger }
spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: journal, namespace: ledger }
spec:
  targetRefs: [{ group: "", kind: Service, name: journal }]
  rules:
    - from: [{ source: { principals: [cluster.local/ns/risk/sa/scorer] } }]
      to: [{ operation: { methods: [GET] } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: journal-by-waypoint, namespace: ledger }
spec:
  selector: { matchLabels: { app: journal } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/ledger/sa/waypoint] } }]
---`;

const risk = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: scorer, namespace: risk }
spec:
  selector: { matchLabels: { app: scorer } }
  rules:
    - from: [{ source: { namespaces: [ledger] } }]
      to: [{ operation: { ports: ["8080"] } }]
---`;

const customers = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: staff, namespace: customers }
spec: { jwtRules: [{ issuer: "https://staff.example", jwksUri: "https://staff.example/jwks" }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: customers, namespace: customers }
spec:
  selector: { matchLabels: { app: customers } }
  rules:
    - from: [{ source: { namespaces: [web], requestPrincipals: ["https://staff.example/*"] } }]
      when: [{ key: "request.auth.claims[role]", values: [teller, manager] }]
---`;

const outside = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: database, namespace: accounts }
spec:
  hosts: [db.bank.internal]
  addresses: [10.200.0.5]
  exportTo: [".", payments]
  resolution: STATIC
  endpoints: [{ address: 10.200.0.5 }]
  ports: [{ number: 5432, name: tls-postgres, protocol: TLS }]
---`;

/** Sidecars refuse hosts that they do not know. */
export const world: readonly Raw[] = objectsIn(
  [
    ...[
      namespace("istio-system", "team: mesh"),
      namespace("edge", sidecar),
      namespace("web", sidecar),
      namespace("accounts", `${sidecar}, tier: restricted`),
      namespace("payments", sidecar),
      namespace("customers", sidecar),
      namespace("builds", sidecar),
      namespace("infra", sidecar),
      namespace("ledger", `${ambient}, istio.io/use-waypoint: waypoint, tier: restricted`),
      namespace("risk", ambient),
      namespace("batch", "team: batch"),
    ],
    gatewayPods("edge", "entrance"),
    ...[
      deployment("web", "storefront", "version: v1"),
      deployment("accounts", "accounts", "version: v1"),
      deployment("accounts", "archive", "version: v1"),
      deployment("payments", "payments-v1", "version: v1"),
      deployment("payments", "payments-v2", "version: v2"),
      deployment("payments", "legacy", 'version: v1, sidecar.istio.io/inject: "false"'),
      deployment("customers", "customers", "version: v1"),
      deployment("builds", "runner", "version: v1"),
      deployment("ledger", "journal", "version: v1"),
      deployment("risk", "scorer", "version: v1"),
      deployment("batch", "nightly", "version: v1"),
    ],
    ...[
      service("web", "storefront"),
      service("accounts", "accounts"),
      service("payments", "payments"),
      service("customers", "customers"),
      service("ledger", "journal"),
      service("risk", "scorer"),
    ],
    ...[infrastructure, accounts, payments, ledger, risk, customers, outside, egressGateway],
  ].join(""),
);

const intent = (where: string, name: string, spec: string): string => `
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: ${name}, namespace: ${where} }
spec:${spec}
---`;

export const intents: readonly Raw[] = objectsIn(
  [
    intent(
      "web",
      "bank-is-open",
      `
  to: { service: storefront }
  requests:
    - from: [outside]
      hosts: [bank.example.com]
      notPaths: ["/admin*"]
      expect: allowed
    - from: [others]
      expect: denied`,
    ),
    intent(
      "web",
      "no-administration-from-outside",
      `
  to: { service: storefront }
  requests:
    - from: [outside, ingress]
      hosts: [bank.example.com]
      paths: ["/admin*"]
      expect: denied`,
    ),
    intent(
      "accounts",
      "accounts-are-read-by-the-storefront",
      `
  to: { service: accounts, ports: [8080] }
  requests:
    - from: [serviceaccount/web/storefront]
      methods: [GET]
      paths: ["/accounts/*"]
      expect: allowed
    - from: [others]
      expect: denied`,
    ),
    intent(
      "payments",
      "payments-are-encrypted",
      `
  to: { service: payments }
  requests:
    - from: [mesh, outside]
      expect: encrypted`,
    ),
    intent(
      "payments",
      "most-payments-are-stable",
      `
  to: { service: payments }
  requests:
    - from: [namespace/web, namespace/accounts]
      expect: routed
      destinations: [{ subset: stable, atLeast: 90 }, { subset: canary }]
    - from: [namespace/web]
      expect: allowed`,
    ),
    intent(
      "ledger",
      "journal-is-read-by-risk",
      `
  to: { service: journal }
  requests:
    - from: [deployment/risk/scorer]
      methods: [GET]
      expect: allowed
    - from: [namespace/risk]
      notMethods: [GET]
      expect: denied
    - from: [others]
      expect: denied`,
    ),
    intent(
      "ledger",
      "journal-pods-take-requests-from-the-waypoint-only",
      `
  to: { workloads: { app: journal } }
  requests:
    - from: [namespace/risk, namespace/web, outside]
      expect: denied`,
    ),
    intent(
      "customers",
      "tellers-see-customers",
      `
  to: { service: customers }
  requests:
    - from: [namespace/web]
      requestPrincipals: ["https://staff.example/*"]
      claims: { role: [teller] }
      expect: allowed
    - from: [mesh]
      notRequestPrincipals: ["*"]
      expect: denied`,
    ),
    intent(
      "accounts",
      "the-database-is-for-accounts-and-payments",
      `
  to: { host: db.bank.internal, ports: [5432] }
  requests:
    - from: [namespace/accounts, namespace/payments]
      expect: allowed
    - from: [namespace/accounts]
      expect: encrypted
    - from: [namespace/web, namespace/customers]
      expect: denied`,
    ),
    intent(
      "builds",
      "artifacts-by-egress",
      `
  to: { host: artifacts.example.com, ports: [80] }
  requests:
    - from: [serviceaccount/builds/runner]
      expect: allowed
    - from: [namespace/web]
      expect: denied
    - from: [namespace/builds, namespace/web]
      expect: routed
      destinations: [{ service: egress.infra }]`,
    ),
    intent(
      "istio-system",
      "restricted-namespaces",
      `
  to: { namespaces: { labels: { tier: restricted } } }
  requests:
    - from: [outside]
      expect: denied`,
    ),
  ].join(""),
);
