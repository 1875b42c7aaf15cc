// Worlds with intents.

import type { Raw } from "../bench/mesh.ts";
import { manifest } from "../bench/mesh.ts";
import { rootChanges, rootPolicies, withIntents } from "../bench/root-intents.ts";
import type { CostShape } from "./cost-shapes.ts";

const at = "shapes";
const list = <T>(count: number, one: (i: number) => T): readonly T[] => Array.from({ length: count }, (_, i) => one(i));
const named = (name: string) => ({ namespace: at, name });
const service = (i: number): Raw =>
  manifest("v1", "Service", named(`s-${i}`), { spec: { selector: { app: `app-${i}` }, ports: [{ port: 80 }] } });
const intent = (name: string, to: object, requests: readonly object[]): Raw =>
  manifest("meshward.io/v1alpha1", "MeshwardIntent", named(name), { spec: { to, requests } });

const enrolled: Raw = manifest("v1", "Namespace", { name: at, labels: { "istio-injection": "enabled" } }, {});
const workload = (i: number): Raw =>
  manifest("apps/v1", "Deployment", named(`w-${i}`), {
    spec: {
      template: {
        metadata: { labels: { app: `app-${i}` } },
        spec: { containers: [{ name: "c", ports: [{ containerPort: 80 }] }] },
      },
    },
  });
const policy = (name: string, spec: object): Raw =>
  manifest("security.istio.io/v1", "AuthorizationPolicy", named(name), { spec });
const letsIn = (account: string): object => ({
  rules: [{ from: [{ source: { principals: [`cluster.local/ns/${at}/sa/${account}`] } }] }],
});
const entry = (i: number, exportTo: string): Raw =>
  manifest("networking.istio.io/v1", "ServiceEntry", named(`e-${i}`), {
    spec: {
      hosts: [`h-${i}.shapes.example`],
      exportTo: [exportTo],
      resolution: "DNS",
      ports: [{ number: 443, name: "https", protocol: "HTTPS" }],
    },
  });
const selecting = (location: string): Raw =>
  manifest("networking.istio.io/v1", "ServiceEntry", named("db"), {
    spec: {
      ...{ hosts: ["db.shapes.example"], location, resolution: "STATIC", addresses: ["192.0.2.9"] },
      workloadSelector: { labels: { app: "app-0" } },
      ports: [{ number: 5432, name: "tcp", protocol: "TCP", targetPort: 80 }],
    },
  });
const takingAll = (name: string, port = 5432): Raw =>
  manifest("networking.istio.io/v1", "ServiceEntry", named(name), {
    spec: {
      ...{ hosts: [`${name}.shapes.example`], resolution: "DNS" },
      ports: [{ number: port, name: "tcp", protocol: "TCP" }],
    },
  });
const others = [
  { from: ["mesh"], methods: ["PUT"], expect: "denied" },
  { from: ["outside"], expect: "denied" },
];

export const intentShapes: readonly CostShape[] = [
  {
    title: "an intent about a Service that is none of n",
    world: (n) => ({
      objects: list(n, service),
      change: { object: intent("i", { service: "s" }, [{ from: ["mesh"], expect: "allowed" }]) },
    }),
  },
  {
    title: "an intent with n entries",
    world: (n) => ({
      objects: [service(0)],
      change: {
        object: intent(
          "i",
          { service: "s-0" },
          list(n, (i) => ({
            from: ["mesh"],
            paths: list(n, (j) => `/${i}/${j}/*`),
            expect: i % 2 ? "allowed" : "denied",
          })),
        ),
      },
    }),
  },
  {
    title: "a policy that lets others in, where an intent expects that they are denied at one of n workloads",
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, service),
        ...list(n, workload),
        policy("nobody", {}),
        intent("i", { service: "s-0" }, others),
      ],
      change: { object: policy("everybody", { rules: [{}] }) },
    }),
  },
  {
    title: "n policies, and one more, of a service with an intent",
    world: (n) => ({
      objects: [
        enrolled,
        service(0),
        workload(0),
        ...list(n, (i) => policy(`p-${i}`, letsIn(`sa-${i}`))),
        intent("i", { service: "s-0" }, [
          { from: list(1, (i) => `serviceaccount/${at}/sa-${i}`), expect: "allowed" },
          ...others,
        ]),
      ],
      change: { object: policy("more", letsIn("more")) },
    }),
  },
  {
    title: "an intent that does not hold, about one of n services",
    world: (n) => ({
      objects: [enrolled, ...list(n, service), ...list(n, workload)],
      change: { object: intent("i", { service: "s-0" }, others) },
    }),
  },
  {
    title: "one of n intents of a namespace is deleted",
    world: (n) => ({
      objects: [enrolled, ...list(n, (i) => intent(`i-${i}`, { service: "s-0" }, others))],
      change: { old: intent("i-0", { service: "s-0" }, others) },
    }),
  },
  {
    title: "one of n ServiceEntries is withdrawn from the mesh, of whose host an intent expects something",
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, (i) => entry(i, "*")),
        intent("i", { host: "h-0.shapes.example" }, [{ from: [`namespace/${at}`], expect: "allowed" }]),
      ],
      change: { old: entry(0, "*"), object: entry(0, "~") },
    }),
  },
  {
    title: "a ServiceEntry selects n workloads and n WorkloadEntries, and an intent is about its host",
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, workload),
        ...list(n, (i) =>
          manifest("networking.istio.io/v1", "WorkloadEntry", named(`vm-${i}`), {
            spec: { address: "192.0.2.1", labels: { app: "app-0" }, serviceAccount: "vm" },
          }),
        ),
        selecting("MESH_INTERNAL"),
        intent("i", { host: "db.shapes.example" }, others),
      ],
      change: { old: selecting("MESH_INTERNAL"), object: selecting("MESH_EXTERNAL") },
    }),
  },
  {
    title: "n ServiceEntries that take all connections to one port, of which an intent is about one; one more comes",
    // Whoever knows them sends to the first of them all.
    isMeshWide: true,
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, (i) => takingAll(`db-${i}`)),
        intent("i", { host: "db-0.shapes.example" }, others),
      ],
      change: { object: takingAll("first") },
    }),
  },
  {
    title: "a ServiceEntry that takes all connections to the port that n intents are about",
    isMeshWide: true,
    world: (n) => ({
      objects: [enrolled, takingAll("db"), ...list(n, (i) => intent(`i-${i}`, { host: "db.shapes.example" }, others))],
      change: { object: takingAll("first") },
    }),
  },
  {
    title: "n ServiceEntries that take all connections to a port, each with an intent, one more",
    isMeshWide: true,
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, (i) => takingAll(`db-${i}`)),
        ...list(n, (i) => intent(`i-${i}`, { host: `db-${i}.shapes.example` }, others)),
      ],
      change: { object: takingAll("first") },
    }),
  },
  {
    title: "n workloads whose services have intents; a ServiceEntry takes all connections to their port",
    isMeshWide: true,
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, service),
        ...list(n, workload),
        ...list(n, (i) => intent(`i-${i}`, { service: `s-${i}` }, others)),
      ],
      change: { object: takingAll("web", 80) },
    }),
  },
  {
    title: "n workloads with an intent each by their label, and a policy of the namespace",
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, workload),
        policy("nobody", {}),
        ...list(n, (i) => intent(`i-${i}`, { workloads: { app: `app-${i}` } }, others)),
      ],
      change: { object: policy("everybody", { rules: [{}] }) },
    }),
  },
  {
    title: "a policy of the root namespace, over n namespaces with an intent",
    isMeshWide: true,
    world: (n) => ({ objects: [...rootPolicies, ...withIntents(n)], change: { object: rootChanges.strangers } }),
  },
];
