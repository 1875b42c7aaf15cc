// The engine alone: what judging one change costs, every rule on, policies included.

import { judge } from "../../src/engine/evaluate.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import type { Policies } from "../../src/policy/policies.ts";
import type { Change } from "../../src/view/overlay.ts";
import type { MeshStore } from "../../src/view/store.ts";
import { cpuOf, heapBytes, shown, table } from "./measure.ts";
import {
  asStored,
  authorizationPolicy,
  deployment,
  destinationRule,
  hot,
  meshOf,
  peerAuthentication,
  type Raw,
  rootNamespace,
  service,
  storedMesh,
  team,
  virtualService,
} from "./mesh.ts";

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

const inTime = (us: number): string => (us < 1_000 ? `${shown(us)} us` : `${shown(us / 1_000)} ms`);

/** Indexes are built when they are first used: ask for the memory after the changes. */
function measuredMesh(objects: number): { mesh: MeshStore; bytesPerObject: () => number } {
  const before = heapBytes();
  const mesh = meshOf(engineMesh(objects));
  return { mesh, bytesPerObject: () => (heapBytes() - before) / objects };
}

function* engineMesh(objects: number): Iterable<Raw> {
  yield* storedMesh(objects);
  yield asStored(everywhere(["GET", "POST"]), 2 * objects);
}

function changeOf(raw: Raw, mesh: MeshStore): Change {
  const object = readAny(raw) as AnyObject;
  const old = mesh.find(object.kind, keyOf(object));
  return old === undefined ? { object } : { old, object };
}
