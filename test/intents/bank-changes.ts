import { intents, world } from "./bank.ts";
import { changedIn, objectsIn, type Raw } from "./story.ts";

// For each intent of the bank, changes of several kinds of objects that end it, each with one of the same kind that does not.

export interface BankChange {
  /** The intent that it ends. */
  readonly intent: string;
  readonly kind: string;
  readonly breaking: Raw;
  /** Set if the breaking change deletes the object. */
  readonly isDeletion?: true;
  readonly harmless: Raw;
  /** What the message says: the request, and the object and rule that decide. */
  readonly says: RegExp;
}

const all = [...world, ...intents];
const changed = (kind: string, name: string, change: (raw: Raw) => void = () => undefined): Raw =>
  changedIn(all, { kind, name, change });
const written = (text: string): Raw => objectsIn(text)[0] as Raw;

const policy = (where: string, name: string, spec: string): Raw =>
  written(
    `{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { name: ${name}, namespace: ${where} }, spec: { ${spec} } }`,
  );
const peerAuthentication = (where: string, spec: string): Raw =>
  written(
    `{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: own, namespace: ${where} }, spec: { ${spec} } }`,
  );
const networking = (kind: string, where: string, name: string, spec: string): Raw =>
  written(
    `{ apiVersion: networking.istio.io/v1, kind: ${kind}, metadata: { name: ${name}, namespace: ${where} }, spec: { ${spec} } }`,
  );
const labelled = (kind: string, name: string, labels: Readonly<Record<string, string>>): Raw =>
  changed(kind, name, ({ metadata }) => {
    metadata.labels = { ...metadata.labels, ...labels };
  });
const podsLabelled = (name: string, labels: Readonly<Record<string, string>>): Raw =>
  changed("Deployment", name, ({ spec }) => {
    Object.assign(spec.template.metadata.labels, labels);
  });
const runningAs = (name: string, account: string): Raw =>
  changed("Deployment", name, ({ spec }) => {
    spec.template.spec.serviceAccountName = account;
  });

const bank: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "Gateway",
    breaking: changed("Gateway", "bank", ({ spec }) => {
      spec.servers[0].hosts = ["www.example.com"];
    }),
    harmless: changed("Gateway", "bank", ({ spec }) => {
      spec.servers[0].hosts.push("www.example.com");
    }),
    says: /outside must be allowed: .*bank\.example\.com.* would reach nothing/,
  },
  {
    kind: "VirtualService",
    breaking: changed("VirtualService", "bank", ({ spec }) => {
      spec.http[0].match = [{ uri: { prefix: "/app" } }];
    }),
    harmless: changed("VirtualService", "bank", ({ spec }) => {
      spec.http[0].timeout = "5s";
    }),
    says: /outside must be allowed: .*would reach nothing.*VirtualService web\/bank/,
  },
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "storefront-by-entrance", ({ spec }) => {
      spec.rules[0].from[0].source.principals = ["cluster.local/ns/edge/sa/entry"];
    }),
    harmless: changed("AuthorizationPolicy", "storefront-by-entrance", ({ spec }) => {
      spec.rules[0].to[0].operation.notPaths = ["/admin", "/admin*"];
    }),
    says: /outside must be allowed: .*would be denied.*AuthorizationPolicy web\/storefront-by-entrance/,
  },
  {
    kind: "AuthorizationPolicy, another one",
    breaking: policy("web", "allow-batch", "rules: [{ from: [{ source: { namespaces: [builds] } }] }]"),
    harmless: policy(
      "web",
      "allow-batch",
      "selector: { matchLabels: { app: other } }, rules: [{ from: [{ source: { namespaces: [builds] } }] }]",
    ),
    says: /others must be denied: .*from namespace builds would be allowed, by AuthorizationPolicy web\/allow-batch rule 1/,
  },
  {
    kind: "Deployment, the account of the entrance",
    breaking: runningAs("entrance", "default"),
    harmless: podsLabelled("entrance", { team: "edge" }),
    says: /outside must be allowed: .*would be denied.*AuthorizationPolicy web\/storefront-by-entrance/,
  },
  {
    kind: "Service",
    breaking: changed("Service", "storefront", ({ spec }) => {
      spec.selector = { app: "store" };
    }),
    harmless: changed("Service", "storefront", ({ spec }) => {
      spec.ports.push({ name: "http-metrics", port: 9090, targetPort: 9090 });
    }),
    says: /must be (allowed|denied)/,
  },
  {
    kind: "PeerAuthentication",
    breaking: peerAuthentication("web", "mtls: { mode: DISABLE }"),
    harmless: peerAuthentication("web", "mtls: { mode: STRICT }"),
    says: /must be/,
  },
  {
    kind: "DestinationRule",
    breaking: networking(
      "DestinationRule",
      "edge",
      "storefront",
      "host: storefront.web.svc.cluster.local, trafficPolicy: { tls: { mode: DISABLE } }",
    ),
    harmless: networking(
      "DestinationRule",
      "edge",
      "storefront",
      "host: storefront.web.svc.cluster.local, trafficPolicy: { tls: { mode: ISTIO_MUTUAL } }",
    ),
    says: /outside must be allowed: .*would be refused.*DestinationRule edge\/storefront/,
  },
];

const administration: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "storefront-by-entrance", ({ spec }) => {
      delete spec.rules[0].to;
    }),
    harmless: changed("AuthorizationPolicy", "storefront-by-entrance", ({ spec }) => {
      spec.rules[0].to[0].operation.notPaths.push("/admin/users");
    }),
    says: /must be denied: GET \/admin\S* .*would be allowed, by AuthorizationPolicy web\/storefront-by-entrance rule 1/,
  },
  {
    kind: "VirtualService",
    breaking: changed("VirtualService", "bank", ({ spec }) => {
      spec.http.unshift({ ...spec.http[0], match: [{ uri: { exact: "/admin" } }], rewrite: { uri: "/app" } });
    }),
    harmless: changed("VirtualService", "bank", ({ spec }) => {
      spec.http[0].retries = { attempts: 2 };
    }),
    says: /must be denied: GET \/admin\S* .*would be allowed, by AuthorizationPolicy web\/storefront-by-entrance rule 1/,
  },
  {
    kind: "Deployment, the labels of its pods",
    breaking: changed("Deployment", "storefront", ({ spec }) => {
      spec.template.metadata.labels["sidecar.istio.io/inject"] = "false";
    }),
    harmless: podsLabelled("storefront", { team: "web" }),
    says: /must be denied: .*would be allowed, because nothing enforces policies there/,
  },
  {
    kind: "Namespace",
    breaking: labelled("Namespace", "web", { "istio-injection": "disabled" }),
    harmless: labelled("Namespace", "web", { team: "web" }),
    says: /must be/,
  },
];

const ofAccounts: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "accounts", ({ spec }) => {
      spec.rules.push({ from: [{ source: { namespaces: ["builds"] } }], to: [{ operation: { methods: ["GET"] } }] });
    }),
    harmless: changed("AuthorizationPolicy", "accounts", ({ spec }) => {
      spec.rules.push({
        from: [{ source: { namespaces: ["web"] } }],
        to: [{ operation: { methods: ["GET"], paths: ["/accounts/1"] } }],
        when: [{ key: "source.principal", values: ["cluster.local/ns/web/sa/storefront"] }],
      });
    }),
    says: /others must be denied: GET \/ from namespace builds would be allowed, by AuthorizationPolicy accounts\/accounts rule 2/,
  },
  {
    kind: "AuthorizationPolicy of the root namespace",
    breaking: policy(
      "istio-system",
      "no-get",
      "action: DENY, rules: [{ to: [{ operation: { paths: ['/accounts/private*'] } }] }]",
    ),
    harmless: policy(
      "istio-system",
      "no-get",
      "action: DENY, rules: [{ from: [{ source: { namespaces: [batch] } }], to: [{ operation: { paths: ['/accounts/private*'] } }] }]",
    ),
    says: /must be allowed: GET \/accounts\/private\S* from service account web\/storefront would be denied, by AuthorizationPolicy istio-system\/no-get rule 1/,
  },
  {
    kind: "Sidecar",
    breaking: changed("Sidecar", "default", ({ spec }) => {
      spec.egress[0].hosts = ["./*", "payments/*", "customers/*", "infra/*"];
    }),
    harmless: changed("Sidecar", "default", ({ spec }) => {
      spec.egress[0].hosts.push("risk/*");
    }),
    says: /must be allowed: GET \/accounts\/ from service account web\/storefront would reach nothing.*Sidecar web\/default/,
  },
  {
    kind: "DestinationRule",
    breaking: networking(
      "DestinationRule",
      "accounts",
      "accounts",
      "host: accounts, trafficPolicy: { tls: { mode: SIMPLE } }",
    ),
    harmless: networking(
      "DestinationRule",
      "accounts",
      "accounts",
      "host: accounts, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN } }",
    ),
    says: /must be allowed: GET \/accounts\/ from service account web\/storefront would be refused.*DestinationRule accounts\/accounts/,
  },
  {
    kind: "VirtualService",
    breaking: networking(
      "VirtualService",
      "accounts",
      "accounts",
      "hosts: [accounts], http: [{ match: [{ uri: { prefix: /accounts/vip } }], route: [{ destination: { host: accounts, subset: vip } }] }, { route: [{ destination: { host: accounts } }] }]",
    ),
    harmless: networking(
      "VirtualService",
      "accounts",
      "accounts",
      "hosts: [accounts], http: [{ match: [{ uri: { prefix: /accounts/vip } }], route: [{ destination: { host: accounts } }] }, { route: [{ destination: { host: accounts } }] }]",
    ),
    says: /must be allowed: GET \/accounts\/vip\S* from service account web\/storefront would reach nothing.*subset "vip"/,
  },
  {
    kind: "Service",
    breaking: changed("Service", "accounts", ({ spec }) => {
      spec.ports[0].port = 80;
    }),
    harmless: changed("Service", "accounts", ({ metadata }) => {
      metadata.labels = { team: "accounts" };
    }),
    says: /must be allowed: .* would reach nothing: Service accounts\/accounts has no port 8080/,
  },
  {
    kind: "MeshwardIntent",
    breaking: changed("MeshwardIntent", "accounts-are-read-by-the-storefront", ({ spec }) => {
      spec.requests.pop();
    }),
    harmless: changed("MeshwardIntent", "accounts-are-read-by-the-storefront", ({ metadata }) => {
      metadata.labels = { team: "accounts" };
    }),
    says: /no longer/,
  },
];

const encrypted: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "PeerAuthentication",
    breaking: changed("PeerAuthentication", "payments", ({ spec }) => {
      spec.mtls.mode = "PERMISSIVE";
    }),
    harmless: changed("PeerAuthentication", "payments", () => undefined),
    says: /must be encrypted: .* would be sent in plaintext, which mode PERMISSIVE accepts \(PeerAuthentication payments\/payments\)/,
  },
  {
    kind: "PeerAuthentication of pods, at a port",
    breaking: peerAuthentication(
      "payments",
      "selector: { matchLabels: { version: v2 } }, portLevelMtls: { 8080: { mode: PERMISSIVE } }",
    ),
    harmless: peerAuthentication(
      "payments",
      "selector: { matchLabels: { version: v2 } }, portLevelMtls: { 9090: { mode: PERMISSIVE } }",
    ),
    says: /must be encrypted: .* would be sent in plaintext, which mode PERMISSIVE accepts \(PeerAuthentication payments\/own\)/,
  },
  {
    kind: "Deployment, an annotation of its pods",
    breaking: changed("Deployment", "payments-v1", ({ spec }) => {
      spec.template.metadata.annotations = { "traffic.sidecar.istio.io/excludeInboundPorts": "8080" };
    }),
    harmless: changed("Deployment", "payments-v1", ({ spec }) => {
      spec.template.metadata.annotations = { "traffic.sidecar.istio.io/excludeInboundPorts": "9090" };
    }),
    says: /must be encrypted: .* would be sent in plaintext, to a port without a proxy/,
  },
  {
    kind: "Namespace",
    breaking: labelled("Namespace", "payments", { "istio-injection": "disabled" }),
    harmless: labelled("Namespace", "payments", { "istio.io/rev": "default" }),
    says: /must be encrypted/,
  },
  {
    kind: "Service",
    breaking: changed("Service", "payments", ({ spec }) => {
      spec.selector = { app: "legacy" };
    }),
    harmless: changed("Service", "payments", ({ spec }) => {
      spec.ports.push({ name: "grpc", port: 9000, targetPort: 9000 });
    }),
    says: /must be encrypted: .* would be sent in plaintext, to a port without a proxy \(Deployment payments\/legacy\)/,
  },
];

const stable: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "VirtualService",
    breaking: changed("VirtualService", "payments", ({ spec }) => {
      spec.http[0].route[0].weight = 80;
      spec.http[0].route[1].weight = 20;
    }),
    harmless: changed("VirtualService", "payments", ({ spec }) => {
      spec.http[0].route[0].weight = 90;
      spec.http[0].route[1].weight = 10;
    }),
    says: /must be routed .*with 80% of the requests, where at least 90% are expected/,
  },
  {
    kind: "VirtualService of a client",
    breaking: networking(
      "VirtualService",
      "web",
      "payments",
      "hosts: [payments.payments.svc.cluster.local], exportTo: [.], http: [{ route: [{ destination: { host: payments.payments.svc.cluster.local, subset: canary } }] }]",
    ),
    harmless: networking(
      "VirtualService",
      "customers",
      "payments",
      "hosts: [payments.payments.svc.cluster.local], exportTo: [.], http: [{ route: [{ destination: { host: payments.payments.svc.cluster.local, subset: canary } }] }]",
    ),
    says: /must be routed .*with 0% of the requests/,
  },
  {
    kind: "DestinationRule",
    breaking: changed("DestinationRule", "payments", ({ spec }) => {
      spec.subsets[0].labels.version = "v3";
    }),
    harmless: changed("DestinationRule", "payments", ({ spec }) => {
      spec.subsets.push({ name: "all", labels: {} });
    }),
    says: /must be (routed|allowed)/,
  },
  {
    kind: "Deployment, the labels of its pods",
    breaking: podsLabelled("payments-v1", { version: "v1.1" }),
    harmless: podsLabelled("payments-v1", { build: "v1.1" }),
    says: /must be allowed: .*would reach nothing/,
  },
  {
    kind: "VirtualService, deleted",
    breaking: changed("VirtualService", "payments"),
    isDeletion: true,
    harmless: labelled("VirtualService", "payments", { team: "payments" }),
    says: /must be routed/,
  },
];

const journal: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "Gateway, the waypoint",
    breaking: changed("Gateway", "waypoint"),
    isDeletion: true,
    harmless: labelled("Gateway", "waypoint", { team: "ledger" }),
    says: /must be (allowed|denied): .* would be/,
  },
  {
    kind: "Namespace",
    breaking: changed("Namespace", "ledger", ({ metadata }) => {
      metadata.labels["istio.io/use-waypoint"] = "none";
    }),
    harmless: labelled("Namespace", "ledger", { team: "ledger" }),
    says: /must be allowed: .* would be denied.*AuthorizationPolicy ledger\/journal-by-waypoint/,
  },
  {
    kind: "Service",
    breaking: labelled("Service", "journal", { "istio.io/use-waypoint": "none" }),
    harmless: labelled("Service", "journal", { "istio.io/use-waypoint": "waypoint" }),
    says: /must be allowed: .* would be denied.*AuthorizationPolicy ledger\/journal-by-waypoint/,
  },
  {
    kind: "Deployment, its service account",
    breaking: runningAs("scorer", "default"),
    harmless: runningAs("nightly", "default"),
    says: /scorer must be allowed: GET \/ from service account risk\/default would be denied.*AuthorizationPolicy ledger\/journal/,
  },
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "journal", ({ spec }) => {
      spec.rules[0].to[0].operation = { methods: ["GET", "POST"] };
    }),
    harmless: changed("AuthorizationPolicy", "journal", ({ spec }) => {
      spec.rules[0].to[0].operation = { methods: ["GET"], notPaths: [] };
    }),
    says: /risk must be denied: POST \/ from service account risk\/scorer would be allowed, by AuthorizationPolicy ledger\/journal rule 1/,
  },
  {
    kind: "AuthorizationPolicy with a selector, which the waypoint does not read",
    breaking: changed("AuthorizationPolicy", "journal", ({ spec }) => {
      delete spec.targetRefs;
      spec.selector = { matchLabels: { app: "journal" } };
    }),
    harmless: policy(
      "ledger",
      "other",
      "selector: { matchLabels: { app: other } }, rules: [{ from: [{ source: { namespaces: [web] } }] }]",
    ),
    says: /others must be denied: .* would be allowed/,
  },
];

const journalPods: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "journal-by-waypoint", ({ spec }) => {
      spec.rules[0].from[0].source = { namespaces: ["ledger", "risk"] };
    }),
    harmless: changed("AuthorizationPolicy", "journal-by-waypoint", ({ spec }) => {
      spec.rules[0].from[0].source.principals.push("*/ns/ledger/sa/waypoint");
    }),
    says: /outside must be denied: .*from namespace risk would be allowed, by AuthorizationPolicy ledger\/journal-by-waypoint rule 1/,
  },
  {
    kind: "Deployment, the labels of its pods",
    breaking: podsLabelled("journal", { "istio.io/dataplane-mode": "none" }),
    harmless: podsLabelled("journal", { team: "ledger" }),
    says: /must be denied: .* would be allowed, because nothing enforces policies there/,
  },
  {
    kind: "Namespace",
    breaking: changed("Namespace", "ledger", ({ metadata }) => {
      delete metadata.labels["istio.io/dataplane-mode"];
    }),
    harmless: labelled("Namespace", "ledger", { team: "ledger" }),
    says: /must be denied: .* would be allowed, because nothing enforces policies there/,
  },
  {
    kind: "AuthorizationPolicy, deleted",
    breaking: changed("AuthorizationPolicy", "journal-by-waypoint"),
    isDeletion: true,
    harmless: labelled("AuthorizationPolicy", "journal-by-waypoint", { team: "ledger" }),
    says: /must be denied: .* would be allowed, because no ALLOW policy applies/,
  },
  {
    kind: "AuthorizationPolicy in dry run",
    breaking: changed("AuthorizationPolicy", "journal-by-waypoint", ({ metadata }) => {
      metadata.annotations = { "istio.io/dry-run": "true" };
    }),
    harmless: changed("AuthorizationPolicy", "journal-by-waypoint", ({ metadata }) => {
      metadata.annotations = { "istio.io/dry-run": "false" };
    }),
    says: /must be denied: .* would be allowed/,
  },
];

const tellers: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "RequestAuthentication",
    breaking: changed("RequestAuthentication", "staff", ({ spec }) => {
      spec.jwtRules[0].issuer = "https://people.example";
    }),
    harmless: changed("RequestAuthentication", "staff", ({ spec }) => {
      spec.jwtRules[0].forwardOriginalToken = true;
    }),
    says: /./,
  },
  {
    kind: "RequestAuthentication, deleted",
    breaking: changed("RequestAuthentication", "staff"),
    isDeletion: true,
    harmless: labelled("RequestAuthentication", "staff", { team: "customers" }),
    says: /must be allowed/,
  },
  {
    kind: "AuthorizationPolicy",
    breaking: changed("AuthorizationPolicy", "customers", ({ spec }) => {
      spec.rules[0].when[0].values = ["manager"];
    }),
    harmless: changed("AuthorizationPolicy", "customers", ({ spec }) => {
      spec.rules[0].when[0].values = ["manager", "teller", "auditor"];
    }),
    says: /must be allowed: .*with claim role: teller would be denied.*AuthorizationPolicy customers\/customers/,
  },
  {
    kind: "AuthorizationPolicy, another one",
    breaking: policy("customers", "health", "rules: [{ to: [{ operation: { paths: [/healthz] } }] }]"),
    harmless: policy(
      "customers",
      "health",
      "rules: [{ to: [{ operation: { paths: [/healthz] } }], from: [{ source: { requestPrincipals: ['*'] } }] }]",
    ),
    says: /must be denied: GET \/healthz .* would be allowed, by AuthorizationPolicy customers\/health rule 1/,
  },
  {
    kind: "VirtualService",
    breaking: networking(
      "VirtualService",
      "customers",
      "customers",
      "hosts: [customers], http: [{ redirect: { uri: /moved } }]",
    ),
    harmless: networking(
      "VirtualService",
      "customers",
      "customers",
      "hosts: [customers], http: [{ rewrite: { uri: /moved }, route: [{ destination: { host: customers } }] }]",
    ),
    says: /must be allowed: .* would/,
  },
  {
    kind: "Sidecar",
    breaking: networking(
      "Sidecar",
      "web",
      "narrow",
      "workloadSelector: { labels: { app: storefront } }, egress: [{ hosts: ['./*'] }]",
    ),
    harmless: networking(
      "Sidecar",
      "web",
      "narrow",
      "workloadSelector: { labels: { app: none } }, egress: [{ hosts: ['./*'] }]",
    ),
    says: /must be allowed: .* would reach nothing.*Sidecar web\/narrow/,
  },
];

const database: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "ServiceEntry",
    breaking: changed("ServiceEntry", "database", ({ spec }) => {
      spec.exportTo = ["*"];
    }),
    harmless: changed("ServiceEntry", "database", ({ spec }) => {
      spec.exportTo = [".", "payments", "builds"];
    }),
    says: /customers must be denied: .*from namespace (web|customers) would be allowed/,
  },
  {
    kind: "ServiceEntry, its ports",
    breaking: changed("ServiceEntry", "database", ({ spec }) => {
      spec.ports[0].number = 5433;
    }),
    harmless: changed("ServiceEntry", "database", ({ spec }) => {
      spec.ports.push({ number: 5433, name: "tls-other", protocol: "TLS" });
    }),
    says: /must be allowed/,
  },
  {
    kind: "ServiceEntry of another namespace",
    breaking: networking(
      "ServiceEntry",
      "customers",
      "db",
      "hosts: [db.bank.internal], exportTo: [.], addresses: [10.200.0.5], resolution: STATIC, endpoints: [{ address: 10.200.0.5 }], ports: [{ number: 5432, name: tls, protocol: TLS }]",
    ),
    harmless: networking(
      "ServiceEntry",
      "builds",
      "db",
      "hosts: [db.bank.internal], exportTo: [.], addresses: [10.200.0.5], resolution: STATIC, endpoints: [{ address: 10.200.0.5 }], ports: [{ number: 5432, name: tls, protocol: TLS }]",
    ),
    says: /must be denied: .*from namespace customers would be allowed/,
  },
  {
    kind: "Sidecar",
    breaking: networking("Sidecar", "payments", "default", "egress: [{ hosts: ['./*'] }]"),
    harmless: networking("Sidecar", "payments", "default", "egress: [{ hosts: ['./*', 'accounts/*'] }]"),
    says: /must be allowed: .*from namespace payments would reach nothing: Sidecar payments\/default/,
  },
  {
    kind: "ConfigMap istio",
    breaking: changed("ConfigMap", "istio", ({ data }) => {
      data.mesh = "outboundTrafficPolicy: { mode: ALLOW_ANY }";
    }),
    harmless: changed("ConfigMap", "istio", ({ data }) => {
      data.mesh = "outboundTrafficPolicy: { mode: REGISTRY_ONLY }\naccessLogFile: /dev/stdout";
    }),
    says: /must be denied: .*from namespace (web|customers) would be allowed/,
  },
  {
    kind: "Namespace",
    breaking: labelled("Namespace", "customers", { "istio-injection": "disabled" }),
    harmless: labelled("Namespace", "customers", { team: "customers" }),
    says: /customers must be denied: .*from callers without an identity would be allowed/,
  },
];

const artifacts: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "AuthorizationPolicy",
    breaking: policy(
      "infra",
      "allow-web",
      "selector: { matchLabels: { app: egress } }, rules: [{ from: [{ source: { namespaces: [web] } }] }]",
    ),
    harmless: policy(
      "infra",
      "allow-web",
      "selector: { matchLabels: { app: egress } }, rules: [{ from: [{ source: { namespaces: [builds] } }] }]",
    ),
    says: /web must be denied: .*from namespace web would be allowed, by AuthorizationPolicy infra\/allow-web rule 1/,
  },
  {
    kind: "VirtualService",
    breaking: networking(
      "VirtualService",
      "web",
      "artifacts",
      "hosts: [artifacts.example.com], exportTo: [.], http: [{ route: [{ destination: { host: artifacts.example.com, port: { number: 80 } } }] }]",
    ),
    harmless: networking(
      "VirtualService",
      "web",
      "artifacts",
      "hosts: [artifact.example.com], exportTo: [.], http: [{ route: [{ destination: { host: artifacts.example.com, port: { number: 80 } } }] }]",
    ),
    says: /(would be routed to artifacts\.example\.com|would be allowed)/,
  },
  {
    kind: "DestinationRule",
    breaking: changed("DestinationRule", "egress", ({ spec }) => {
      spec.trafficPolicy.tls = { mode: "DISABLE" };
    }),
    harmless: changed("DestinationRule", "egress", ({ spec }) => {
      spec.trafficPolicy.connectionPool = { tcp: { maxConnections: 10 } };
    }),
    says: /must be allowed: .*would reach nothing: .*\(DestinationRule infra\/egress\)/,
  },
  {
    kind: "Gateway",
    breaking: changed("Gateway", "egress", ({ spec }) => {
      spec.servers[0].hosts = ["other.example.com"];
    }),
    harmless: changed("Gateway", "egress", ({ spec }) => {
      spec.servers[0].hosts.push("other.example.com");
    }),
    says: /must be allowed: .*would/,
  },
  {
    kind: "Service",
    breaking: changed("Service", "egress", ({ spec }) => {
      spec.ports[0].port = 8443;
    }),
    harmless: changed("Service", "egress", ({ spec }) => {
      spec.ports.push({ name: "http", port: 80, targetPort: 8080 });
    }),
    says: /./,
  },
];

const restricted: readonly Omit<BankChange, "intent">[] = [
  {
    kind: "PeerAuthentication",
    breaking: changed("PeerAuthentication", "default", ({ spec }) => {
      spec.mtls.mode = "PERMISSIVE";
    }),
    harmless: labelled("PeerAuthentication", "default", { team: "mesh" }),
    says: /restricted-namespaces: Requests from outside must be denied: .* would be allowed/,
  },
  {
    kind: "PeerAuthentication of a namespace",
    breaking: peerAuthentication(
      "accounts",
      "selector: { matchLabels: { app: archive } }, portLevelMtls: { 8080: { mode: PERMISSIVE } }",
    ),
    harmless: peerAuthentication(
      "accounts",
      "selector: { matchLabels: { app: archive } }, portLevelMtls: { 8080: { mode: STRICT } }",
    ),
    says: /restricted-namespaces: Requests from outside must be denied: .* would be allowed, because no ALLOW policy applies/,
  },
  {
    kind: "Deployment, the labels of its pods",
    breaking: podsLabelled("journal", { "istio.io/dataplane-mode": "none" }),
    harmless: podsLabelled("journal", { team: "ledger" }),
    says: /restricted-namespaces: Requests from outside must be denied: .* would be allowed, because nothing enforces policies there/,
  },
  {
    kind: "Namespace",
    breaking: labelled("Namespace", "accounts", { "istio-injection": "disabled" }),
    harmless: labelled("Namespace", "accounts", { team: "accounts" }),
    says: /restricted-namespaces: Requests from outside must be denied: .* would be allowed, because nothing enforces policies there/,
  },
  {
    kind: "MeshwardIntent",
    breaking: changed("MeshwardIntent", "restricted-namespaces", ({ spec }) => {
      spec.to.namespaces = { names: ["ledger"] };
    }),
    harmless: labelled("MeshwardIntent", "restricted-namespaces", { team: "mesh" }),
    says: /no longer/,
  },
];

const of = (intent: string, some: readonly Omit<BankChange, "intent">[]): readonly BankChange[] =>
  some.map((one) => ({ intent, ...one }));

export const changes: readonly BankChange[] = [
  ...of("bank-is-open", bank),
  ...of("no-administration-from-outside", administration),
  ...of("accounts-are-read-by-the-storefront", ofAccounts),
  ...of("payments-are-encrypted", encrypted),
  ...of("most-payments-are-stable", stable),
  ...of("journal-is-read-by-risk", journal),
  ...of("journal-pods-take-requests-from-the-waypoint-only", journalPods),
  ...of("tellers-see-customers", tellers),
  ...of("the-database-is-for-accounts-and-payments", database),
  ...of("artifacts-by-egress", artifacts),
  ...of("restricted-namespaces", restricted),
];
