// What it costs to say who can reach what in a whole mesh, and what a change does to that: the cost follows the policies, and
// not the pairs of workloads and callers.

import { judge } from "../../src/engine/evaluate.ts";
import { connectionChangesOf } from "../../src/explain/connection-changes.ts";
import { connectionsOf } from "../../src/explain/connections.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { cpuUs, shown, table } from "./measure.ts";
import { authorizationPolicy, type Raw } from "./mesh.ts";

interface Size {
  readonly workloads: number;
  readonly accounts: number;
  readonly policies: number;
}
const whole: Size = { workloads: 1_000, accounts: 300, policies: 2_000 };
const namespaces = 50;

type Scope = "one workload" | "a namespace";

const part = ({ workloads, accounts, policies }: Size, share: number): Size => ({
  workloads: workloads * share,
  accounts: accounts * share,
  policies: policies * share,
});

/** Namespaces with sidecars, every fifth ambient; a Service for each workload, and a route for every fourth. */
function manifests(size: Size, scope: Scope): readonly Raw[] {
  return [
    ...Array.from({ length: namespaces }, (_, i) => namespaceOf(i)),
    ...Array.from({ length: size.workloads }, (_, i) => workloadOf(i, size)).flat(),
    ...Array.from({ length: size.policies }, (_, i) => policyOf(i, size, scope)),
  ];
}

const namespaceOf = (i: number): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: {
    name: `ns-${i}`,
    labels: i % 5 === 4 ? { "istio.io/dataplane-mode": "ambient" } : { "istio-injection": "enabled" },
  },
});

const accountOf = (i: number, { accounts }: Size): string => `sa-${i % Math.ceil(accounts / namespaces)}`;

function workloadOf(i: number, size: Size): readonly Raw[] {
  const metadata = { namespace: `ns-${i % namespaces}`, name: `app-${i}` };
  const labels = { app: `app-${i}`, version: "v1" };
  const serviceAccountName = accountOf(Math.floor(i / namespaces), size);
  const spec = { serviceAccountName, containers: [{ name: "main", ports: [{ containerPort: 8080 }] }] };
  const route = { destination: { host: metadata.name, subset: "v1" } };
  const subsets = [{ name: "v1", labels: { version: "v1" } }];
  const networking = { apiVersion: "networking.istio.io/v1", metadata };
  return [
    { apiVersion: "apps/v1", kind: "Deployment", metadata, spec: { template: { metadata: { labels }, spec } } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { selector: { app: `app-${i}` }, ports: [{ name: "http", port: 8080 }] },
    },
    ...(i % 4 === 0
      ? [
          { ...networking, kind: "VirtualService", spec: { hosts: [metadata.name], http: [{ route: [route] }] } },
          { ...networking, kind: "DestinationRule", spec: { host: metadata.name, subsets } },
        ]
      : []),
  ];
}

/** Two rules that name service accounts and a namespace; every tenth policy denies. */
function policyOf(i: number, size: Size, scope: Scope): Raw {
  const workload = i % size.workloads;
  const caller = (k: number) => `cluster.local/ns/ns-${(i * 7 + k) % namespaces}/sa/${accountOf(i + k, size)}`;
  const selector = scope === "one workload" ? { selector: { matchLabels: { app: `app-${workload}` } } } : {};
  const denied = {
    action: "DENY",
    rules: [
      {
        from: [{ source: { notNamespaces: ["ns-1"] } }],
        to: [{ operation: { methods: ["DELETE"], paths: ["/admin/*"] } }],
      },
    ],
  };
  const allowed = {
    rules: [
      {
        from: [{ source: { principals: [caller(0), caller(1)] } }],
        to: [{ operation: { methods: ["POST"], paths: [`/v1/${i % 17}/*`] } }],
      },
      {
        from: [{ source: { namespaces: [`ns-${(i * 3) % namespaces}`] } }],
        to: [{ operation: { methods: ["GET", "HEAD"] } }],
      },
    ],
  };
  const name = { namespace: `ns-${workload % namespaces}`, name: `p-${i}` };
  return authorizationPolicy(name, { ...selector, ...(i % 10 === 9 ? denied : allowed) });
}

function meshOf(raws: readonly Raw[]): MeshStore {
  const objects = raws.map((raw) => readAny(raw) as AnyObject);
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) mesh.set(object);
  return mesh;
}

/** Seconds of CPU. It is done once: that is how a command does it. */
function secondsOf(work: () => unknown): number {
  const start = cpuUs();
  work();
  return (cpuUs() - start) / 1e6;
}

export function connectionsTable(): string {
  const rows = (["one workload", "a namespace"] as const).map((scope) => {
    const grown = [0.25, 0.5, 1].map((share) => {
      const mesh = meshOf(manifests(part(whole, share), scope));
      return secondsOf(() => connectionsOf(mesh, { kind: "mesh" }));
    });
    const before = meshOf(manifests(whole, scope));
    const [old] = [...before.all("AuthorizationPolicy")];
    if (old === undefined) throw new Error("the mesh has no policy");
    const { after } = judge([], before, [{ old }]);
    const change = secondsOf(() => connectionChangesOf(before, after, { kind: "mesh" }));
    return [`2,000 policies, each for ${scope}`, ...[...grown, change].map(shown)];
  });
  const head = ["seconds of CPU", "a quarter of it", "half", "all", "a change of one policy"];
  return table("Who can reach what: 1,000 workloads, 300 service accounts", head, rows);
}
