// What one question about requests costs, with meshes of different sizes, and with many policies at one workload.

import { keyFor } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceIn } from "../../src/mesh/membership/namespaces.ts";
import { outcomesOf } from "../../src/mesh/requests/outcomes.ts";
import type { Caller, Target } from "../../src/mesh/requests/question.ts";
import { conditionsOf, type WrittenRequests } from "../../src/mesh/requests/written-requests.ts";
import { everyRequest } from "../../src/mesh/authorization/requests/boxes.ts";
import { Work } from "../../src/mesh/authorization/requests/work.ts";
import { sideOf } from "../../src/view/side.ts";
import type { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { cpuOf, shown, table } from "./measure.ts";
import { authorizationPolicy, manifests, meshOf, team } from "./mesh.ts";

interface Asked {
  readonly title: string;
  caller(mesh: Mesh): Caller;
  readonly requests: WrittenRequests;
}

const [server, client] = [team(0), team(1)];
const workload = (mesh: Mesh): Caller => {
  const key = keyFor("Workload", { originKind: "Deployment", namespace: client, name: "svc-0" });
  const found = mesh.find("Workload", key);
  if (found?.kind !== "Workload") throw new Error(`the mesh has no ${key}`);
  return { kind: "workload", workload: found, namespace: namespaceIn(mesh, client) };
};
const one: WrittenRequests = { methods: ["GET"], paths: ["/api/x"] };
const questions: readonly Asked[] = [
  { title: "one request of a workload", caller: workload, requests: one },
  { title: "all requests of a workload", caller: workload, requests: {} },
  {
    title: "all requests of a namespace",
    caller: (mesh) => ({ kind: "namespace", namespace: namespaceIn(mesh, client) }),
    requests: {},
  },
  { title: "all requests of the mesh", caller: () => ({ kind: "mesh" }), requests: {} },
  { title: "all requests from outside", caller: () => ({ kind: "outside" }), requests: {} },
];

/** The same mesh with so many ALLOW policies more at one workload. */
function withPolicies(mesh: MeshStore, count: number): MeshStore {
  for (let i = 0; i < count; i++) {
    const spec = {
      selector: { matchLabels: { app: "svc-0" } },
      rules: [
        {
          from: [{ source: { namespaces: [`n-${i}`] } }],
          to: [{ operation: { methods: ["GET"], paths: [`/p-${i}/*`] } }],
        },
      ],
    };
    mesh.set(readAny(authorizationPolicy({ namespace: server, name: `more-${i}` }, spec)) as AnyObject);
  }
  return mesh;
}

function targetIn(mesh: Mesh): Target {
  const found = mesh.find("Service", keyFor("Service", { originKind: "Service", namespace: server, name: "svc-0" }));
  if (found?.kind !== "Service") throw new Error("the mesh has no such Service");
  return { kind: "service", service: found, namespace: namespaceIn(mesh, server), port: 8080 };
}

/** Microseconds of CPU, and the number of parts. Facts of the mesh are computed again for each question. */
function measured(store: MeshStore, { caller, requests }: Asked, repeat: number) {
  const box = everyRequest.withAll(conditionsOf(requests), new Work(10_000));
  if (box === undefined) throw new Error("the conditions contradict each other");
  let parts = 0;
  const us = cpuOf(
    () => {
      const mesh = sideOf(store);
      parts = [...outcomesOf({ caller: caller(mesh), to: targetIn(mesh), requests: box }, mesh)].length;
    },
    { rounds: 5, repeat },
  );
  return { us, parts };
}

export function requestsTable(sizes: readonly number[]): string {
  const meshes = [
    ...sizes.map((objects) => [`${shown(objects)} objects`, meshOf(manifests(objects))] as const),
    ["and 200 policies more", withPolicies(meshOf(manifests(sizes[0] ?? 1_000)), 200)] as const,
  ];
  const rows = questions.map((asked) => {
    const all = meshes.map(([, mesh], i) => measured(mesh, asked, i < sizes.length ? 200 : 5));
    return [asked.title, ...all.flatMap(({ us, parts }) => [shown(us), String(parts)])];
  });
  const head = ["µs of CPU for one question", ...meshes.flatMap(([title]) => [title, "parts"])];
  return table("What becomes of requests to one Service", head, rows);
}
