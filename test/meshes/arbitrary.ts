import fc from "fast-check";
import { identityOf } from "../../src/kube/identity.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { meshConfig } from "../../src/kube/mesh-config.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import type { Malformed } from "../../src/kube/read.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../src/view/settings.ts";

/** Small worlds in which everything meets everything: few names, several namespaces, wildcards, equal timestamps. */

const namespace = fc.constantFrom("a", "b", "istio-system");
const name = fc.constantFrom("x", "y", "w");
const subset = fc.constantFrom("v1", "v2", undefined);
const host = fc.constantFrom("x", "y", "x.a.svc.cluster.local", "y.b.svc.cluster.local", "ext.example.com");
const ruleHost = fc.oneof(host, fc.constantFrom("*.a.svc.cluster.local", "*.local", "*.example.com", "*"));
const exportTo = fc.constantFrom(undefined, ["."], ["*"], ["a"], ["b", "a"]);
const time = fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", undefined);
const podLabels = fc.constantFrom<Record<string, string>>({ app: "x" }, { app: "y" }, { app: "x", version: "v1" }, {});
const selector = fc.constantFrom(
  undefined,
  {},
  { matchLabels: {} },
  { matchLabels: { app: "x" } },
  { matchLabels: { app: "x", version: "v1" } },
);
const mode = fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE", "UNSET", undefined);
const metadataLabels = fc.constantFrom<Record<string, string> | undefined>(
  undefined,
  undefined,
  { "istio.io/rev": "other" },
  { "istio.io/rev": "default" },
  { "istio.io/use-waypoint": "w" },
  { "istio.io/use-waypoint": "w", "istio.io/use-waypoint-namespace": "a" },
  { "istio.io/use-waypoint": "none" },
  { "istio.io/waypoint-for": "workload" },
  { "istio.io/ingress-use-waypoint": "true" },
);
const namespaceLabels = fc.constantFrom<Record<string, string>>(
  {},
  { "istio.io/dataplane-mode": "ambient" },
  { "istio-injection": "enabled" },
  { "istio.io/rev": "other" },
  { "istio.io/rev": "tag", "meshward.io/protected": "true" },
  { "meshward.io/protected": "true" },
  { "meshward.io/protected": "true", "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" },
  { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w", "istio.io/use-waypoint-namespace": "b" },
);
const fromAmbient = { matchLabels: { "istio.io/dataplane-mode": "ambient" } };
/** What pods themselves say of the mesh. */
const podMetadata = fc.constantFrom<{ labels?: Record<string, string>; annotations?: Record<string, string> }>(
  {},
  {},
  { labels: { "istio.io/use-waypoint": "w" } },
  { labels: { "istio.io/dataplane-mode": "none" } },
  { labels: { "sidecar.istio.io/inject": "false" } },
  { labels: { "istio.io/rev": "other" } },
  { annotations: { "sidecar.istio.io/status": "{}", "traffic.sidecar.istio.io/excludeInboundPorts": "80" } },
  { annotations: { "traffic.sidecar.istio.io/includeInboundPorts": "" } },
);
const readinessProbe = { httpGet: { port: 80 } };
/** A probe of a pod, and whether the agent takes it over. */
const probes = fc.constantFrom<{ probe?: object; rewrites?: Record<string, string> }>(
  {},
  { probe: { readinessProbe } },
  { probe: { readinessProbe }, rewrites: { "sidecar.istio.io/rewriteAppHTTPProbers": "false" } },
);
const gateways = fc.constantFrom(undefined, ["mesh"], ["w"], ["a/w", "mesh"], ["b/w"]);

const destination = fc.record({ host, subset }, { requiredKeys: ["host"] });
const weighted = fc.record({ destination, weight: fc.constantFrom(0, 50, 100, undefined) });
const virtualServiceSpec = fc.record({
  hosts: fc.constantFrom(["x"], ["y"], ["x", "ext.example.com"], ["*.example.com"], []),
  gateways,
  exportTo,
  http: fc.array(
    fc.record({
      route: fc.array(weighted, { maxLength: 2 }),
      delegate: fc.constantFrom(undefined, undefined, { name: "y", namespace: "a" }),
      mirror: fc.option(destination, { nil: undefined, freq: 4 }),
      match: fc.constantFrom(
        undefined,
        undefined,
        undefined,
        [{ uri: { prefix: "/a" } }],
        [{ uri: { exact: "/a/b" }, method: { exact: "POST" } }],
        [{ port: 81 }],
      ),
    }),
    { maxLength: 2 },
  ),
  tcp: fc.array(fc.record({ route: fc.array(weighted, { maxLength: 2 }) }), { maxLength: 1 }),
  tls: fc.constantFrom(undefined, undefined, [
    { match: [{ sniHosts: ["ext.example.com"] }], route: [{ destination: { host: "y.b.svc.cluster.local" } }] },
  ]),
});
const passingServer = { port: { number: 443, protocol: "TLS" }, hosts: ["*"], tls: { mode: "PASSTHROUGH" } };
const trafficPolicy = fc.constantFrom<unknown>(
  undefined,
  undefined,
  { tls: {} },
  { tls: { mode: "ISTIO_MUTUAL" } },
  { tls: { mode: "SIMPLE" } },
  { tls: { mode: "MUTUAL", credentialName: "c" } },
  { tls: { mode: "SIMPLE" }, portLevelSettings: [{ port: { number: 80 } }] },
  { portLevelSettings: [{ port: { number: 80 }, tls: { mode: "DISABLE" } }] },
);
const subsetLabels = fc.constantFrom<object | undefined>(undefined, { version: "v1" }, { version: "v2" });
const destinationRuleSpec = fc.record({
  host: ruleHost,
  exportTo,
  workloadSelector: selector,
  subsets: fc.uniqueArray(fc.record({ name: fc.constantFrom("v1", "v2"), labels: subsetLabels, trafficPolicy }), {
    maxLength: 2,
    selector: (s) => s.name,
  }),
  trafficPolicy,
});
const authorizationRule = fc.constantFrom(
  {},
  { from: [{ source: { principals: ["*"] } }] },
  { from: [{ source: { namespaces: ["a"] } }] },
  { from: [{ source: { namespaces: ["c"] } }] },
  { from: [{ source: { requestPrincipals: ["*"] } }] },
  { to: [{ operation: { methods: ["GET"] } }] },
);
const authorizationSpec = fc.record({
  selector,
  targetRefs: fc.constantFrom(
    undefined,
    undefined,
    [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }],
    [{ kind: "Service", name: "x" }],
    [{ group: "networking.istio.io", kind: "ServiceEntry", name: "x" }],
  ),
  action: fc.constantFrom(undefined, "ALLOW", "DENY", "AUDIT"),
  rules: fc.option(fc.array(authorizationRule, { maxLength: 2 }), { nil: undefined }),
});
const annotations = fc.constantFrom<Record<string, string> | undefined>(
  ...[undefined, undefined, undefined, { "istio.io/dry-run": "true" }],
  ...[{ "kubernetes.io/ingress.class": "istio" }, { "ingressclass.kubernetes.io/is-default-class": "true" }],
);

/** Kinds that are settings of the mesh and nothing else. */
type SettingsKind = "MeshConfig" | "InjectorConfig" | "GatewayClass";
const specs: { readonly [K in Exclude<Kind, SettingsKind | "Namespace">]: fc.Arbitrary<unknown> } = {
  VirtualService: virtualServiceSpec,
  DestinationRule: destinationRuleSpec,
  ServiceEntry: fc.record({
    hosts: fc.constantFrom(
      ["ext.example.com"],
      ["*.example.com"],
      ["x.a.svc.cluster.local"],
      ["*.b.svc.cluster.local"],
    ),
    addresses: fc.constantFrom(undefined, undefined, ["10.0.0.1"], ["10.0.0.0/24"]),
    resolution: fc.constantFrom(undefined, "STATIC", "DNS"),
    endpoints: fc.constantFrom<unknown>(
      undefined,
      undefined,
      [{ address: "192.0.2.1" }],
      [{ address: "192.0.2.1", serviceAccount: "vm", labels: { app: "x" } }],
    ),
    exportTo,
    location: fc.constantFrom(undefined, "MESH_INTERNAL"),
    workloadSelector: fc.constantFrom(undefined, { labels: { app: "x" } }),
    ports: fc.constantFrom(
      [],
      [{ number: 80, name: "http", protocol: "HTTP" }],
      [{ number: 80, name: "http", protocol: "HTTP" }],
      [{ number: 80, name: "tcp", protocol: "TCP" }],
      [{ number: 80, name: "tls", protocol: "TLS" }],
    ),
  }),
  Gateway: fc.record({
    selector: fc.constantFrom({ app: "x" }, {}, { app: "y" }),
    servers: fc.constantFrom<unknown[]>(
      [{ hosts: ["*"] }],
      [passingServer],
      [{ port: { number: 443, protocol: "HTTPS" }, hosts: ["ext.example.com"], tls: { mode: "SIMPLE" } }],
    ),
  }),
  KubernetesGateway: fc.record({
    gatewayClassName: fc.constantFrom("istio-waypoint", "istio-waypoint", "istio", "x"),
    allowedListeners: fc.constantFrom<unknown>(
      undefined,
      { namespaces: { from: "All" } },
      { namespaces: { from: "Selector", selector: fromAmbient } },
    ),
    listeners: fc.constantFrom<unknown>(
      undefined,
      [{ port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
      [{ port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "Selector", selector: fromAmbient } } }],
    ),
  }),
  ListenerSet: fc.record({
    parentRef: fc.constantFrom<unknown>({ name: "w" }, { name: "w", namespace: "b" }, { name: "w", kind: "Service" }),
    listeners: fc.constantFrom<unknown[]>(
      [{ name: "s", port: 80, protocol: "HTTP", hostname: "x.example.com" }],
      [
        { name: "s", port: 80, protocol: "HTTP", allowedRoutes: { namespaces: { from: "All" } } },
        { name: "t", port: 443, protocol: "HTTPS", tls: { certificateRefs: [{ name: "c", namespace: "b" }] } },
      ],
    ),
  }),
  BackendTLSPolicy: fc.record({
    targetRefs: fc.constantFrom<unknown[]>(
      [{ group: "", kind: "Service", name: "x" }],
      [{ group: "", kind: "Service", name: "x", sectionName: "http" }],
      [
        { group: "", kind: "Service", name: "y" },
        { group: "networking.istio.io", kind: "ServiceEntry", name: "x" },
      ],
      [{ group: "", kind: "Secret", name: "x" }],
    ),
    validation: fc.constantFrom<unknown>(
      { hostname: "x.example.com", wellKnownCACertificates: "System" },
      { hostname: "x.example.com", caCertificateRefs: [{ group: "", kind: "ConfigMap", name: "x" }] },
      { hostname: "x.example.com", caCertificateRefs: [{ group: "", kind: "Secret", name: "x" }] },
    ),
  }),
  KubernetesRoute: fc.record({
    parentRefs: fc.constantFrom<unknown[]>(
      [{ name: "x", kind: "ListenerSet" }],
      [{ name: "w" }],
      [
        { name: "w", namespace: "b" },
        { name: "x", kind: "Service", group: "" },
      ],
      [{ name: "w", sectionName: "s" }],
    ),
    hostnames: fc.constantFrom(undefined, ["x.example.com"], ["*.example.com", "y.example.org"]),
    rules: fc.constantFrom<unknown[]>(
      [{ backendRefs: [{ name: "x", port: 80 }] }],
      [
        {
          backendRefs: [
            { name: "y", namespace: "b", port: 81, weight: 0 },
            { name: "x", namespace: "b", port: 80 },
          ],
        },
      ],
      [{}],
    ),
  }),
  ReferenceGrant: fc.record({
    from: fc.constantFrom([{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "a" }], []),
    to: fc.constantFrom([{ group: "", kind: "Service" }], [{ group: "", kind: "Service", name: "x" }]),
  }),
  PeerAuthentication: fc.record({
    selector,
    mtls: mode.map((mode) => ({ mode })),
    portLevelMtls: fc.constantFrom(
      undefined,
      { 80: { mode: "PERMISSIVE" } },
      { 80: { mode: "UNSET" }, 81: { mode: "DISABLE" } },
    ),
  }),
  AuthorizationPolicy: authorizationSpec,
  RequestAuthentication: fc.record({
    selector,
    targetRefs: fc.constantFrom(undefined, undefined, [{ kind: "Service", name: "x" }]),
    jwtRules: fc.constantFrom<unknown[]>(
      [{ issuer: "https://issuer.example.com" }],
      [{ issuer: "https://issuer.example.com", jwksUri: "http://keys.example.com" }, { issuer: "" }],
      [],
    ),
  }),
  EnvoyFilter: fc.record({
    workloadSelector: fc.constantFrom(undefined, { labels: {} }, { labels: { app: "x" } }, { labels: { app: "y" } }),
    targetRefs: fc.constantFrom(
      undefined,
      undefined,
      [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }],
      [{ group: "gateway.networking.k8s.io", kind: "GatewayClass", name: "istio-waypoint" }],
      [{ kind: "Service", name: "x" }],
    ),
    configPatches: fc.constantFrom(
      [{ applyTo: "HTTP_FILTER" }],
      [{ applyTo: "CLUSTER", match: { context: "GATEWAY" } }],
      [],
    ),
  }),
  WasmPlugin: fc.record({
    selector,
    targetRefs: fc.constantFrom(undefined, undefined, [{ kind: "Service", name: "x" }]),
    url: fc.constantFrom("oci://one", "oci://two"),
  }),
  TrafficExtension: fc.record({ selector, lua: fc.constantFrom({ inlineCode: "a" }, { inlineCode: "b" }) }),
  Telemetry: fc.record({
    selector,
    accessLogging: fc.constantFrom([], [{ disabled: true }], [{ disabled: false }]),
    tracing: fc.constantFrom([], [{ providers: [{ name: "spans" }] }]),
    metrics: fc.constantFrom([], [{ overrides: [{ disabled: true }] }]),
  }),
  NetworkPolicy: fc.record({
    podSelector: fc.constantFrom(
      {},
      { matchLabels: { app: "x" } },
      { matchExpressions: [{ key: "app", operator: "NotIn", values: ["x"] }] },
    ),
    policyTypes: fc.constantFrom(undefined, ["Ingress"], ["Egress"]),
    ingress: fc.constantFrom(
      undefined,
      [{}],
      [{ ports: [{ port: 8080 }] }],
      [{ ports: [{ protocol: "TCP", port: 15000, endPort: 15010 }] }],
    ),
  }),
  Ingress: fc.record({
    ingressClassName: fc.constantFrom(undefined, "x", "y", "none"),
    tls: fc.constantFrom(undefined, [{ hosts: ["x.example.com"], secretName: "c" }], [{ hosts: ["y.example.com"] }]),
    rules: fc.array(
      fc.record({
        host: fc.constantFrom(undefined, "ext.example.com", "x.example.com", "*.example.com"),
        http: fc.constantFrom(
          undefined,
          { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "x", port: { number: 80 } } } }] },
          { paths: [{ path: "/a", pathType: "Exact", backend: { service: { name: "y", port: { name: "http" } } } }] },
          { paths: [{ path: "/a", pathType: "Prefix", backend: { service: { name: "x", port: { number: 81 } } } }] },
        ),
      }),
      { maxLength: 2 },
    ),
  }),
  IngressClass: fc.record({ controller: fc.constantFrom("istio.io/ingress-controller", "k8s.io/ingress-nginx") }),
  Sidecar: fc.record({
    workloadSelector: fc.constantFrom(undefined, { labels: {} }, { labels: { app: "x" } }),
    ingress: fc.constantFrom(
      [],
      [{ port: { number: 80 }, defaultEndpoint: "127.0.0.1:8080" }],
      [{ port: { number: 80 }, defaultEndpoint: "127.0.0.1:80", tls: { mode: "SIMPLE" } }],
    ),
    egress: fc.constantFrom(
      undefined,
      undefined,
      [{ hosts: ["./*"] }],
      [{ hosts: ["*/*.local", "~b/*"] }, { port: { number: 80 }, hosts: ["a/x.a.svc.cluster.local"] }],
    ),
  }),
  ProxyConfig: fc.record({
    selector,
    environmentVariables: fc.constantFrom(undefined, { ISTIO_META_X: "y" }, { LOG_LEVEL: "debug" }),
  }),
  WorkloadEntry: fc.record({
    address: fc.constantFrom("192.0.2.1", "192.0.2.2"),
    labels: podLabels,
    serviceAccount: fc.constantFrom(undefined, undefined, "vm"),
  }),
  WorkloadGroup: fc.record({
    metadata: fc.record({ labels: podLabels }),
    template: fc.record({ labels: podLabels, serviceAccount: fc.constantFrom(undefined, "vm", "x") }),
  }),
  MeshwardIntent: fc.record({
    to: fc.constantFrom<unknown>(
      { service: "x" },
      { service: "y", ports: [80] },
      { host: "ext.example.com" },
      { host: "y.example.com", ports: [80] },
      { workloads: { app: "x" } },
      { namespaces: { labels: { "meshward.io/protected": "true" } } },
    ),
    requests: fc.array(
      fc.record({
        from: fc.constantFrom(["mesh"], ["outside"], ["namespace/a"], ["serviceaccount/b/x"], ["ingress"], ["others"]),
        methods: fc.constantFrom(undefined, undefined, ["GET"]),
        expect: fc.constantFrom("allowed", "denied", "denied", "encrypted", "routed"),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  }),
  AdmissionWebhook: fc.record({ service: fc.record({ namespace, name, port: fc.constantFrom(undefined, 80) }) }),
  Service: fc.record({
    ...{ type: fc.constantFrom(undefined, undefined, undefined, undefined, "ExternalName") },
    externalName: fc.constantFrom("ext.example.com", "x.a.svc.cluster.local", "y.b.svc.cluster.local"),
    selector: podLabels,
    clusterIP: fc.constantFrom(undefined, "10.0.0.1"),
    ports: fc.constantFrom(
      [{ port: 80, targetPort: 8080 }],
      [{ port: 80, targetPort: 8080 }],
      [{ port: 80, targetPort: 8080 }, { port: 81 }],
    ),
  }),
  Workload: fc
    .tuple(podLabels, podMetadata, fc.constantFrom(false, false, false, true), probes)
    .map(([own, { labels, annotations }, hostNetwork, { probe, rewrites }]) => ({
      template: {
        metadata: { labels: { ...own, ...labels }, annotations: { ...annotations, ...rewrites } },
        spec: { hostNetwork, containers: [{ name: "c", ports: [{ containerPort: 80 }], ...probe }] },
      },
    })),
};
const originKinds: Partial<Record<Kind, string>> = {
  Workload: "Deployment",
  KubernetesGateway: "Gateway",
  KubernetesRoute: "HTTPRoute",
  AdmissionWebhook: "APIService",
};

const namespaced = (Object.keys(specs) as (keyof typeof specs)[]).map((kind) =>
  fc
    .record({
      namespace,
      name,
      creationTimestamp: time,
      labels: metadataLabels,
      annotations,
      spec: specs[kind],
    })
    .map(({ spec, ...metadata }) => readObject(kind, { kind: originKinds[kind] ?? kind, metadata, spec })),
);
const namespaceObject = fc
  .record({ name: namespace, labels: namespaceLabels })
  .map((metadata) => readObject("Namespace", { kind: "Namespace", metadata }));

/** The configurations of an injector, which differ in what they leave out. They are read once, because each has texts of YAML in it. */
const anInjectorConfig = (name: "istio-sidecar-injector" | "istio-sidecar-injector-other"): fc.Arbitrary<AnyObject> =>
  fc.constantFrom(
    ...[
      "policy: enabled",
      "policy: disabled",
      "{ policy: enabled, neverInjectSelector: [{ matchLabels: { app: x } }] }",
      "{ policy: disabled, alwaysInjectSelector: [{ matchLabels: { app: x } }] }",
    ].flatMap((config) =>
      [
        "{}",
        '{ "global": { "proxy": { "excludeInboundPorts": "80" } } }',
        '{ "sidecarInjectorWebhook": { "rewriteAppHTTPProbe": false } }',
      ].map((values) =>
        readObject("InjectorConfig", {
          kind: "ConfigMap",
          metadata: { name, namespace: "istio-system" },
          data: { config, values },
        }),
      ),
    ),
  );

/** One object of any kind but mesh config, the configuration of an injector and GatewayClass, which are settings of the mesh. */
export const anObject: fc.Arbitrary<AnyObject> = fc.oneof(...namespaced, namespaceObject);

/** Two control planes, of which one reads only some namespaces, and a tag that stands for it. */
export const twoControlPlanes: AllMeshSettings = {
  ...defaultMeshSettings,
  revisions: ["default", "other"],
  configured: ["default", "other"],
  injectors: ["default", "tag"],
  tags: { tag: "other" },
  discovery: {
    other: [{ matchLabels: {}, matchExpressions: [{ key: "istio-injection", operator: "DoesNotExist", values: [] }] }],
  },
};

/** Fields of a mesh config: those that anything reads, and some that nothing reads. */
export const someMeshConfigFields = fc.record(
  {
    rootNamespace: fc.constantFrom("a", "istio-system"),
    trustDomain: fc.constantFrom("cluster.local", "td"),
    trustDomainAliases: fc.constant(["old"]),
    enableAutoMtls: fc.boolean(),
    defaultServiceExportTo: exportTo,
    defaultVirtualServiceExportTo: exportTo,
    defaultDestinationRuleExportTo: exportTo,
    discoverySelectors: fc.constantFrom(
      [{ matchLabels: { "istio-injection": "enabled" } }],
      [{ matchLabels: { "meshward.io/protected": "true" } }],
    ),
    outboundTrafficPolicy: fc.record({ mode: fc.constantFrom("REGISTRY_ONLY", "ALLOW_ANY") }),
    defaultHttpRetryPolicy: fc.constantFrom({ attempts: 0 }, { attempts: 3, retryOn: "5xx" }),
    localityLbSetting: fc.constantFrom({ enabled: false }, { distribute: [{ from: "r", to: { r: 100 } }] }),
    ingressControllerMode: fc.constantFrom("OFF", "DEFAULT", "STRICT"),
    ingressClass: fc.constantFrom("istio", "nginx"),
    ingressService: fc.constantFrom("", "istio-ingressgateway", "x"),
    ingressSelector: fc.constantFrom("", "y"),
    defaultTrafficPolicy: fc.constantFrom({ outlierDetection: {} }, { connectionPool: { tcp: { maxConnections: 9 } } }),
    pathNormalization: fc.constantFrom({ normalization: "NONE" }, { normalization: "MERGE_SLASHES" }),
    extensionProviders: fc.constantFrom(
      [{ name: "opa", envoyExtAuthzGrpc: { service: "x.a.svc.cluster.local", port: 80 } }],
      [
        { name: "opa", envoyExtAuthzHttp: { service: "a/x.a.svc.cluster.local", port: 80 } },
        { name: "spans", zipkin: { service: "x.a.svc.cluster.local" } },
      ],
    ),
    accessLogFile: fc.constant("/dev/stdout"),
    enableEnvoyAccessLogService: fc.boolean(),
    defaultProviders: fc.constantFrom({ accessLogging: ["envoy"] }, { metrics: ["prometheus"] }),
    defaultConfig: fc.record(
      {
        interceptionMode: fc.constantFrom("NONE", "REDIRECT"),
        connectionSettings: fc.constantFrom(
          { httpMergeSlashes: false },
          { httpPathWithEscapedSlashesAction: "UNESCAPE_AND_FORWARD" },
        ),
        proxyMetadata: fc.constant({ ISTIO_META_DNS_CAPTURE: "true" }),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);
type Fields = typeof someMeshConfigFields extends fc.Arbitrary<infer T> ? T : never;
/** What readObject makes of the fields as YAML. Laws make up thousands, and to parse each as YAML takes twenty times as long. */
export function meshConfigOf(name: string, fields: Fields, joinsClusters = false): AnyObject {
  const malformed: Malformed[] = [];
  const mesh = meshConfig(fields, malformed);
  if (malformed.length > 0) throw new Error(`a mesh config is malformed: ${JSON.stringify(malformed)}`);
  const read = readObject("MeshConfig", { kind: "ConfigMap", metadata: { name, namespace: "istio-system" } });
  return { ...read, mesh, joinsClusters };
}
export const aMeshConfig = (name: "istio" | "istio-other" = "istio"): fc.Arbitrary<AnyObject> =>
  someMeshConfigFields.map((mesh) => meshConfigOf(name, mesh));

/** Two versions of a mesh config, of which many differ in one field. */
const meshConfigVersions = fc
  .tuple(someMeshConfigFields, someMeshConfigFields, fc.nat(20), fc.tuple(fc.boolean(), fc.boolean()))
  .map(([first, second, at, joinsClusters]) => {
    const names = [...new Set([...Object.keys(first), ...Object.keys(second)])] as (keyof Fields)[];
    const only = names[at];
    const next = only === undefined ? second : { ...first, [only]: second[only] };
    return [meshConfigOf("istio", first, joinsClusters[0]), meshConfigOf("istio", next, joinsClusters[1])] as const;
  });

const webhook = (name: string, labels: Readonly<Record<string, string>>, webhooks: readonly object[] = []) =>
  readObject("AdmissionWebhook", { kind: "MutatingWebhookConfiguration", metadata: { name, labels }, webhooks });
const labelled = (key: string, operator: string, ...values: readonly string[]) => ({
  matchExpressions: [{ key, operator, values }],
});
/** Webhooks of the injector: none that is known, some of Istio's, one for namespaces without labels, and one that selects nothing. */
const injectorWebhooks = fc.constantFrom<readonly object[]>(
  [],
  [{ namespaceSelector: labelled("istio-injection", "In", "enabled") }],
  [
    { namespaceSelector: labelled("istio-injection", "DoesNotExist"), objectSelector: labelled("app", "DoesNotExist") },
    { namespaceSelector: labelled("istio.io/rev", "In", "default", "other") },
  ],
  [{ namespaceSelector: labelled("istio-injection", "DoesNotExist") }],
  [{ namespaceSelector: { matchLabels: { "istio.io/deactivated": "never-match" } } }],
  [{ namespaceSelector: {}, matchConditions: [{ name: "a", expression: "object.metadata.labels.app == 'a'" }] }],
);
const anInjector = fc
  .tuple(fc.constantFrom("default", "other", "third"), injectorWebhooks)
  .map(([revision, webhooks]) => webhook("istio-sidecar-injector-x", { "istio.io/rev": revision }, webhooks));
const aTag = fc
  .tuple(fc.constantFrom("default", "other"), fc.constantFrom("tag", "default"))
  .map(([revision, tag]) => webhook("istio-revision-tag-x", { "istio.io/rev": revision, "istio.io/tag": tag }));
const ztunnel = fc.constantFrom<Record<string, string>>({}, { "istio.io/rev": "other" }).map((annotations) =>
  readObject("Workload", {
    kind: "DaemonSet",
    metadata: { name: "ztunnel", namespace: "istio-system" },
    spec: { template: { metadata: { annotations } } },
  }),
);
/** The class of some Gateways, and one that istiod knows by its name; some say which requests waypoints take, and how. */
const aGatewayClass = (name: "x" | "istio-waypoint"): fc.Arbitrary<AnyObject> =>
  fc
    .tuple(
      fc.constantFrom(
        ...["istio.io/gateway-controller", "istio.io/mesh-controller", "istio.io/eastwest-controller"],
        ...["istio.io/unmanaged-gateway", "example.com/other"],
      ),
      fc.constantFrom(undefined, undefined, "service", "workload", "all", "none"),
      fc.constantFrom(undefined, undefined, "PROXY", "PROXY/80"),
    )
    .map(([controllerName, waypointFor, binding]) => {
      const labels = waypointFor === undefined ? {} : { "istio.io/waypoint-for": waypointFor };
      const annotations = binding === undefined ? {} : { "ambient.istio.io/waypoint-inbound-binding": binding };
      const metadata = { name, labels, annotations };
      return readObject("GatewayClass", { kind: "GatewayClass", metadata, spec: { controllerName } });
    });
const gatewayClasses = [aGatewayClass("x"), aGatewayClass("istio-waypoint")];
const injectorConfigs = [anInjectorConfig("istio-sidecar-injector"), anInjectorConfig("istio-sidecar-injector-other")];
/** Objects from which settings of the mesh come, in two versions of one object each. */
export const settingsVersions: fc.Arbitrary<readonly [AnyObject, AnyObject]> = fc.oneof(
  { arbitrary: meshConfigVersions, weight: 5 },
  ...[aMeshConfig("istio-other"), anInjector, ...injectorConfigs, aTag, ztunnel, ...gatewayClasses].map((one) => ({
    arbitrary: fc.tuple(one, one),
    weight: 1,
  })),
);
/** One of each that is there beside them. */
export const otherSettings: fc.Arbitrary<readonly AnyObject[]> = fc
  .tuple(
    ...[
      aMeshConfig(),
      aMeshConfig("istio-other"),
      anInjector,
      ...injectorConfigs,
      aTag,
      ztunnel,
      ...gatewayClasses,
    ].map((one) => fc.option(one)),
  )
  .map((objects) => objects.filter((one) => one !== null));

/** A set of objects, each identity once. */
export const someObjects = (maxLength = 14): fc.Arbitrary<AnyObject[]> =>
  fc.uniqueArray(anObject, { selector: identityOf, maxLength });
