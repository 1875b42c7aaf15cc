// The engine alone: what judging one change costs, every rule on, policies included.

import { judge } from "../../src/engine/evaluate.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { indexesRead } from "../../src/engine/declared-reads.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import type { Policies } from "../../src/policy/policies.ts";
import type { Change } from "../../src/view/overlay.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import type { MeshStore } from "../../src/view/store.ts";
import { cpuOf, heapBytes, median, shown, table } from "./measure.ts";
import {
  asStored,
  authorizationPolicy,
  deployment,
  destinationRule,
  hot,
  manifest,
  meshOf,
  peerAuthentication,
  type Raw,
  rootNamespace,
  service,
  storedMesh,
  team,
  virtualService,
} from "./mesh.ts";
import { pacedGate } from "./paced-review.ts";
import { review } from "./reviews.ts";

const person = {
  operation: "UPDATE",
  user: "ada@example.com",
  groups: ["system:authenticated"],
  fieldManager: "kubectl",
} as const;

interface Measured {
  readonly title: string;
  /** As users write it, over what is there. */
  readonly raw: Raw;
  readonly repeat: number;
}

const namespace = team(0);
/** Counts in every namespace: what the ingress may do everywhere. */
const everywhere = (methods: readonly string[]): Raw =>
  authorizationPolicy(
    { namespace: rootNamespace, name: "ingress" },
    {
      action: "ALLOW",
      rules: [
        {
          from: [{ source: { principals: [`cluster.local/ns/${rootNamespace}/sa/ingress`] } }],
          to: [{ operation: { methods } }],
        },
      ],
    },
  );
const withPort = (raw: Raw): Raw => {
  const spec = raw["spec"] as { readonly ports: readonly object[] };
  return { ...raw, spec: { ...spec, ports: [...spec.ports, { name: "metrics", port: 9090, targetPort: 9090 }] } };
};
const changes = (objects: number): readonly Measured[] => {
  const few = objects > 10_000 ? 1 : 20;
  return [
    {
      title: "VirtualService, the next step of a canary",
      raw: virtualService({ namespace, name: "vs-5" }, "svc-5", { weights: [50, 50] }),
      repeat: 3_000,
    },
    {
      title: "DestinationRule with ten dependants, a subset more",
      raw: destinationRule({ namespace, name: hot }, hot, ["v1", "v2", "v3"]),
      repeat: 1_000,
    },
    {
      title: "DestinationRule with ten dependants, their subset gone",
      raw: destinationRule({ namespace, name: hot }, hot, ["v1"]),
      repeat: 300,
    },
    { title: "Service, a port more", raw: withPort(service({ namespace, name: "svc-3" }, "svc-3")), repeat: 1_000 },
    {
      title: "Deployment, another version of its pods",
      raw: deployment({ namespace, name: "svc-3" }, "svc-3", "v3"),
      repeat: 500,
    },
    {
      title: "PeerAuthentication of the root namespace, PERMISSIVE",
      raw: peerAuthentication({ namespace: rootNamespace, name: "default" }, "PERMISSIVE"),
      repeat: few,
    },
    {
      title: "AuthorizationPolicy of the root namespace, a method fewer",
      raw: everywhere(["GET"]),
      repeat: few,
    },
    {
      title: "DestinationRule *.local in the root namespace",
      raw: destinationRule({ namespace: rootNamespace, name: "all" }, "*.local"),
      repeat: few,
    },
  ];
};

/** Rows by change, a column for each size of the mesh. */
export function engineTable(rules: readonly Rule[], policies: Policies, sizes: readonly number[]): string {
  const rows = new Map<string, string[]>();
  const add = (title: string, cell: string) => rows.set(title, [...(rows.get(title) ?? [title]), cell]);
  for (const objects of sizes) {
    const { mesh, bytesPerObject } = measuredMesh(objects);
    for (const { title, raw, repeat } of changes(objects)) {
      const change = changeOf(raw, mesh);
      let findings = 0;
      const us = cpuOf(
        () => (findings = judge(rules, mesh, [change], { selection: selectionOf(policies, person) }).findings.length),
        {
          rounds: repeat > 1 ? 7 : 3,
          repeat,
        },
      );
      add(title, `${inTime(us)}${findings > 0 ? ` (${shown(findings)} findings)` : ""}`);
    }
    add("memory: a stored object with its indexes", `${shown(bytesPerObject())} bytes`);
  }
  const head = ["change", ...sizes.map((objects) => `${shown(objects)} objects`)];
  return table("The engine alone: CPU for one change", head, [...rows.values()]);
}

const wideObjects = 100_000;
const nameOf = ({ kind, metadata }: Raw): string => `${kind} ${String(metadata["name"])}`;
const withMeshConfig = (mesh: string): Raw => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { namespace: rootNamespace, name: "istio" },
  data: { mesh },
});
/** Each concerns most of the mesh. */
const wideChanges: readonly { readonly title: string; readonly raw: Raw }[] = [
  {
    title: "PeerAuthentication of the root namespace, PERMISSIVE",
    raw: peerAuthentication({ namespace: rootNamespace, name: "default" }, "PERMISSIVE"),
  },
  { title: "AuthorizationPolicy of the root namespace, a method fewer", raw: everywhere(["GET"]) },
  {
    title: "DestinationRule *.local in the root namespace",
    raw: destinationRule({ namespace: rootNamespace, name: "all" }, "*.local"),
  },
  {
    title: "DestinationRule *.local in the root namespace, without mTLS",
    raw: manifest(
      "networking.istio.io/v1",
      "DestinationRule",
      { namespace: rootNamespace, name: "all" },
      { spec: { host: "*.local", trafficPolicy: { tls: { mode: "DISABLE" } } } },
    ),
  },
  {
    title: "ServiceEntry *.local in the root namespace",
    raw: manifest(
      "networking.istio.io/v1",
      "ServiceEntry",
      { namespace: rootNamespace, name: "all" },
      { spec: { hosts: ["*.local"], ports: [{ number: 80, name: "http", protocol: "HTTP" }], resolution: "NONE" } },
    ),
  },
  { title: "mesh config: a log file", raw: withMeshConfig("accessLogFile: /dev/stdout\n") },
  { title: "mesh config: retries", raw: withMeshConfig("defaultHttpRetryPolicy:\n  attempts: 3\n") },
  { title: "mesh config: no mTLS by default", raw: withMeshConfig("enableAutoMtls: false\n") },
  {
    title: "mesh config: only hosts of the registry",
    raw: withMeshConfig("outboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n"),
  },
  { title: "mesh config: another trust domain", raw: withMeshConfig("trustDomain: other.example\n") },
  { title: "mesh config: Services for their namespace", raw: withMeshConfig("defaultServiceExportTo: ['.']\n") },
  {
    title: "mesh config: VirtualServices for their namespace",
    raw: withMeshConfig("defaultVirtualServiceExportTo: ['.']\n"),
  },
  {
    title: "mesh config: DestinationRules for their namespace",
    raw: withMeshConfig("defaultDestinationRuleExportTo: ['.']\n"),
  },
  { title: "mesh config: another root namespace", raw: withMeshConfig("rootNamespace: other\n") },
];

/** What changes of everything cost, and how long the reviews of others wait for them. */
export async function wideTable(rules: readonly Rule[], policies: Policies): Promise<string> {
  const config = asStored(withMeshConfig("{}\n"), 2 * wideObjects + 1);
  const settings = meshSettingsOf([readAny(config)].filter((one) => one !== undefined));
  const objects = function* () {
    yield* engineMesh(wideObjects);
    yield config;
  };
  const mesh = meshOf(objects(), settings);
  for (const index of indexesRead(rules)) mesh.lookup(index, []);
  const stored = objects().filter(({ metadata }) => metadata["namespace"] === rootNamespace);
  const known = new Map([...stored].map((raw) => [nameOf(raw), raw]));
  const gate = pacedGate({ mesh: () => mesh, policies: () => policies, rules });
  const rows: string[][] = [];
  for (const { title, raw } of wideChanges) {
    const bytes = Buffer.from(review({ old: known.get(nameOf(raw)), object: raw }));
    const reviews = [await gate.review(bytes), await gate.review(bytes), await gate.review(bytes)];
    const ofAll = (value: "ms" | "longestMs" | "waitP99Ms") => shown(median(reviews.map((one) => one[value])));
    rows.push([title, reviews[0]?.outcome ?? "", ofAll("ms"), ofAll("waitP99Ms"), ofAll("longestMs")]);
  }
  const head = ["change", "outcome", "CPU ms", "others wait, p99, ms", "others wait, most, ms"];
  return table(`Changes that concern the whole mesh, ${shown(wideObjects)} objects`, head, rows);
}

const inTime = (us: number): string => (us < 1_000 ? `${shown(us)} us` : `${shown(us / 1_000)} ms`);

/** Indexes are built when they are first used: ask for the memory after the changes. */
function measuredMesh(objects: number): { mesh: MeshStore; bytesPerObject: () => number } {
  const before = heapBytes();
  const mesh = meshOf(engineMesh(objects));
  return { mesh, bytesPerObject: () => (heapBytes() - before) / objects };
}

function* engineMesh(objects: number): Generator<Raw, void> {
  yield* storedMesh(objects);
  yield asStored(everywhere(["GET", "POST"]), 2 * objects);
}

function changeOf(raw: Raw, mesh: MeshStore): Change {
  const object = readAny(raw) as AnyObject;
  const old = mesh.find(object.kind, keyOf(object));
  return old === undefined ? { object } : { old, object };
}
