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

export const settingsShapes: readonly CostShape[] = [
  ...takeovers,
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
];
