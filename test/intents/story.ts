import { parseAllDocuments } from "yaml";

// The authorization story of a payment service: what is there, what must hold of it, and ten changes of ten kinds of objects, each
// of which ends it, with one of the same kind that does not. The end-to-end test sends the same to a real API server.

// oxlint-disable-next-line no-explicit-any -- manifests are changed field by field
export type Raw = Record<string, any>;

/** The objects of a text of YAML documents. */
export const objectsIn = (text: string): readonly Raw[] =>
  parseAllDocuments(text).flatMap((document) => {
    const raw = document.toJS() as Raw | null;
    return raw === null ? [] : [raw];
  });

/** The app of a Deployment is its name without the version. */
export const deployment = (namespace: string, name: string, labels = ""): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: ${name.replace(/-v\d$/, "")} } }
  template:
    metadata: { labels: { app: ${name.replace(/-v\d$/, "")}${labels === "" ? "" : `, ${labels}`} } }
    spec:
      serviceAccountName: ${name.replace(/-v\d$/, "")}
      containers: [{ name: app, image: "example.com/app:1", ports: [{ containerPort: 8080 }] }]
---`;
export const service = (namespace: string, name: string): string => `
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
---
apiVersion: v1
kind: Namespace
metadata: { name: ledger, labels: { istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint } }
---
apiVersion: v1
kind: Namespace
metadata: { name: reports, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: ledger }
spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ledger-may-append, namespace: ledger }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }]
  rules:
    - from: [{ source: { namespaces: [ledger] } }]
      to: [{ operation: { methods: [POST] } }]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: default, namespace: orders }
spec: { egress: [{ hosts: ["./*", payments/*] }] }
---${deployment("ledger", "journal", "version: v1")}${deployment("reports", "reader", "version: v1")}${service("ledger", "journal")}${deployment("payments", "payments-api-v1", "version: v1")}${deployment("payments", "payments-api-v2", "version: v2")}${deployment("payments", "refunds", "version: v1")}${deployment("orders", "orders-api", "version: v1")}${deployment("web", "storefront", "version: v1")}${service("payments", "payments-api")}${service("payments", "refunds")}
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
    - from: [deployment/orders/orders-api]
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
metadata: { name: reports-do-not-reach-the-journal, namespace: ledger }
spec:
  to: { service: journal }
  requests:
    - from: [namespace/reports]
      expect: denied
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

/** What each message about a broken intent has: a request, its callers, and an object that decides what becomes of it. */
export const witness =
  /must be .*: (GET|POST) \/\S* from \S.* (would|is) .*\b[A-Z][A-Za-z]+ [a-z][a-z0-9-]*\/[a-z][a-z0-9-]*/;

/** A change that ends an intent, and a harmless one of the same kind of object. */
export interface StoryChange {
  readonly kind: string;
  readonly breaking: Raw;
  /** Set if the breaking change deletes the object. */
  readonly isDeletion?: true;
  readonly harmless: Raw;
  /** What the message of the denial has. */
  readonly message: RegExp;
}

interface ObjectChange {
  readonly kind: string;
  readonly name: string;
  readonly change: (raw: Raw) => void;
}

/** The last object of this kind and name, changed. */
export function changedIn(objects: readonly Raw[], { kind, name, change }: ObjectChange): Raw {
  const raw = structuredClone(objects.findLast((one) => one["kind"] === kind && one["metadata"].name === name)) as Raw;
  change(raw);
  return raw;
}
const changed = (kind: string, name: string, change: (raw: Raw) => void): Raw =>
  changedIn(world, { kind, name, change });
const only = (text: string): Raw => objectsIn(text)[0] as Raw;

export const changes: readonly StoryChange[] = [
  {
    kind: "AuthorizationPolicy",
    breaking: only(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-web, namespace: payments }
spec: { rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }] }`),
    harmless: only(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-web, namespace: payments }
spec:
  selector: { matchLabels: { app: refunds } }
  rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }]`),
    message:
      /others must be denied: GET \/ from namespace web would be allowed, by AuthorizationPolicy payments\/allow-web rule 1/,
  },
  {
    kind: "PeerAuthentication",
    breaking: changed("PeerAuthentication", "payments-mtls", ({ spec }) => {
      spec.mtls.mode = "PERMISSIVE";
    }),
    harmless: changed("PeerAuthentication", "payments-mtls", ({ spec }) => {
      spec.selector = undefined;
    }),
    message:
      /must be encrypted: GET \/ from callers without an identity would be sent in plaintext, which mode PERMISSIVE accepts/,
  },
  {
    kind: "DestinationRule",
    breaking: changed("DestinationRule", "payments-api", ({ spec }) => {
      spec.trafficPolicy = { tls: { mode: "DISABLE" } };
    }),
    harmless: changed("DestinationRule", "payments-api", ({ spec }) => {
      spec.trafficPolicy = { connectionPool: { tcp: { maxConnections: 100 } } };
    }),
    message: /must be allowed: POST \/payments\/ from service account orders\/orders-api would be refused/,
  },
  {
    kind: "VirtualService",
    breaking: changed("VirtualService", "payments-api", ({ spec }) => {
      spec.http[0].route[0].weight = 60;
      spec.http[0].route[1].weight = 40;
    }),
    harmless: changed("VirtualService", "payments-api", ({ spec }) => {
      spec.http[0].route[0].weight = 85;
      spec.http[0].route[1].weight = 15;
    }),
    message: /with 60% of the requests, where at least 80% are expected/,
  },
  {
    kind: "Deployment, the labels of its pods",
    breaking: changed("Deployment", "payments-api-v2", ({ spec }) => {
      spec.template.metadata.labels["sidecar.istio.io/inject"] = "false";
    }),
    harmless: changed("Deployment", "payments-api-v2", ({ spec }) => {
      spec.template.metadata.labels.team = "payments";
    }),
    message: /from callers without an identity would be allowed, because nothing enforces policies there/,
  },
  {
    kind: "Deployment, its service account",
    breaking: changed("Deployment", "orders-api", ({ spec }) => {
      spec.template.spec.serviceAccountName = "default";
    }),
    harmless: changed("Deployment", "storefront", ({ spec }) => {
      spec.template.spec.serviceAccountName = "default";
    }),
    message: /must be allowed: POST \/payments\/ from service account orders\/default would be denied/,
  },
  {
    kind: "Namespace",
    breaking: changed("Namespace", "payments", ({ metadata }) => {
      metadata.labels["istio-injection"] = "disabled";
    }),
    harmless: changed("Namespace", "payments", ({ metadata }) => {
      metadata.labels.team = "payments";
    }),
    message: /MeshwardIntent istio-system\/restricted-namespaces: Requests from outside must be denied/,
  },
  {
    kind: "Service",
    breaking: changed("Service", "payments-api", ({ spec }) => {
      spec.selector.app = "refunds";
    }),
    harmless: changed("Service", "payments-api", ({ spec }) => {
      spec.ports.push({ name: "http-metrics", port: 9090, targetPort: 9090 });
    }),
    message: /must be (allowed|denied)/,
  },
  {
    kind: "Sidecar",
    breaking: changed("Sidecar", "default", ({ spec }) => {
      spec.egress[0].hosts = ["./*"];
    }),
    harmless: changed("Sidecar", "default", ({ spec }) => {
      spec.egress[0].hosts.push("ledger/*");
    }),
    message: /must be/,
  },
  {
    kind: "Gateway, a waypoint",
    breaking: changed("Gateway", "waypoint", () => undefined),
    isDeletion: true,
    harmless: changed("Gateway", "waypoint", ({ metadata }) => {
      metadata.labels = { team: "ledger" };
    }),
    message: /namespace\/reports must be denied: GET \/ from namespace reports would be allowed/,
  },
];
