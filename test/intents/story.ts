import { parseAllDocuments } from "yaml";

// The authorization story of a payment service: what is there, what must hold of it, and ten changes of ten kinds of objects, each
// of which ends it, with one of the same kind that does not. The end-to-end test sends the same to a real API server.

// oxlint-disable-next-line no-explicit-any -- manifests are changed field by field
type Raw = Record<string, any>;

/** The objects of a text of YAML documents. */
export const objectsIn = (text: string): readonly Raw[] =>
  parseAllDocuments(text).flatMap((document) => {
    const raw = document.toJS() as Raw | null;
    return raw === null ? [] : [raw];
  });

const deployment = (namespace: string, name: string, labels: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: ${name.replace(/-v\d$/, "")} } }
  template:
    metadata: { labels: { app: ${name.replace(/-v\d$/, "")}, ${labels} } }
    spec:
      serviceAccountName: ${name.replace(/-v\d$/, "")}
      containers: [{ name: app, image: "example.com/app:1", ports: [{ containerPort: 8080 }] }]
---`;
const service = (namespace: string, name: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: 8080, targetPort: 8080 }] }
---`;

/** Payments are posted by orders only, through a canary, and audited by the ledger. */
export const world: readonly Raw[] = objectsIn(`
apiVersion: v1
kind: Namespace
metadata: { name: payments, labels: { istio-injection: enabled, tier: restricted } }
---
apiVersion: v1
kind: Namespace
metadata: { name: orders, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: web, labels: { istio-injection: enabled } }
---${deployment("payments", "payments-api-v1", "version: v1")}${deployment("payments", "payments-api-v2", "version: v2")}${deployment("payments", "refunds", "version: v1")}${deployment("orders", "orders-api", "version: v1")}${deployment("web", "storefront", "version: v1")}${service("payments", "payments-api")}${service("payments", "refunds")}
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: payments-mtls, namespace: payments }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-all, namespace: payments }
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-orders-to-payments, namespace: payments }
spec:
  selector: { matchLabels: { app: payments-api } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: [cluster.local/ns/orders/sa/orders-api] } }]
      to: [{ operation: { methods: [POST], paths: ["/payments/*"] } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-storefront-to-refunds, namespace: payments }
spec:
  selector: { matchLabels: { app: refunds } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: [cluster.local/ns/web/sa/storefront] } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: payments-api, namespace: payments }
spec:
  host: payments-api
  subsets:
    - { name: v1, labels: { version: v1 } }
    - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: payments-api, namespace: payments }
spec:
  hosts: [payments-api]
  http:
    - route:
        - { destination: { host: payments-api, subset: v1 }, weight: 90 }
        - { destination: { host: payments-api, subset: v2 }, weight: 10 }
`);

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
    - from: [namespace/orders]
      expect: routed
      destinations: [{ subset: v1, atLeast: 80 }, { subset: v2 }]
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: restricted-namespaces, namespace: istio-system }
spec:
  to: { namespaces: { labels: { tier: restricted } } }
  requests:
    - from: [outside]
      expect: denied
`);
