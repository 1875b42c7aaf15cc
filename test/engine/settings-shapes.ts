// Worlds in which the settings of the mesh, or objects that change what proxies do, meet many namespaces and workloads.

import type { Raw } from "../bench/mesh.ts";
import { manifest } from "../bench/mesh.ts";
import type { CostShape } from "./cost-shapes.ts";

const at = "shapes";
const list = <T>(count: number, one: (i: number) => T): readonly T[] => Array.from({ length: count }, (_, i) => one(i));
const named = (name: string) => ({ namespace: at, name });
const injected = (name = at): Raw =>
  manifest("v1", "Namespace", { name, labels: { "istio-injection": "enabled" } }, {});
const workload = (i: number, namespace = at) =>
  manifest(
    "apps/v1",
    "Deployment",
    { namespace, name: `w-${i}` },
    {
      spec: { template: { metadata: { labels: { app: `app-${i}` } }, spec: {} } },
    },
  );
const policy = (i: number, spec: object) =>
  manifest("security.istio.io/v1", "AuthorizationPolicy", named(`p-${i}`), { spec });
const configMap = (name: string, data: Readonly<Record<string, string>>) =>
  manifest("v1", "ConfigMap", { namespace: "istio-system", name }, { data });
const injector = (config: string, values = "{}") => configMap("istio-sidecar-injector", { config, values });

const service = (i: number) =>
  manifest("v1", "Service", named(`s-${i}`), {
    spec: { clusterIP: `10.0.${i >> 8}.${i & 255}`, selector: { app: "app" }, ports: [{ port: 80 }] },
  });
const fullHost = (i: number) => `s-${i}.${at}.svc.cluster.local`;
const elsewhere = (name: string) => ({ namespace: "attacker", name });
const serviceEntry = (name: string, hosts: readonly string[]) =>
  manifest("networking.istio.io/v1", "ServiceEntry", elsewhere(name), { spec: { hosts, resolution: "DNS" } });
const virtualService = (name: string, hosts: readonly string[]) =>
  manifest("networking.istio.io/v1", "VirtualService", elsewhere(name), { spec: { hosts } });
const workloadEntry = (name: string) =>
  manifest("networking.istio.io/v1", "WorkloadEntry", named(name), {
    spec: { address: "192.0.2.1", labels: { app: "app" } },
  });

const sidecar = (name: string, mode: string, labels?: Readonly<Record<string, string>>) =>
  manifest("networking.istio.io/v1", "Sidecar", named(name), {
    spec: { outboundTrafficPolicy: { mode }, ...(labels === undefined ? {} : { workloadSelector: { labels } }) },
  });

/** Objects of another namespace that take the traffic of Services. */
const takeovers: readonly CostShape[] = [
  {
    title: "a ServiceEntry claims the hosts of n Services",
    world: (n) => ({
      objects: [injected(), ...list(n, service)],
      change: { object: serviceEntry("e", list(n, fullHost)) },
    }),
  },
  {
    title: "n ServiceEntries claim the host of one Service, one more",
    world: (n) => ({
      objects: [injected(), service(0), ...list(n, (i) => serviceEntry(`e-${i}`, [fullHost(0)]))],
      change: { object: serviceEntry("e", [fullHost(0), `s-0.${at}`]) },
    }),
  },
  {
    title: "a ServiceEntry claims n names without a namespace",
    isMeshWide: true,
    world: (n) => ({
      objects: [injected(), ...list(n, service)],
      change: {
        object: serviceEntry(
          "e",
          list(n, (i) => `s-${i}`),
        ),
      },
    }),
  },
  {
    title: "a VirtualService for the hosts of n Services",
    world: (n) => ({
      objects: [injected(), ...list(n, service)],
      change: { object: virtualService("v", list(n, fullHost)) },
    }),
  },
  {
    title: "a VirtualService for every host above n Services",
    isMeshWide: true,
    world: (n) => ({ objects: [injected(), ...list(n, service)], change: { object: virtualService("v", ["*"]) } }),
  },
  {
    title: "n WorkloadEntries that n Services select, one more",
    world: (n) => ({
      objects: [injected(), ...list(n, service), ...list(n, (i) => workloadEntry(`w-${i}`))],
      change: { object: workloadEntry("w") },
    }),
  },
  {
    title: "a Service that selects n WorkloadEntries",
    world: (n) => ({
      objects: [injected(), ...list(n, (i) => workloadEntry(`w-${i}`))],
      change: { object: service(0) },
    }),
  },
];

const kindOf: Readonly<Record<string, string>> = {
  EnvoyFilter: "networking.istio.io/v1alpha3",
  WasmPlugin: "extensions.istio.io/v1alpha1",
  Telemetry: "telemetry.istio.io/v1",
  Sidecar: "networking.istio.io/v1",
  ProxyConfig: "networking.istio.io/v1beta1",
  RequestAuthentication: "security.istio.io/v1",
};
const attached = (kind: string, name: string, spec: object, namespace = at) =>
  manifest(kindOf[kind] ?? "", kind, { namespace, name }, { spec });
const selecting = (i: number) => ({ selector: { matchLabels: { app: `app-${i}` } } });

/** Objects that change what proxies do. */
const attachments: readonly CostShape[] = [
  {
    title: "a template with n privileged containers and variables of its proxy",
    world: (n) => {
      const containers = list(n, (i) => ({
        name: `c-${i}`,
        securityContext: { privileged: true, runAsUser: 1337 },
        env: [{ name: "CA_ADDR" }],
      }));
      const spec = { template: { metadata: { labels: { app: "app" } }, spec: { containers } } };
      return { objects: [injected()], change: { object: manifest("apps/v1", "Deployment", named("w"), { spec }) } };
    },
  },
  {
    title: "n WasmPlugins for n workloads, one more",
    world: (n) => ({
      objects: [
        injected(),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) => attached("WasmPlugin", `p-${i}`, selecting(i))),
      ],
      change: { object: attached("WasmPlugin", "p", {}) },
    }),
  },
  {
    title: "a workload is relabelled so that n of its EnvoyFilters and WasmPlugins select it",
    world: (n) => {
      const selected = { app: "app-1" };
      return {
        objects: [
          injected(),
          ...list(n, (i) => workload(i + 2)),
          ...list(n, (i) => attached("WasmPlugin", `p-${i}`, { selector: { matchLabels: selected } })),
          ...list(n, (i) =>
            attached("EnvoyFilter", `f-${i}`, { workloadSelector: { labels: selected }, configPatches: [{}] }),
          ),
          workload(0),
        ],
        change: {
          old: workload(0),
          object: manifest("apps/v1", "Deployment", named("w-0"), {
            spec: { template: { metadata: { labels: selected }, spec: {} } },
          }),
        },
      };
    },
  },
  ...(["WasmPlugin", "EnvoyFilter", "Telemetry"] as const).map((kind) => ({
    title: `a mesh-wide ${kind} over n namespaces, beside n others`,
    isMeshWide: true,
    world: (n: number) => {
      const spec = { accessLogging: [{ disabled: true }], configPatches: [{}] };
      const beside = { ...spec, ...selecting(0), workloadSelector: { labels: { app: "none" } } };
      return {
        objects: [
          ...list(n, (i) => [injected(`ns-${i}`), workload(1, `ns-${i}`)]).flat(),
          injected("istio-system"),
          ...list(n, (i) => attached(kind, `o-${i}`, beside, "istio-system")),
        ],
        change: { object: attached(kind, "o", spec, "istio-system") },
      };
    },
  })),
  {
    title: "a Sidecar with n ingress listeners",
    world: (n) => ({
      objects: [injected(), ...list(n, (i) => workload(i))],
      change: {
        object: attached("Sidecar", "s", {
          ingress: list(n, (i) => ({ port: { number: i + 1 }, defaultEndpoint: "127.0.0.1:0" })),
        }),
      },
    }),
  },
  {
    title: "a Sidecar with n ingress listeners of TCP, under n policies",
    world: (n) => ({
      objects: [
        injected(),
        ...list(n, (i) => workload(i)),
        ...list(n, (i) =>
          manifest(
            "security.istio.io/v1",
            "AuthorizationPolicy",
            { namespace: at, name: `p-${i}` },
            {
              spec: { rules: [{ to: [{ operation: { methods: ["GET"] } }] }] },
            },
          ),
        ),
      ],
      change: {
        object: attached("Sidecar", "s", {
          ingress: list(n, (i) => ({ port: { number: i + 1, protocol: "TCP", name: `p-${i}` } })),
        }),
      },
    }),
  },
  {
    title: "a ProxyConfig with n variables",
    world: (n) => ({
      objects: [injected(), ...list(n, (i) => workload(i))],
      change: {
        object: attached("ProxyConfig", "c", {
          environmentVariables: Object.fromEntries(list(n, (i) => [`ISTIO_META_TLS_${i}`, "x"])),
        }),
      },
    }),
  },
  {
    title: "a RequestAuthentication of n issuers beside a policy of n principals",
    world: (n) => {
      const requestPrincipals = list(n, (i) => `https://issuer-${i}.example.com/*`);
      return {
        objects: [injected(), workload(0), policy(0, { rules: [{ from: [{ source: { requestPrincipals } }] }] })],
        change: {
          object: attached("RequestAuthentication", "r", {
            jwtRules: list(n, (i) => ({ issuer: `https://issuer-${i}.example.com` })),
          }),
        },
      };
    },
  },
];

export const settingsShapes: readonly CostShape[] = [
  ...takeovers,
  ...attachments,
  {
    title: "a Sidecar ends REGISTRY_ONLY, beside those of n workloads",
    world: (n) => {
      const [old, object] = [sidecar("all", "REGISTRY_ONLY"), sidecar("all", "ALLOW_ANY")];
      const others = list(n, (i) => [workload(i), sidecar(`s-${i}`, "REGISTRY_ONLY", { app: `app-${i}` })]).flat();
      return { objects: [injected(), ...others, old], change: { old, object } };
    },
  },
  {
    title: "the mesh config adds a trust domain over n namespaces",
    isMeshWide: true,
    world: (n) => {
      const [old, object] = ["{}", "trustDomainAliases: [other]"].map((mesh) => configMap("istio", { mesh }));
      return {
        objects: [...list(n, (i) => injected(`ns-${i}`)), ...(old ? [old] : [])],
        change: { old, object },
      };
    },
  },
  {
    title: "the mesh config adds n trust domains over n policies of one namespace",
    isMeshWide: true,
    world: (n) => {
      const old = configMap("istio", { mesh: "{ pathNormalization: { normalization: MERGE_SLASHES } }" });
      const object = configMap("istio", { mesh: `trustDomainAliases: [${list(n, (i) => `td-${i}`).join()}]` });
      const rule = { to: [{ operation: { paths: ["/a"] } }] };
      return {
        objects: [injected(), old, ...list(n, (i) => policy(i, { action: "DENY", rules: [rule] }))],
        change: { old, object },
      };
    },
  },
  {
    title: "a proxy reads paths with slashes that the mesh config merges, beside n variables",
    world: (n) => {
      const proxyMetadata = Object.fromEntries(list(n, (i) => [`V_${i}`, "x"]));
      const [old, object] = [true, false].map((httpMergeSlashes) => {
        const config = JSON.stringify({ connectionSettings: { httpMergeSlashes }, proxyMetadata });
        const annotations = { "proxy.istio.io/config": config };
        return manifest(
          "gateway.networking.k8s.io/v1",
          "Gateway",
          { ...named("edge"), annotations },
          { spec: { gatewayClassName: "istio" } },
        );
      });
      const merging = configMap("istio", { mesh: "{ pathNormalization: { normalization: MERGE_SLASHES } }" });
      return { objects: [injected(), merging], change: { old, object } };
    },
  },
  {
    title: "the injector leaves out the pods of n workloads",
    isMeshWide: true,
    world: (n) => {
      const [old, object] = [injector("policy: enabled"), injector("policy: disabled")];
      return { objects: [injected(), old, ...list(n, (i) => workload(i))], change: { old, object } };
    },
  },
  {
    title: "the injector excludes a port of the pods of n namespaces",
    isMeshWide: true,
    world: (n) => {
      const values = JSON.stringify({ global: { proxy: { excludeInboundPorts: "8080" } } });
      const [old, object] = [injector("policy: enabled"), injector("policy: enabled", values)];
      const namespaces = list(n, (i) => [injected(`ns-${i}`), workload(i, `ns-${i}`)]).flat();
      return { objects: [...namespaces, old], change: { old, object } };
    },
  },
  {
    title: "n probes of a workload are no longer rewritten",
    world: (n) => {
      const of = (annotations: object) =>
        manifest("apps/v1", "Deployment", named("probed"), {
          spec: {
            template: {
              metadata: { labels: { app: "probed" }, annotations },
              spec: {
                containers: list(n, (i) => ({ name: `c-${i}`, livenessProbe: { httpGet: { port: 8000 + i } } })),
              },
            },
          },
        });
      const strict = manifest("security.istio.io/v1", "PeerAuthentication", named("strict"), {
        spec: { mtls: { mode: "STRICT" } },
      });
      const object = of({ "sidecar.istio.io/rewriteAppHTTPProbers": "false" });
      return { objects: [injected(), strict, of({})], change: { old: of({}), object } };
    },
  },
  {
    title: "the injector no longer rewrites the probes of n workloads",
    isMeshWide: true,
    world: (n) => {
      const values = (rewriteAppHTTPProbe: boolean) =>
        JSON.stringify({ sidecarInjectorWebhook: { rewriteAppHTTPProbe } });
      const [old, object] = [injector("policy: enabled", values(true)), injector("policy: enabled", values(false))];
      const strict = manifest(
        "security.istio.io/v1",
        "PeerAuthentication",
        { namespace: "istio-system", name: "default" },
        { spec: { mtls: { mode: "STRICT" } } },
      );
      const probed = (i: number) =>
        manifest(
          "apps/v1",
          "Deployment",
          { namespace: at, name: `w-${i}` },
          {
            spec: {
              template: {
                metadata: { labels: { app: `app-${i}` } },
                spec: { containers: [{ name: "main", readinessProbe: { httpGet: { port: 8080 } } }] },
              },
            },
          },
        );
      return { objects: [injected(), strict, old, ...list(n, probed)], change: { old, object } };
    },
  },
];
