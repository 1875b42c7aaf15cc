import { manifest, type Raw } from "../bench/mesh.ts";
import type { CostShape } from "./cost-shapes.ts";

const list = <T>(count: number, one: (i: number) => T): readonly T[] => Array.from({ length: count }, (_, i) => one(i));
const meshConfig = (name: string, mesh = "{}"): Raw =>
  manifest("v1", "ConfigMap", { namespace: "istio-system", name }, { data: { mesh } });
const injector = (revision: string): Raw =>
  manifest(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    { name: `istio-sidecar-injector-${revision}`, labels: { "istio.io/rev": revision } },
    {},
  );
const expression = (key: string, operator: string, ...values: readonly string[]) => ({ key, operator, values });
/** The webhooks that Istio's chart gives a tag. */
const tag = (name: string): Raw =>
  manifest(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    { name: `istio-revision-tag-${name}`, labels: { "istio.io/rev": "default", "istio.io/tag": name } },
    {
      webhooks: [
        { namespaceSelector: { matchExpressions: [expression("istio.io/rev", "In", name)] } },
        {
          namespaceSelector: {
            matchExpressions: [
              expression("istio.io/rev", "DoesNotExist"),
              expression("istio-injection", "DoesNotExist"),
            ],
          },
          objectSelector: { matchExpressions: [expression("istio.io/rev", "In", name)] },
        },
      ],
    },
  );
const namespace = (name: string, labels: Readonly<Record<string, string>>): Raw =>
  manifest("v1", "Namespace", { name, labels: { "meshward.io/protected": "true", ...labels } }, {});
const revisionOf = (i: number) => ({ "istio.io/rev": i % 2 === 0 ? "default" : "canary" });
const policy = (kind: string, i: number, spec: object): Raw =>
  manifest(
    "security.istio.io/v1",
    kind,
    { namespace: "shapes", name: `p-${i}`, labels: revisionOf(i) },
    { spec: { selector: { matchLabels: { app: `app-${i}` } }, ...spec } },
  );
const workload = (i: number, labels: Readonly<Record<string, string>> = {}): Raw =>
  manifest(
    "apps/v1",
    "Deployment",
    { namespace: "shapes", name: `w-${i}` },
    { spec: { template: { metadata: { labels: { app: `app-${i}`, ...labels } }, spec: {} } } },
  );
const definition = manifest(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  { name: "authorizationpolicies.security.istio.io" },
  {
    spec: {
      group: "security.istio.io",
      names: { kind: "AuthorizationPolicy", plural: "authorizationpolicies" },
      versions: [{ name: "v1", served: true, storage: true }],
    },
  },
);
const both = [meshConfig("istio"), meshConfig("istio-canary")];

/** Worlds with several control planes. */
export const revisionShapes: readonly CostShape[] = [
  {
    title: "n workloads that choose one of n tags with known webhooks, and their namespace is left out of the mesh",
    world: (n) => {
      const old = namespace("shapes", {});
      return {
        objects: [
          ...both,
          old,
          ...list(n, (i) => tag(`shapes-${i}`)),
          ...list(n, (i) => workload(i, { "istio.io/rev": `shapes-${i}` })),
        ],
        change: { old, object: namespace("shapes", { "istio-injection": "disabled" }) },
      };
    },
  },
  {
    title: "a namespace with n workloads and policies for two control planes moves to the other one",
    world: (n) => {
      const old = namespace("shapes", { "istio-injection": "enabled" });
      return {
        objects: [
          ...both,
          old,
          ...list(n, (i) => workload(i)),
          ...list(n, (i) => policy("PeerAuthentication", i, { mtls: { mode: "STRICT" } })),
          ...list(n, (i) => policy("AuthorizationPolicy", i, {})),
        ],
        change: { old, object: namespace("shapes", { "istio.io/rev": "canary" }) },
      };
    },
  },
  {
    title: "n workloads that choose one of two control planes, n policies for either, one policy goes",
    world: (n) => ({
      objects: [
        ...both,
        namespace("shapes", {}),
        ...list(n, (i) => workload(i, revisionOf(i))),
        ...list(n, (i) => policy("AuthorizationPolicy", i, {})),
      ],
      change: { old: policy("AuthorizationPolicy", 0, {}) },
    }),
  },
  {
    title: "n policies for another control plane, one more",
    world: (n) => ({
      objects: [
        ...both,
        namespace("shapes", { "istio-injection": "enabled" }),
        ...list(n, (i) => policy("AuthorizationPolicy", 2 * i + 1, {})),
        ...list(n, (i) => workload(i)),
      ],
      change: { object: policy("AuthorizationPolicy", 2 * n + 1, {}) },
    }),
  },
  {
    title: "a policy with n labels is for one control plane only",
    world: (n) => {
      const labels = Object.fromEntries(list(n, (i) => [`label-${i}`, "x"]));
      const labelled = (more: object) =>
        manifest(
          "security.istio.io/v1",
          "AuthorizationPolicy",
          { namespace: "shapes", name: "p", labels: { ...labels, ...more } },
          { spec: {} },
        );
      return {
        objects: [...both, namespace("shapes", { "istio-injection": "enabled" }), labelled({})],
        change: { old: labelled({}), object: labelled({ "istio.io/rev": "default" }) },
      };
    },
  },
  {
    title: "n policies of a protected namespace, and the definition of their kind goes",
    isMeshWide: true,
    world: (n) => ({
      objects: [
        definition,
        namespace("shapes", { "istio-injection": "enabled" }),
        ...list(n, (i) => policy("AuthorizationPolicy", i, {})),
      ],
      change: { old: definition },
    }),
  },
  {
    title: "n namespaces, and the mesh config of their control plane goes",
    isMeshWide: true,
    world: (n) => ({
      objects: [...both, injector("canary"), ...list(n, (i) => namespace(`shapes-${i}`, { "istio.io/rev": "canary" }))],
      change: { old: meshConfig("istio-canary") },
    }),
  },
  {
    title: "n namespaces that discoverySelectors leave out",
    isMeshWide: true,
    world: (n) => ({
      objects: [meshConfig("istio"), ...list(n, (i) => namespace(`shapes-${i}`, { "istio-injection": "enabled" }))],
      change: {
        old: meshConfig("istio"),
        object: meshConfig("istio", "discoverySelectors: [{ matchLabels: { mesh: none } }]"),
      },
    }),
  },
  {
    title: "a namespace that leaves n discoverySelectors",
    world: (n) => {
      const selectors = list(n, (i) => `{ matchLabels: { mesh: m-${i} } }`).join(", ");
      const old = namespace("shapes", { "istio-injection": "enabled", mesh: `m-${n - 1}` });
      return {
        objects: [meshConfig("istio", `discoverySelectors: [${selectors}]`), old],
        change: { old, object: namespace("shapes", { "istio-injection": "enabled" }) },
      };
    },
  },
  {
    title: "a namespace with n workloads moves to a revision of nobody",
    world: (n) => {
      const old = namespace("shapes", { "istio-injection": "enabled" });
      return {
        objects: [...both, old, ...list(n, (i) => workload(i))],
        change: { old, object: namespace("shapes", { "istio.io/rev": "nobody" }) },
      };
    },
  },
  {
    title: "n DestinationRules for another control plane, a VirtualService with n routes to their subsets",
    world: (n) => ({
      objects: [
        ...both,
        namespace("shapes", { "istio-injection": "enabled" }),
        ...list(n, (i) =>
          manifest(
            "networking.istio.io/v1",
            "DestinationRule",
            { namespace: "shapes", name: `d-${i}`, labels: { "istio.io/rev": "canary" } },
            { spec: { host: `s-${i}`, subsets: [{ name: "v1", labels: { version: "v1" } }] } },
          ),
        ),
      ],
      change: {
        object: manifest(
          "networking.istio.io/v1",
          "VirtualService",
          { namespace: "shapes", name: "v" },
          {
            spec: {
              hosts: ["s-0"],
              http: list(n, (i) => ({ route: [{ destination: { host: `s-${i}`, subset: "v1" } }] })),
            },
          },
        ),
      },
    }),
  },
  {
    title: "n DestinationRules of one host with n subsets for another control plane",
    world: (n) => ({
      objects: [
        ...both,
        namespace("shapes", { "istio-injection": "enabled" }),
        ...list(n, (i) =>
          manifest(
            "networking.istio.io/v1",
            "DestinationRule",
            { namespace: "shapes", name: `d-${i}`, labels: { "istio.io/rev": "canary" } },
            { spec: { host: "s", subsets: [{ name: `v${i}`, labels: { version: `v${i}` } }] } },
          ),
        ),
      ],
      change: {
        object: manifest(
          "networking.istio.io/v1",
          "VirtualService",
          { namespace: "shapes", name: "v" },
          {
            spec: {
              hosts: ["s"],
              http: list(n, (i) => ({ route: [{ destination: { host: "s", subset: `v${i}` } }] })),
            },
          },
        ),
      },
    }),
  },
];
