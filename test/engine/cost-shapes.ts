// Worlds in which an evaluation can be expensive, at any size. Each contains what some rule relates.

import type { Raw } from "../bench/mesh.ts";
import { manifest } from "../bench/mesh.ts";

/** A change in a world of a given size. */
export interface CostShape {
  readonly title: string;
  /** The smaller of the two sizes that are compared; default: 60. */
  readonly n?: number;
  /** What twice the size may cost at most; default: 2.2 times as much. More only if the world itself grows faster than n. */
  readonly most?: number;
  /** The change is not in one namespace: it is in the root namespace, or in none. */
  readonly isMeshWide?: boolean;
  world(n: number): { readonly objects: readonly Raw[]; readonly change: RawChange };
}
export interface RawChange {
  readonly old?: Raw | undefined;
  readonly object?: Raw | undefined;
}

const at = "shapes";
export const list = <T>(count: number, one: (i: number) => T): readonly T[] =>
  Array.from({ length: count }, (_, i) => one(i));
export const named = (name: string, labels: Readonly<Record<string, string>> = {}) => ({ namespace: at, name, labels });
export const namespace = (labels: Readonly<Record<string, string>>) =>
  manifest("v1", "Namespace", { name: at, labels }, {});
const networkPolicy = (name: string, spec: object) =>
  manifest("networking.k8s.io/v1", "NetworkPolicy", named(name), { spec });
export const policy = (name: string, spec: object) =>
  manifest("security.istio.io/v1", "AuthorizationPolicy", named(name), { spec });
const destinationRule = (name: string, spec: object) =>
  manifest("networking.istio.io/v1", "DestinationRule", named(name), { spec });
const virtualService = (name: string, spec: object) =>
  manifest("networking.istio.io/v1", "VirtualService", named(name), { spec });
const service = (i: number) =>
  manifest("v1", "Service", named(`s-${i}`), { spec: { selector: { app: `app-${i}` }, ports: [{ port: 80 }] } });
export const workload = (i: number) =>
  manifest("apps/v1", "Deployment", named(`w-${i}`), {
    spec: { template: { metadata: { labels: { app: `app-${i}` } }, spec: {} } },
  });
const annotated = (annotations: Readonly<Record<string, string>>) =>
  manifest("apps/v1", "Deployment", named("annotated"), { spec: { template: { metadata: { annotations } } } });
const ownedBy = (name: string, controller: boolean) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  name,
  controller,
});
const replicaSet = (name: string, ownerReferences: readonly object[]) =>
  manifest("apps/v1", "ReplicaSet", { ...named(name), ...{ ownerReferences } }, { spec: { template: {} } });

/** Rules that evaluate one object alone, which can be large. */
const ofOneObject: readonly CostShape[] = [
  {
    title: "a policy with n malformed principals",
    world: (n) => ({
      objects: [namespace({})],
      change: { object: policy("p", { rules: [{ from: [{ source: { principals: list(n, (i) => `*a*${i}`) } }] }] }) },
    }),
  },
  {
    title: "a policy with n values that no request has",
    world: (n) => ({
      objects: [namespace({})],
      change: { object: policy("p", { rules: [{ to: [{ operation: { paths: list(n, (i) => `p-${i}/*`) } }] }] }) },
    }),
  },
  {
    title: "a CUSTOM policy of n rules that asks a provider which is not among n",
    world: (n) => ({
      objects: [
        namespace({}),
        manifest(
          "v1",
          "ConfigMap",
          { namespace: "istio-system", name: "istio" },
          {
            data: { mesh: JSON.stringify({ extensionProviders: list(n, (i) => ({ name: `p-${i}` })) }) },
          },
        ),
      ],
      change: { object: policy("p", { action: "CUSTOM", provider: { name: "p" }, rules: list(n, () => ({})) }) },
    }),
  },
  {
    title: "a policy of n issuers that none of n RequestAuthentications has",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) =>
          manifest("security.istio.io/v1", "RequestAuthentication", named(`r-${i}`), {
            spec: { selector: { matchLabels: { app: `app-${i}` } }, jwtRules: [{ issuer: `https://${i}` }] },
          }),
        ),
      ],
      change: {
        object: policy("p", {
          selector: { matchLabels: { app: "app-0" } },
          rules: list(n, (i) => ({
            from: [{ source: { requestPrincipals: [`x-${i}/*`, `*y-${i}/z`, `z-${i}*`] } }],
          })),
        }),
      },
    }),
  },
  {
    title: "a policy of n ports at which none of n workloads listens",
    world: (n) => ({
      objects: [namespace({}), ...list(n, service), ...list(n, workload)],
      change: {
        object: policy("p", { rules: [{ to: [{ operation: { ports: list(n, (i) => String(1000 + i)) } }] }] }),
      },
    }),
  },
  {
    title: "a VirtualService with n delegates that do not exist",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: virtualService("v", {
          hosts: ["a.example.com"],
          http: list(n, (i) => ({ delegate: { name: `d-${i}` } })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService at n Gateways of n pods, hidden from them",
    isMeshWide: true,
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) =>
          manifest("networking.istio.io/v1", "Gateway", named(`g-${i}`), {
            spec: { selector: { istio: "edge" }, servers: [{ port: { number: 80, protocol: "HTTP" }, hosts: ["*"] }] },
          }),
        ),
        ...list(n, (i) =>
          manifest(
            "apps/v1",
            "Deployment",
            { namespace: "edge", name: `e-${i}` },
            {
              spec: { template: { metadata: { labels: { istio: "edge" } }, spec: {} } },
            },
          ),
        ),
      ],
      change: {
        object: virtualService("v", {
          hosts: ["a.example.com"],
          exportTo: ["."],
          gateways: list(n, (i) => `g-${i}`),
          http: [{ route: [{ destination: { host: "a" } }] }],
        }),
      },
    }),
  },
  {
    title: "a policy that targets n Services without a waypoint",
    world: (n) => ({
      objects: [namespace({}), ...list(n, service)],
      change: { object: policy("p", { targetRefs: list(n, (i) => ({ kind: "Service", name: `s-${i}` })) }) },
    }),
  },
  {
    title: "a policy with n rules that are split in two",
    world: (n) => {
      const halves = [{ from: [{ source: { namespaces: ["a"] } }] }, { to: [{ operation: { methods: ["GET"] } }] }];
      return { objects: [namespace({})], change: { object: policy("p", { rules: list(n, () => halves).flat() }) } };
    },
  },
  {
    title: "a policy with n targets that do not exist",
    world: (n) => ({
      objects: [namespace({})],
      change: { object: policy("p", { targetRefs: list(n, (i) => ({ kind: "Service", name: `s-${i}` })) }) },
    }),
  },
  {
    title: "a policy with rules for n unknown namespaces",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: policy("p", { rules: list(n, (i) => ({ from: [{ source: { namespaces: [`unknown-${i}`] } }] })) }),
      },
    }),
  },
  {
    title: "a policy with rules for n unknown service accounts, beside n workloads and n policies that name theirs",
    world: (n) => {
      const named = (i: number, account: string) =>
        policy(`p-${i}`, { rules: [{ from: [{ source: { serviceAccounts: [account, "default"] } }] }] });
      return {
        objects: [namespace({}), ...list(n, (i) => workload(i)), ...list(n, (i) => named(i, `a-${i}`))],
        change: {
          object: policy("p", {
            rules: list(n, (i) => ({ from: [{ source: { serviceAccounts: [`default${i}`] } }] })),
          }),
        },
      };
    },
  },
  {
    title: "n policies name the service account of n workloads, one of which changes",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) => policy(`p-${i}`, { rules: [{ from: [{ source: { serviceAccounts: ["default"] } }] }] })),
      ],
      change: {
        old: workload(0),
        object: { ...workload(0), metadata: { ...workload(0).metadata, labels: { a: "b" } } },
      },
    }),
  },
  {
    title: "n Services for versions of one application, of which n workloads run and one is relabelled",
    world: (n) => {
      const version = (i: number, of: string) =>
        manifest("apps/v1", "Deployment", named(`w-${i}`), {
          spec: { template: { metadata: { labels: { app: "a", version: of } }, spec: {} } },
        });
      const selecting = (i: number) =>
        manifest("v1", "Service", named(`s-${i}`), {
          spec: { selector: { app: "a", version: `v-${i}` }, ports: [{ port: 80 }] },
        });
      return {
        objects: [namespace({}), ...list(n, selecting), ...list(n, (i) => version(i, `v-${i}`))],
        change: { old: version(0, "v-0"), object: version(0, "gone") },
      };
    },
  },
  {
    title: "a RequestAuthentication with n issuers whose keys come over plain HTTP",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest("security.istio.io/v1", "RequestAuthentication", named("tokens"), {
          spec: { jwtRules: list(n, (i) => ({ issuer: `i-${i}`, jwksUri: `http://issuer-${i}.example.com/keys` })) },
        }),
      },
    }),
  },
  {
    title: "the last policy that allows something goes, beside n policies that deny n workloads",
    world: (n) => {
      const old = policy("last", { rules: [{ from: [{ source: { namespaces: ["web"] } }] }] });
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          policy("nobody", {}),
          old,
          ...list(n, (i) => workload(i)),
          ...list(n, (i) =>
            policy(`p-${i}`, {
              selector: { matchLabels: { app: `app-${i}` } },
              action: "DENY",
              rules: [{ from: [{ source: { namespaces: ["x"] } }] }],
            }),
          ),
        ],
        change: { old },
      };
    },
  },
  {
    title: "a workload gets another account than n policies name",
    world: (n) => {
      const runningAs = (serviceAccountName: string) =>
        manifest("apps/v1", "Deployment", named("caller"), {
          spec: { template: { metadata: { labels: { app: "caller" } }, spec: { serviceAccountName } } },
        });
      const rules = [{ from: [{ source: { principals: ["cluster.local/ns/shapes/sa/former"] } }] }];
      const old = runningAs("former");
      return {
        objects: [namespace({}), ...list(n, (i) => policy(`p-${i}`, { rules })), old],
        change: { old, object: runningAs("new") },
      };
    },
  },
  {
    title: "a Service moves to n pods with policies of their own that allow nobody",
    world: (n) => {
      const pods = (tier: string) =>
        list(n, (i) =>
          manifest("apps/v1", "Deployment", named(`${tier}-${i}`), {
            spec: { template: { metadata: { labels: { tier, app: `app-${i}` } }, spec: {} } },
          }),
        );
      const selecting = (tier: string) =>
        manifest("v1", "Service", named("moved"), { spec: { selector: { tier }, ports: [{ port: 80 }] } });
      const old = selecting("blue");
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          policy("nobody", {}),
          policy("blue", { selector: { matchLabels: { tier: "blue" } }, rules: [{}] }),
          ...list(n, (i) =>
            policy(`p-${i}`, {
              selector: { matchLabels: { tier: "green", app: `app-${i}` } },
              action: "DENY",
              rules: [{ from: [{ source: { namespaces: ["x"] } }] }],
            }),
          ),
          ...pods("blue"),
          ...pods("green"),
          old,
        ],
        change: { old, object: selecting("green") },
      };
    },
  },
  {
    title: "a policy with n rules that allow everyone",
    world: (n) => ({
      objects: [namespace({}), policy("closed", {}), ...list(n, (i) => workload(i))],
      change: { object: policy("p", { rules: list(n, () => ({})) }) },
    }),
  },
  {
    title: "an ambient policy with n rules that ask for HTTP",
    world: (n) => ({
      objects: [namespace({ "istio.io/dataplane-mode": "ambient" }), ...list(n, (i) => workload(i))],
      change: { object: policy("p", { rules: list(n, (i) => ({ to: [{ operation: { paths: [`/${i}`] } }] })) }) },
    }),
  },
  {
    title: "a namespace with n labels and contradictory enrollment",
    world: (n) => {
      const labels = Object.fromEntries(list(n, (i) => [`label-${i}`, "x"]));
      const old = namespace({ ...labels, "meshward.io/protected": "true" });
      const next = namespace({ ...labels, "istio-injection": "enabled", "istio.io/dataplane-mode": "ambient" });
      return { objects: [old], change: { old, object: next } };
    },
  },
  {
    title: "n objects of a revision that no control plane serves, one more",
    world: (n) => {
      const inert = (name: string) => ({ ...named(name, { "istio.io/rev": "unserved" }) });
      const filter = (name: string) =>
        manifest("networking.istio.io/v1alpha3", "EnvoyFilter", inert(name), { spec: { configPatches: [{}] } });
      const served = manifest(
        "v1",
        "ConfigMap",
        { namespace: "istio-system", name: "istio-stable" },
        { data: { mesh: "" } },
      );
      return {
        objects: [namespace({}), served, ...list(n, (i) => filter(`f-${i}`))],
        change: { object: filter("f") },
      };
    },
  },
  {
    title: "a workload with an annotation of n ports that Istio refuses",
    world: (n) => ({
      objects: [namespace({ "istio-injection": "enabled" })],
      change: {
        object: annotated({
          "traffic.sidecar.istio.io/excludeInboundPorts": `${list(n, (i) => 8000 + i).join()},none`,
        }),
      },
    }),
  },
  {
    title: "a workload with n labels gets that of a Gateway",
    world: (n) => {
      const labels = Object.fromEntries(list(n, (i) => [`label-${i}`, "x"] as const));
      const labelled = (more: object) =>
        manifest("apps/v1", "Deployment", named("called"), {
          spec: { template: { metadata: { labels: { ...labels, ...more } } } },
        });
      return {
        objects: [namespace({ "meshward.io/protected": "true", "istio-injection": "enabled" })],
        change: { old: labelled({}), object: labelled({ "gateway.networking.k8s.io/gateway-name": "edge" }) },
      };
    },
  },
  {
    title: "a ReplicaSet with n owners, of which the one that controls it is not among n workloads",
    world: (n) => ({
      objects: [namespace({ "meshward.io/protected": "true" }), ...list(n, workload)],
      change: { object: replicaSet("gone-1", [...list(n, (i) => ownedBy(`w-${i}`, false)), ownedBy("gone", true)]) },
    }),
  },
  {
    title: "a ReplicaSet gets n owners, of which the one that controls it is the last of n workloads",
    world: (n) => {
      const owners = list(n, (i) => ownedBy(`w-${i}`, i === n - 1));
      return {
        objects: [namespace({ "meshward.io/protected": "true" }), ...list(n, workload)],
        change: { old: replicaSet(`w-${n - 1}-1`, []), object: replicaSet(`w-${n - 1}-1`, owners) },
      };
    },
  },
  {
    title: "an object with n fields of the wrong type",
    world: (n) => ({
      objects: [namespace({})],
      change: { object: virtualService("v", { hosts: ["a"], http: list(n, () => 0) }) },
    }),
  },
  {
    title: "a Gateway with n servers that accept old TLS",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest("networking.istio.io/v1", "Gateway", named("g"), {
          spec: {
            servers: list(n, (i) => ({
              hosts: [`${i}.example.com`],
              port: { number: 443, protocol: "HTTPS", name: "https" },
              tls: { mode: "SIMPLE", minProtocolVersion: "TLSV1_0" },
            })),
          },
        }),
      },
    }),
  },
];

/** Traffic, as users have it. */
const ofTraffic: readonly CostShape[] = [
  {
    title: "a VirtualService with n routes whose weights are wrong",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: virtualService("v", {
          hosts: ["a"],
          http: list(n, () => ({ route: list(2, (i) => ({ destination: { host: `h-${i}` }, weight: 30 })) })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n routes that Istio rejects",
    world: (n) => ({
      objects: [namespace({})],
      change: { object: virtualService("v", { hosts: ["a"], http: list(n, () => ({})) }) },
    }),
  },
  {
    title: "the subset that n VirtualServices use goes",
    world: (n) => {
      const old = destinationRule("d", { host: "a", subsets: [{ name: "v1" }] });
      const route = [{ destination: { host: "a", subset: "v1" } }];
      return {
        objects: [namespace({}), ...list(n, (i) => virtualService(`v-${i}`, { hosts: ["a"], http: [{ route }] })), old],
        change: { old, object: destinationRule("d", { host: "a" }) },
      };
    },
  },
  {
    title: "the oldest of n VirtualServices for one host, each exported to another namespace, goes",
    world: (n) => {
      const route = [{ destination: { host: "a", subset: "v1" } }];
      const exported = (i: number) => ({ hosts: ["a"], exportTo: [`client-${i}`, "client"], http: [{ route }] });
      const old = virtualService("a", { hosts: ["a"], exportTo: ["client"], http: [{ route }] });
      return {
        objects: [
          namespace({}),
          destinationRule("d", { host: "a", subsets: [{ name: "v2" }] }),
          ...list(n, (i) => virtualService(`v-${i}`, exported(i))),
          old,
        ],
        change: { old },
      };
    },
  },
  {
    title: "a VirtualService for n hosts that others own, with n routes to missing subsets",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) =>
          virtualService(`a-${i}`, { hosts: [`h-${i}`], http: [{ route: [{ destination: { host: "b" } }] }] }),
        ),
      ],
      change: {
        object: virtualService("v", {
          hosts: list(n, (i) => `h-${i}`),
          http: list(n, (i) => ({ route: [{ destination: { host: "b", subset: `s-${i}` } }] })),
        }),
      },
    }),
  },
  {
    title: "n ambient Services with routes and no waypoint, one route more",
    world: (n) => ({
      objects: [namespace({ "istio.io/dataplane-mode": "ambient" }), ...list(n, service)],
      change: {
        object: virtualService("v", { hosts: ["s-0"], http: [{ route: [{ destination: { host: "s-0" } }] }] }),
      },
    }),
  },
  {
    title: "n routes to n subsets that a shared waypoint does not have, for n Services",
    world: (n) => ({
      objects: [
        namespace({ ...throughWaypoint, "istio.io/use-waypoint-namespace": "infra" }),
        sharedWaypoint(),
        ...list(n, service),
        ...list(n, (i) =>
          destinationRule(`d-${i}`, { host: `s-${i}`, exportTo: ["."], subsets: [{ name: "v1", labels: { v: "1" } }] }),
        ),
      ],
      change: {
        object: virtualService("v", {
          hosts: list(n, (i) => `s-${i}`),
          http: list(n, (i) => ({
            match: [{ uri: { exact: `/${i}` } }],
            route: [{ destination: { host: `s-${i}`, subset: "v1" } }],
          })),
        }),
      },
    }),
  },
  {
    title: "n DestinationRules for Services of a namespace with n workloads, which becomes ambient without a waypoint",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, service),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) =>
          destinationRule(`d-${i}`, {
            host: `s-${i}`,
            trafficPolicy: { outlierDetection: { consecutive5xxErrors: 1 } },
          }),
        ),
      ],
      change: { old: namespace({}), object: namespace({ "istio.io/dataplane-mode": "ambient" }) },
    }),
  },
  {
    title: "a DestinationRule with plaintext for one of n Services, n of them STRICT",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        manifest("security.istio.io/v1", "PeerAuthentication", named("default"), {
          spec: { mtls: { mode: "STRICT" } },
        }),
        ...list(n, service),
        ...list(n, (i) => workload(i)),
      ],
      change: { object: destinationRule("d", { host: "s-0", trafficPolicy: { tls: { mode: "DISABLE" } } }) },
    }),
  },
  {
    title: "a policy with n STRICT ports in a namespace with mode DISABLE, n workloads",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        manifest("security.istio.io/v1", "PeerAuthentication", named("default"), {
          spec: { mtls: { mode: "DISABLE" } },
        }),
        ...list(n, (i) => workload(i)),
      ],
      change: {
        object: manifest("security.istio.io/v1", "PeerAuthentication", named("p"), {
          spec: {
            selector: { matchLabels: { app: "app-0" } },
            portLevelMtls: Object.fromEntries(list(n, (i) => [8000 + i, { mode: "STRICT" }])),
          },
        }),
      },
    }),
  },
  {
    title: "a DestinationRule with TLS of its own for one of n STRICT Services",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        manifest("security.istio.io/v1", "PeerAuthentication", named("default"), {
          spec: { mtls: { mode: "STRICT" } },
        }),
        ...list(n, service),
        ...list(n, (i) => workload(i)),
      ],
      change: { object: destinationRule("d", { host: "s-0", trafficPolicy: { tls: { mode: "SIMPLE" } } }) },
    }),
  },
  {
    title: "n DestinationRules with plaintext for workloads with policies about identities, and one policy more",
    world: (n) => {
      const ofCallers = (name: string, i: number) =>
        policy(name, {
          selector: { matchLabels: { app: `app-${i}` } },
          rules: [{ from: [{ source: { principals: [`*/ns/web/sa/${name}`] } }] }],
        });
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          ...list(n, service),
          ...list(n, (i) => workload(i)),
          ...list(n, (i) => destinationRule(`d-${i}`, { host: `s-${i}`, trafficPolicy: { tls: { mode: "DISABLE" } } })),
          ...list(n - 1, (i) => ofCallers(`p-${i}`, i + 1)),
        ],
        change: { object: ofCallers("new", 0) },
      };
    },
  },
  {
    title: "STRICT goes, and n policies refuse callers by their identity",
    world: (n) => {
      const mode = (value: string) =>
        manifest("security.istio.io/v1", "PeerAuthentication", named("default"), { spec: { mtls: { mode: value } } });
      const refused = { rules: [{ from: [{ source: { namespaces: ["web"] } }] }], action: "DENY" };
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          mode("STRICT"),
          ...list(n, (i) => policy(`p-${i}`, { ...refused, selector: { matchLabels: { app: `app-${i}` } } })),
        ],
        change: { old: mode("STRICT"), object: mode("PERMISSIVE") },
      };
    },
  },
  {
    title: "the mesh config switches auto mTLS off over n namespaces",
    isMeshWide: true,
    world: (n) => {
      const config = (mesh: string) =>
        manifest("v1", "ConfigMap", { namespace: "istio-system", name: "istio" }, { data: { mesh } });
      return {
        objects: [
          ...list(n, (i) =>
            manifest("v1", "Namespace", { name: `ns-${i}`, labels: { "istio-injection": "enabled" } }, {}),
          ),
          config("enableAutoMtls: true"),
        ],
        change: { old: config("enableAutoMtls: true"), object: config("enableAutoMtls: false") },
      };
    },
  },
];

const enrolled = namespace({ "istio-injection": "enabled" });
const labelled = (name: string, labels: Readonly<Record<string, string>>) =>
  manifest("apps/v1", "Deployment", named(name), { spec: { template: { metadata: { labels }, spec: {} } } });
const peer = (name: string, spec: object) =>
  manifest("security.istio.io/v1", "PeerAuthentication", named(name), { spec });

/** What is open in a namespace. */
const ofStates: readonly CostShape[] = [
  {
    title: "n NetworkPolicies admit a port of n workloads each, and the namespace becomes ambient",
    world: (n) => {
      const ingress = [{ ports: [{ port: 8080 }] }];
      const exceptFor = (i: number) => ({
        matchExpressions: [{ key: "app", operator: "NotIn", values: [`app-${i % 7}`] }],
      });
      return {
        objects: [
          namespace({}),
          ...list(n, workload),
          ...list(n, (i) => networkPolicy(`all-${i}`, { podSelector: {}, ingress })),
          ...list(n, (i) => networkPolicy(`except-${i}`, { podSelector: exceptFor(i), ingress })),
          ...list(n, (i) => networkPolicy(`one-${i}`, { podSelector: { matchLabels: { app: `app-${i}` } }, ingress })),
        ],
        change: { old: namespace({}), object: namespace({ "istio.io/dataplane-mode": "ambient" }) },
      };
    },
  },
  {
    title: "n Telemetries are for one whole namespace, and the first one changes",
    world: (n) => {
      const telemetry = (i: number, spec: object) =>
        manifest("telemetry.istio.io/v1", "Telemetry", named(`t-${String(i).padStart(5, "0")}`), { spec });
      return {
        objects: [enrolled, ...list(n, (i) => telemetry(i, { tracing: [{}] }))],
        change: {
          old: telemetry(0, { tracing: [{}] }),
          object: telemetry(0, { selector: { matchLabels: { app: "a" } } }),
        },
      };
    },
  },
  {
    title: "n CUSTOM policies name a provider each for n workloads, and one more does",
    world: (n) => {
      const asking = (i: number) =>
        policy(`p-${i}`, {
          selector: { matchLabels: { [`l-${i % 7}`]: "x" } },
          action: "CUSTOM",
          provider: { name: `provider-${i}` },
          rules: [{}],
        });
      return {
        objects: [
          enrolled,
          ...list(n, asking),
          ...list(n, (i) => labelled(`w-${i}`, { [`l-${i % 7}`]: "x", app: `app-${i}` })),
        ],
        change: { object: asking(n) },
      };
    },
  },
  {
    title: "n workloads opt out of the mesh, and the labels of the namespace change",
    world: (n) => ({
      objects: [enrolled, ...list(n, (i) => labelled(`w-${i}`, { "sidecar.istio.io/inject": "false" }))],
      change: { old: enrolled, object: namespace({ "istio-injection": "enabled", team: "a" }) },
    }),
  },
  {
    title: "a policy of n ports exempts n workloads, and one more is created",
    world: (n) => {
      const portLevelMtls = Object.fromEntries(list(n, (i) => [`${1000 + i}`, { mode: "PERMISSIVE" }]));
      return {
        objects: [
          enrolled,
          peer("strict", { mtls: { mode: "STRICT" } }),
          peer("ports", { selector: { matchLabels: { all: "x" } }, portLevelMtls }),
          ...list(n, (i) => labelled(`w-${i}`, { all: "x", app: `app-${i}` })),
        ],
        change: { object: labelled("new", { all: "x" }) },
      };
    },
  },
  {
    title: "n policies exempt n workloads, and the STRICT one of the namespace is deleted",
    world: (n) => ({
      objects: [
        enrolled,
        peer("strict", { mtls: { mode: "STRICT" } }),
        ...list(n, (i) =>
          peer(`p-${i}`, { selector: { matchLabels: { app: `app-${i}` } }, mtls: { mode: "PERMISSIVE" } }),
        ),
        ...list(n, (i) => workload(i)),
        labelled("other", { app: "other" }),
      ],
      change: { old: peer("strict", { mtls: { mode: "STRICT" } }) },
    }),
  },
];

const waypoint = (metadata: object = {}) =>
  manifest(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    { ...named("w"), ...metadata },
    {
      spec: { gatewayClassName: "istio-waypoint" },
    },
  );
/** A waypoint of another namespace for all of them. */
const sharedWaypoint = () =>
  manifest(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    { namespace: "infra", name: "w" },
    {
      spec: {
        gatewayClassName: "istio-waypoint",
        listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
      },
    },
  );

const throughWaypoint = { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" };
const isProtected = { "meshward.io/protected": "true" };
const allowing = (i: number) => ({ rules: [{ from: [{ source: { principals: [`trust/ns/a/sa/${i}`] } }] }] });
const atGateway = { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }] };
const labelledService = (i: number) => ({ ...service(i), metadata: named(`s-${i}`, { "istio.io/use-waypoint": "w" }) });

/** Policies at waypoints. */
const ofWaypoints: readonly CostShape[] = [
  {
    title: "n Services with a policy each leave the waypoint of their namespace",
    world: (n) => {
      const old = namespace({ ...isProtected, ...throughWaypoint });
      const target = (i: number) => ({ targetRefs: [{ kind: "Service", name: `s-${i}` }], ...allowing(i) });
      return {
        objects: [old, waypoint(), ...list(n, service), ...list(n, (i) => policy(`p-${i}`, target(i)))],
        change: { old, object: namespace({ ...isProtected, "istio.io/dataplane-mode": "ambient" }) },
      };
    },
  },
  {
    title: "n Services that are exported to their own namespace alone get a waypoint of another one",
    world: (n) => {
      const [old, next] = [{ "istio.io/use-waypoint": "none" }, { "istio.io/use-waypoint-namespace": "infra" }];
      const own = { "networking.istio.io/exportTo": "." };
      return {
        objects: [
          namespace({ ...throughWaypoint, ...old }),
          sharedWaypoint(),
          ...list(n, (i) => ({ ...service(i), metadata: { ...named(`s-${i}`), annotations: own } })),
        ],
        change: { old: namespace({ ...throughWaypoint, ...old }), object: namespace({ ...throughWaypoint, ...next }) },
      };
    },
  },
  {
    title: "the waypoint of n Services and n policies is deleted",
    world: (n) => ({
      objects: [
        namespace({ ...isProtected, "istio.io/dataplane-mode": "ambient" }),
        ...list(n, labelledService),
        ...list(n, (i) => policy(`p-${i}`, { ...atGateway, ...allowing(i) })),
        ...list(n, workload),
        waypoint(),
      ],
      change: { old: waypoint() },
    }),
  },
  {
    title: "the waypoint that n Services and n workloads name themselves is deleted",
    world: (n) => ({
      objects: [
        namespace({ ...isProtected, "istio.io/dataplane-mode": "ambient" }),
        ...list(n, (i) => ({ ...service(i), metadata: named(`s-${i}`, { "istio.io/use-waypoint": "waypoint" }) })),
        ...list(n, (i) => labelled(`w-${i}`, { app: `app-${i}`, "istio.io/use-waypoint": "waypoint" })),
        waypoint(),
      ],
      change: { old: waypoint() },
    }),
  },
  {
    title: "one of n ambient workloads changes behind n policies at a waypoint",
    world: (n) => ({
      objects: [
        namespace({ ...isProtected, ...throughWaypoint }),
        waypoint(),
        ...list(n, service),
        ...list(n, (i) => policy(`p-${i}`, { ...atGateway, ...allowing(i) })),
        ...list(n, workload),
      ],
      change: { old: workload(0), object: { ...workload(0), metadata: named("w-0", { team: "a" }) } },
    }),
  },
];

/** Who gains what by a change of policies. */
const ofGains: readonly CostShape[] = [
  {
    title: "n workloads with an ALLOW policy each, and the DENY policy of all of them goes",
    world: (n) => ({
      objects: [namespace({}), policy("closed", {}), ...list(n, workload), ...list(n, allowOfApp), denyAdmin],
      change: { old: denyAdmin },
    }),
  },
  {
    title: "n ALLOW policies for n workloads with a policy each, one more",
    world: (n) => ({
      objects: [namespace({}), ...list(n, workload), ...list(n, allowOfApp), ...list(n, allowNamespace)],
      change: { object: allowNamespace(n) },
    }),
  },
  {
    title: "n DENY policies, of which one goes, for n workloads with a policy each",
    world: (n) => ({
      objects: [namespace({}), ...list(n, workload), ...list(n, allowOfApp), ...list(n, denyPath)],
      change: { old: denyPath(0) },
    }),
  },
  {
    title: "a policy of n rules that is written in another way",
    world: (n) => {
      const rules = list(n, (i) => ({ from: [{ source: { namespaces: [`n-${i}`] } }] }));
      const [old, next] = [
        policy("p", { rules }),
        policy("p", { rules: [{ from: rules.flatMap(({ from }) => from) }] }),
      ];
      return { objects: [namespace({}), ...list(few, workload), old], change: { old, object: next } };
    },
  },
  {
    title: "a policy of n rules for paths of n patterns, one rule more",
    world: (n) => {
      const rules = list(n, (i) => ({ to: [{ operation: { paths: [`/${i}/*`] } }] }));
      const more = { to: [{ operation: { paths: list(few, (i) => `/x/${i}/*`) } }] };
      const [old, next] = [policy("p", { rules }), policy("p", { rules: [...rules, more] })];
      return { objects: [namespace({}), ...list(few, workload), old], change: { old, object: next } };
    },
  },
  {
    title: "n policies that name n namespaces by a pattern, one of which gets a label",
    isMeshWide: true,
    world(n) {
      const team = (i: number, labels = {}) => manifest("v1", "Namespace", { name: `team-${i}`, labels }, {});
      const byPattern = policy("p", { rules: [{ from: [{ source: { namespaces: ["team-*", "*-a"] } }] }] });
      const policies = list(n, (i) => ({ ...byPattern, metadata: { ...byPattern.metadata, name: `p-${i}` } }));
      return {
        objects: [namespace({}), ...list(n, (i) => team(i)), ...policies],
        change: { old: team(0), object: team(0, { a: "b" }) },
      };
    },
  },
  {
    title: "n CUSTOM policies, one of which goes",
    world: (n) => ({
      objects: [namespace({}), ...list(n, workload), ...list(n, customPath)],
      change: { old: customPath(0) },
    }),
  },
];
const few = 5;
const path = (i: number) => [{ to: [{ operation: { paths: [`/${i}/*`] } }] }];
const allowOfApp = (i: number) =>
  policy(`app-${i}`, {
    selector: { matchLabels: { app: `app-${i}` } },
    rules: [{ from: [{ source: { namespaces: [`n-${i}`] } }] }],
  });
const allowNamespace = (i: number) =>
  policy(`allow-${i}`, { rules: [{ from: [{ source: { namespaces: [`m-${i}`] } }] }] });
const denyPath = (i: number) => policy(`deny-${i}`, { action: "DENY", rules: path(i) });
const denyAdmin = policy("deny-admin", { action: "DENY", rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }] });
const customPath = (i: number) => policy(`ask-${i}`, { action: "CUSTOM", provider: { name: "opa" }, rules: path(i) });

export const costShapes: readonly CostShape[] = [...ofOneObject, ...ofGains, ...ofTraffic, ...ofStates, ...ofWaypoints];
