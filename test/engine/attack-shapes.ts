// What somebody writes to make a rule compare everything with everything, at any size.

import { manifest, type Raw } from "../bench/mesh.ts";
import { type CostShape, list, named, namespace, policy, workload } from "./cost-shapes.ts";

const closed = policy("closed", {});
const owned = (i: number, owner: number): Raw => {
  const deployment = workload(i);
  const by = { apiVersion: "apps/v1", kind: "Deployment", name: `w-${owner}`, uid: `uid-${owner}`, controller: true };
  return { ...deployment, metadata: { ...deployment.metadata, uid: `uid-${i}`, ownerReferences: [by] } };
};
const waypoint = (i: number) =>
  manifest("gateway.networking.k8s.io/v1", "Gateway", named(`waypoint-${i}`), {
    spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
  });
const behind = (i: number, of: number) =>
  manifest("v1", "Service", named(`s-${i}`, { "istio.io/use-waypoint": `waypoint-${of}` }), {
    spec: { selector: { app: `app-${i}` }, ports: [{ port: 80 }] },
  });

const first = { matchLabels: { app: "app-0" } };
const labelledWorkload = (i: number, app = `other-${i}`): Raw =>
  manifest("apps/v1", "Deployment", named(`o-${i}`), {
    spec: { template: { metadata: { labels: { app, tier: "other" } }, spec: {} } },
  });
const tokenCheck = (name: string, spec: object) =>
  manifest("security.istio.io/v1", "RequestAuthentication", named(name), {
    spec: { jwtRules: [{ issuer: "i" }], ...spec },
  });
const front = (selector: object, ports: readonly object[] = [{ port: 80 }]) =>
  manifest("v1", "Service", named("front"), { spec: { selector, ports } });

const callersOf = (name: string) => ({ from: [{ source: { namespaces: [name] } }] });
const envoyFilter = (name: string, i: number, patches = 1) =>
  manifest("networking.istio.io/v1alpha3", "EnvoyFilter", named(name), {
    spec: {
      workloadSelector: { labels: { app: `app-${i}` } },
      configPatches: list(patches, () => ({
        applyTo: "HTTP_FILTER",
        patch: {
          operation: "INSERT_BEFORE",
          value: { name: `envoy.filters.http.${name === "goes" ? "rbac" : "jwt_authn"}` },
        },
      })),
    },
  });
const selectingEntry = (name: string, i: number) =>
  manifest("networking.istio.io/v1", "ServiceEntry", named(name), {
    spec: {
      hosts: [`${name}.example.com`],
      addresses: ["240.240.1.1"],
      ports: [{ number: 80, name: "http", protocol: "HTTP" }],
      resolution: "STATIC",
      workloadSelector: { labels: { app: `app-${i}` } },
    },
  });

export const attackShapes: readonly CostShape[] = [
  {
    title: "a policy of n rules with n sources each, beside a default deny",
    n: 12,
    most: 4.4,
    world: (n) => ({
      objects: [namespace({ "meshward.io/protected": "true" }), closed, ...list(n, (i) => workload(i))],
      change: {
        object: policy("p", {
          rules: list(n, (i) => ({ from: list(n, (j) => ({ source: { principals: [`td/ns/a/sa/${i}-${j}`] } })) })),
        }),
      },
    }),
  },
  {
    title: "n rules whose paths are templates, prefixes, suffixes and exclusions",
    world: (n) => ({
      objects: [namespace({ "meshward.io/protected": "true" }), closed, ...list(n, (i) => workload(i))],
      change: {
        object: policy("p", {
          rules: list(n, (i) => ({
            to: [{ operation: { paths: [`/{*}/${i}/{**}`, `/${i}/*`, `*/${i}`], notPaths: [`/no-${i}/{*}`] } }],
          })),
        }),
      },
    }),
  },
  {
    title: "n rules whose paths are templates change, in ambient mode",
    world: (n) => {
      const rules = (prefix: string) =>
        list(n, (i) => ({ to: [{ operation: { paths: [`/{*}/${prefix}-${i}/{**}`] } }] }));
      const old = policy("p", { rules: rules("a") });
      return {
        objects: [namespace({ "istio.io/dataplane-mode": "ambient" }), closed, ...list(n, (i) => workload(i)), old],
        change: { old, object: policy("p", { rules: rules("b") }) },
      };
    },
  },
  {
    title: "n Deployments that own one another in a circle; the default deny goes",
    world: (n) => ({
      objects: [
        namespace({ "meshward.io/protected": "true", "istio-injection": "enabled" }),
        ...list(n, (i) => owned(i, (i + 1) % n)),
        closed,
      ],
      change: { old: closed },
    }),
  },
  {
    title: "one Deployment of n that own one another in a circle leaves the mesh",
    world: (n) => {
      const old = owned(0, 1);
      const out = { template: { metadata: { labels: { "sidecar.istio.io/inject": "false" } }, spec: {} } };
      return {
        objects: [
          namespace({ "meshward.io/protected": "true", "istio-injection": "enabled" }),
          ...list(n, (i) => owned(i, (i + 1) % n)),
        ],
        change: { old, object: { ...old, spec: out } },
      };
    },
  },
  {
    title: "n waypoints with a Service, a workload and a policy each; the namespace takes one of them",
    world: (n) => {
      const old = namespace({ "istio.io/dataplane-mode": "ambient", "meshward.io/protected": "true" });
      const labels = { ...(old.metadata["labels"] as object), "istio.io/use-waypoint": "waypoint-0" };
      return {
        objects: [
          old,
          ...list(n, waypoint),
          ...list(n, (i) => behind(i, i)),
          ...list(n, workload),
          ...list(n, (i) =>
            policy(`p-${i}`, {
              targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: `waypoint-${i}` }],
            }),
          ),
        ],
        change: { old, object: { ...old, metadata: { ...old.metadata, labels } } },
      };
    },
  },
  {
    title: "a port with a name that n Services lead to gets another number, under n policies for the old one",
    world: (n) => {
      const pods = (containerPort: number) =>
        manifest("apps/v1", "Deployment", named("w-0"), {
          spec: {
            template: {
              metadata: { labels: { app: "app-0" } },
              spec: { containers: [{ name: "main", ports: [{ name: "web", containerPort }] }] },
            },
          },
        });
      const rules = [{ to: [{ operation: { ports: ["8080"] } }] }];
      return {
        objects: [
          namespace({ "istio-injection": "enabled", "meshward.io/protected": "true" }),
          ...list(n, (i) =>
            manifest("v1", "Service", named(`s-${i}`), {
              spec: { selector: { app: "app-0" }, ports: [{ port: 80, targetPort: "web" }] },
            }),
          ),
          ...list(n, (i) => policy(`p-${i}`, { action: "DENY", rules })),
        ],
        change: { old: pods(8080), object: pods(9090) },
      };
    },
  },
  {
    title:
      "n Services of n waypoints of another namespace with one account, which n workloads there have, too; one more has it",
    isMeshWide: true,
    world: (n) => {
      const home = { namespace: "shared" };
      const shared = (i: number) => ({
        ...waypoint(i),
        metadata: { ...named(`waypoint-${i}`), ...home, annotations: { "gateway.istio.io/service-account": "one" } },
        spec: {
          gatewayClassName: "istio-waypoint",
          listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
        },
      });
      const running = (i: number) => {
        const deployment = manifest("apps/v1", "Deployment", named(`one-${i}`), {
          spec: { template: { metadata: { labels: { app: "one" } }, spec: { serviceAccountName: "one" } } },
        });
        return { ...deployment, metadata: { ...deployment.metadata, ...home } };
      };
      const served = (i: number) =>
        manifest(
          "v1",
          "Service",
          named(`s-${i}`, { "istio.io/use-waypoint": `waypoint-${i}`, "istio.io/use-waypoint-namespace": "shared" }),
          { spec: { selector: { app: `app-${i}` }, ports: [{ port: 80 }] } },
        );
      return {
        objects: [
          namespace({ "istio.io/dataplane-mode": "ambient", "meshward.io/protected": "true" }),
          manifest("v1", "Namespace", { name: "shared" }, {}),
          ...list(n, shared),
          ...list(n, served),
          ...list(n, running),
        ],
        change: { object: running(n) },
      };
    },
  },
  {
    title: "n Services of n waypoints; one Service moves to another",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient", "meshward.io/protected": "true" }),
        ...list(n, waypoint),
        ...list(n, (i) => behind(i, i)),
        ...list(n, workload),
        ...list(n, (i) => policy(`p-${i}`, { targetRefs: [{ kind: "Service", name: `s-${i}` }] })),
      ],
      change: { old: behind(0, 0), object: behind(0, 1) },
    }),
  },
  {
    title: "a Service moves to n other pods, past n policies and n checks of tokens",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        workload(0),
        ...list(n, (i) => labelledWorkload(i)),
        ...list(n, (i) => policy(`p-${i}`, { action: "DENY", selector: first, rules: [{}] })),
        ...list(n, (i) => tokenCheck(`r-${i}`, { selector: first })),
      ],
      change: { old: front({ app: "app-0" }), object: front({ tier: "other" }) },
    }),
  },
  {
    title: "n ports of a Service are declared as TCP, under a policy",
    world: (n) => {
      const ports = (kind: string) => list(n, (i) => ({ name: `${kind}-${i}`, port: 8000 + i }));
      const [old, object] = ["http", "tcp"].map((kind) => front({ app: "app-0" }, ports(kind)));
      return {
        objects: [namespace({}), policy("p", { rules: [{ to: [{ operation: { methods: ["GET"] } }] }] })],
        change: { old, object },
      };
    },
  },
  {
    title: "a port of a Service is declared as TCP, under n policies",
    world: (n) => {
      const rules = [{ to: [{ operation: { methods: ["GET"] } }] }];
      const [old, object] = ["http", "tcp"].map((name) => front({ app: "app-0" }, [{ name, port: 80 }]));
      return { objects: [namespace({}), ...list(n, (i) => policy(`p-${i}`, { rules }))], change: { old, object } };
    },
  },
  {
    title:
      "the first of n Services for n workloads goes, and those that are left declare their port as TCP, under n policies",
    world: (n) => {
      const of = (name: string, kind: string) =>
        manifest("v1", "Service", named(name), {
          spec: { selector: { tier: "other" }, ports: [{ name: kind, port: 8000 }] },
        });
      const rules = [{ to: [{ operation: { methods: ["GET"] } }] }];
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          ...list(n, (i) => labelledWorkload(i)),
          ...list(n, (i) => of(`s-${i}`, "tcp")),
          ...list(n, (i) => policy(`p-${i}`, { selector: { matchLabels: { app: `other-${i}` } }, rules })),
        ],
        change: { old: of("a", "http") },
      };
    },
  },
  {
    title: "a RequestAuthentication for one of n workloads, with n headers, goes",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) => tokenCheck(`r-${i}`, { selector: { matchLabels: { app: `app-${i + 1}` } } })),
      ],
      change: {
        old: tokenCheck("r", {
          selector: first,
          jwtRules: [{ issuer: "i", outputClaimToHeaders: list(n, (i) => ({ header: `x-${i}`, claim: "sub" })) }],
        }),
      },
    }),
  },
  {
    title: "new labels of a workload leave n RequestAuthentications",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        ...list(n, (i) => workload(i + 1)),
        ...list(n, (i) => tokenCheck(`r-${i}`, { selector: first })),
      ],
      change: { old: labelledWorkload(0, "app-0"), object: labelledWorkload(0) },
    }),
  },
  {
    title: "a gateway trusts more proxies, beside n variables",
    world: (n) => {
      const [old, object] = [0, 1].map((count) => {
        const proxyMetadata = Object.fromEntries(list(n, (i) => [`V_${i}`, "x"]));
        const config = JSON.stringify({ gatewayTopology: { numTrustedProxies: count }, proxyMetadata });
        return manifest(
          "gateway.networking.k8s.io/v1",
          "Gateway",
          {
            ...named("edge"),
            annotations: { "proxy.istio.io/config": config },
          },
          { spec: { gatewayClassName: "istio" } },
        );
      });
      return { objects: [namespace({})], change: { old, object } };
    },
  },
  {
    title: "n Telemetries turn logs on for some pods, and the one for the namespace turns them off",
    world: (n) => {
      const entry = { providers: [{ name: "envoy" }] };
      const telemetry = (name: string, spec: object) =>
        manifest("telemetry.istio.io/v1", "Telemetry", named(name), { spec });
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          ...list(n, (i) => workload(i)),
          ...list(n, (i) =>
            telemetry(`t-${i}`, { selector: { matchLabels: { app: `app-${i}` } }, accessLogging: [entry] }),
          ),
        ],
        change: {
          old: telemetry("a", { accessLogging: [entry] }),
          object: telemetry("a", { accessLogging: [{ ...entry, disabled: true }] }),
        },
      };
    },
  },
  {
    title: "an HTTPRoute at a waypoint names n Services by their hosts",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint-0" }),
        waypoint(0),
        ...list(n, (i) => behind(i, 0)),
        ...list(n, (i) =>
          policy(`p-${i}`, { targetRefs: [{ group: "", kind: "Service", name: `s-${i}` }], rules: [{}] }),
        ),
      ],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), {
          spec: {
            parentRefs: [{ group: "", kind: "Service", name: "s-0" }],
            rules: list(n, (i) => ({
              backendRefs: [
                { group: "networking.istio.io", kind: "Hostname", name: `s-${i}.shapes.svc.cluster.local`, port: 80 },
              ],
            })),
          },
        }),
      },
    }),
  },
  {
    title: "a workload with n variables and n mounts of its proxy",
    world: (n) => {
      const at = (value: string) => {
        const proxyMetadata = Object.fromEntries(list(n, (i) => [`V_${i}`, value]));
        const mounts = Object.fromEntries(list(n, (i) => [`m-${i}`, { mountPath: `/etc/${value}/${i}` }]));
        const plain = workload(0) as { readonly spec: { readonly template: { readonly metadata: object } } } & Raw;
        const annotations = {
          "proxy.istio.io/config": JSON.stringify({ proxyMetadata }),
          "sidecar.istio.io/userVolumeMount": JSON.stringify(mounts),
        };
        const { template } = plain.spec;
        const metadata = { ...template.metadata, annotations };
        return { ...plain, spec: { ...plain.spec, template: { ...template, metadata } } };
      };
      return { objects: [namespace({ "istio-injection": "enabled" })], change: { old: at("x"), object: at("y") } };
    },
  },
  {
    title: "a ReferenceGrant shares Secrets with the Gateways of n namespaces",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "ReferenceGrant", named("g"), {
          spec: {
            from: list(n, (i) => ({ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: `ns-${i}` })),
            to: [{ group: "", kind: "Secret" }],
          },
        }),
      },
    }),
  },
  {
    title: "a ReferenceGrant shares n Secrets with the Gateways of one namespace",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "ReferenceGrant", named("g"), {
          spec: {
            from: [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "web" }],
            to: list(n, (i) => ({ group: "", kind: "Secret", name: `s-${i}` })),
          },
        }),
      },
    }),
  },
  {
    title: "a Service moves to n other pods, each with its own callers, from one with n policies",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        closed,
        workload(0),
        ...list(n, (i) => labelledWorkload(i)),
        ...list(n, (i) => policy(`old-${i}`, { selector: first, rules: [callersOf(`old-${i}`)] })),
        ...list(n, (i) =>
          policy(`new-${i}`, { selector: { matchLabels: { app: `other-${i}` } }, rules: [callersOf(`new-${i}`)] }),
        ),
      ],
      change: { old: front({ app: "app-0" }), object: front({ tier: "other" }) },
    }),
  },
  {
    title: "an EnvoyFilter that checks requests goes, beside n others for n workloads",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) => envoyFilter(`f-${i}`, i)),
      ],
      change: { old: envoyFilter("goes", 0, n), object: undefined },
    }),
  },
  {
    title: "new labels of a workload leave n EnvoyFilters that check requests",
    world: (n) => ({
      objects: [namespace({ "istio-injection": "enabled" }), ...list(n, (i) => envoyFilter(`f-${i}`, 0))],
      change: { old: labelledWorkload(0, "app-0"), object: labelledWorkload(0) },
    }),
  },
  {
    title: "a RequestAuthentication looks for tokens in n other places, beside n others",
    world: (n) => {
      const [old, object] = ["old", "new"].map((place) =>
        tokenCheck("r", {
          selector: first,
          jwtRules: [
            {
              issuer: "i",
              fromHeaders: list(n, (i) => ({ name: `${place}-${i}` })),
              outputClaimToHeaders: list(n, (i) => ({ header: `h-${i}`, claim: place })),
            },
          ],
        }),
      );
      const others = list(n, (i) => tokenCheck(`r-${i}`, { selector: { matchLabels: { app: `app-${i}` } } }));
      return {
        objects: [namespace({ "istio-injection": "enabled" }), workload(0), ...others],
        change: { old, object },
      };
    },
  },
  {
    title: "one more ServiceEntry in front of pods at a waypoint, beside n ServiceEntries and n policies for them",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint-0" }),
        closed,
        waypoint(0),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) => selectingEntry(`e-${i}`, i)),
        ...list(n, (i) =>
          policy(`p-${i}`, {
            targetRefs: [{ group: "networking.istio.io", kind: "ServiceEntry", name: `e-${i}` }],
            rules: [callersOf(`a-${i}`)],
          }),
        ),
      ],
      change: { object: selectingEntry("more", 0) },
    }),
  },
];
