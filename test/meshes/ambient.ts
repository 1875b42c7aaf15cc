import fc from "fast-check";
import { identityOf } from "../../src/kube/identity.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";

/** Small ambient worlds: two namespaces, one waypoint's name, policies at ztunnel and at the waypoint. */

const namespace = fc.constantFrom("a", "b", "istio-system");
type Labels = Record<string, string>;
const ambient = { "istio.io/dataplane-mode": "ambient" };
const named = { "istio.io/use-waypoint": "w" };

const namespaceLabels = fc.constantFrom<Labels>(
  ambient,
  ambient,
  { ...ambient, ...named },
  { ...ambient, ...named },
  { ...ambient, ...named, "istio.io/use-waypoint-namespace": "b" },
  { ...ambient, "istio-injection": "enabled" },
  { "istio-injection": "enabled" },
  { "istio.io/rev": "stable" },
  { "istio.io/dataplane-mode": "none" },
  {},
);
const ownLabels = fc.constantFrom<Labels>({}, {}, named, { "istio.io/use-waypoint": "none" });
const podLabels = fc.constantFrom<Labels>({ app: "x" }, { app: "x" }, { app: "y" }, {});
const podMetadata = fc.constantFrom<{ labels?: Labels; annotations?: Labels }>(
  {},
  {},
  {},
  { labels: named },
  { labels: { "istio.io/dataplane-mode": "none" } },
  { labels: { "sidecar.istio.io/inject": "false" } },
  { annotations: { "sidecar.istio.io/status": "{}" } },
  { annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "80" } },
  { annotations: { "ambient.istio.io/bypass-inbound-capture": "true" } },
);
const listeners = fc.constantFrom<unknown>(
  undefined,
  [{ port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
  [
    {
      port: 15008,
      protocol: "HBONE",
      allowedRoutes: { namespaces: { from: "Selector", selector: { matchLabels: ambient } } },
    },
  ],
);
const rule = fc.constantFrom<unknown>(
  {},
  { from: [{ source: { principals: ["cluster.local/ns/a/sa/w"] } }] },
  { from: [{ source: { namespaces: ["b"] } }] },
  { to: [{ operation: { methods: ["GET"] } }] },
  { to: [{ operation: { ports: ["80"], paths: ["/"] } }] },
);
const policySpec = fc.record({
  selector: fc.constantFrom<unknown>(undefined, undefined, {}, { matchLabels: { app: "x" } }),
  targetRefs: fc.constantFrom<unknown>(
    undefined,
    undefined,
    [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }],
    [{ kind: "Service", name: "x" }],
  ),
  action: fc.constantFrom(undefined, "ALLOW", "DENY", "CUSTOM"),
  rules: fc.array(rule, { maxLength: 2 }),
});

const specs = {
  KubernetesGateway: fc.record({
    gatewayClassName: fc.constantFrom("istio-waypoint", "istio-waypoint", "istio"),
    listeners,
  }),
  AuthorizationPolicy: policySpec,
  PeerAuthentication: fc.record({
    selector: fc.constantFrom<unknown>(undefined, undefined, {}, { matchLabels: { app: "x" } }),
    mtls: fc.constantFrom({ mode: "STRICT" }, { mode: "STRICT" }, { mode: "PERMISSIVE" }),
  }),
  Service: fc.record({
    selector: fc.constantFrom({ app: "x" }, { app: "y" }),
    ports: fc.constant([{ port: 443, targetPort: 80 }]),
  }),
  VirtualService: fc.record({
    hosts: fc.constantFrom(["x"], ["x.a.svc.cluster.local"]),
    gateways: fc.constantFrom(undefined, ["mesh"], ["w"]),
    http: fc.constant([{ route: [{ destination: { host: "x" } }] }]),
  }),
  AdmissionWebhook: fc.record({ service: fc.record({ namespace, name: fc.constant("x") }) }),
  Workload: fc
    .tuple(podLabels, podMetadata, fc.constantFrom(false, false, false, true))
    .map(([own, { labels, annotations }, hostNetwork]) => ({
      template: {
        metadata: { labels: { ...own, ...labels }, annotations },
        spec: { hostNetwork, containers: [{ name: "c", ports: [{ containerPort: 80 }] }] },
      },
    })),
} satisfies Partial<Record<Kind, fc.Arbitrary<unknown>>>;
const originKinds: Partial<Record<Kind, string>> = {
  Workload: "Deployment",
  KubernetesGateway: "Gateway",
  AdmissionWebhook: "APIService",
};

/** Policies say something together; the waypoint is the one that labels name. */
const names: Partial<Record<Kind, readonly [string, ...string[]]>> = {
  KubernetesGateway: ["w"],
  AuthorizationPolicy: ["x", "y", "z"],
};

const namespaced = (Object.keys(specs) as (keyof typeof specs)[]).map((kind) =>
  fc
    .record({
      namespace,
      name: fc.constantFrom(...(names[kind] ?? ["x"])),
      labels: ownLabels,
      spec: specs[kind] as fc.Arbitrary<unknown>,
    })
    .map(({ spec, ...metadata }) => readObject(kind, { kind: originKinds[kind] ?? kind, metadata, spec })),
);
const namespaceObject = fc
  .record({ name: namespace, labels: namespaceLabels })
  .map((metadata) => readObject("Namespace", { kind: "Namespace", metadata }));
const often = namespaced.filter((_, i) =>
  ["AuthorizationPolicy", "KubernetesGateway", "Workload"].includes(Object.keys(specs)[i] ?? ""),
);

export const anAmbientObject: fc.Arbitrary<AnyObject> = fc.oneof(
  ...namespaced,
  ...often,
  namespaceObject,
  namespaceObject,
);

/** What must be there for most of it to matter: an ambient namespace with its waypoint, and who is behind it. */
const core: readonly AnyObject[] = [
  readObject("Namespace", { kind: "Namespace", metadata: { name: "a", labels: { ...ambient, ...named } } }),
  readObject("KubernetesGateway", {
    kind: "Gateway",
    metadata: { name: "w", namespace: "a" },
    spec: { gatewayClassName: "istio-waypoint" },
  }),
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name: "x", namespace: "a" },
    spec: { template: { metadata: { labels: { app: "x" } } } },
  }),
  readObject("Service", {
    kind: "Service",
    metadata: { name: "x", namespace: "a" },
    spec: { selector: { app: "x" }, ports: [{ port: 443, targetPort: 80 }] },
  }),
  readObject("AuthorizationPolicy", {
    kind: "AuthorizationPolicy",
    metadata: { name: "x", namespace: "a" },
    spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }] },
  }),
  readObject("AuthorizationPolicy", {
    kind: "AuthorizationPolicy",
    metadata: { name: "y", namespace: "a" },
    spec: { selector: {}, action: "DENY", rules: [{ to: [{ operation: { methods: ["GET"] } }] }] },
  }),
  readObject("PeerAuthentication", {
    kind: "PeerAuthentication",
    metadata: { name: "x", namespace: "a" },
    spec: { mtls: { mode: "STRICT" } },
  }),
  readObject("AdmissionWebhook", {
    kind: "APIService",
    metadata: { name: "x" },
    spec: { service: { namespace: "a", name: "x" } },
  }),
];

/** A set of objects, each identity once: most of the core, and others beside it or in its place. */
export const anAmbientWorld: fc.Arbitrary<AnyObject[]> = fc
  .tuple(
    fc.subarray([...core], { minLength: core.length - 2 }),
    fc.uniqueArray(anAmbientObject, { selector: identityOf, minLength: 2, maxLength: 10 }),
  )
  .map(([kept, others]) => [...new Map([...kept, ...others].map((object) => [identityOf(object), object])).values()]);
