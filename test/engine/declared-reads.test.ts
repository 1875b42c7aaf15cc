import assert from "node:assert/strict";
import { test } from "node:test";
import { defineRule } from "../../src/engine/rule.ts";
import { unreachable } from "../../src/engine/subjects.ts";
import type { ObjectOf } from "../../src/kube/object.ts";
import { index, type MeshView, relation } from "../../src/view/view.ts";

// What a rule may read is what it declares: the compiler says so, and this file fails `npm run types` when it stops.

const servicesOfNamespace = relation(
  "servicesOfNamespace",
  index("Namespace", ({ metadata }) => [metadata.name]),
  index("Service", ({ metadata }) => [metadata.namespace]),
);
const workloadsOfService = relation(
  "workloadsOfService",
  index("Service", ({ metadata }) => [metadata.namespace]),
  index("Workload", ({ metadata }) => [metadata.namespace]),
);
const fact = (namespace: ObjectOf<"Namespace">, mesh: MeshView<typeof servicesOfNamespace>) =>
  mesh.related(servicesOfNamespace, namespace).length;
const texts = { mode: "deny", summary: "", why: "", fix: "" } as const;

const undeclared = defineRule({
  id: "a",
  subject: "Namespace",
  reads: [],
  ...texts,
  *check(namespace, mesh) {
    // @ts-expect-error a relation that is not declared
    mesh.related(servicesOfNamespace, namespace);
    // @ts-expect-error a kind that is not declared
    mesh.all("Service");
    // @ts-expect-error a fact that reads what the rule does not declare
    fact(namespace, mesh);
    // @ts-expect-error what is judged is read-only
    namespace.metadata.name = "";
    // @ts-expect-error a field that no reader keeps
    yield { at: [], message: namespace.spec };
  },
});
const declared = defineRule({
  id: "b",
  subject: "Namespace",
  reads: [servicesOfNamespace, workloadsOfService, "Gateway"],
  ...texts,
  parameters: { most: { summary: "", default: 3 } },
  *check(namespace, mesh, { most }) {
    const [service] = mesh.related(servicesOfNamespace, namespace);
    for (const gateway of mesh.all("Gateway")) if (gateway.spec.servers.length > most) yield { at: [], message: "" };
    // @ts-expect-error the wrong end of the relation
    mesh.related(workloadsOfService, namespace);
    if (service !== undefined && mesh.related(workloadsOfService, service).length > fact(namespace, mesh))
      yield { at: [], message: "" };
  },
});
const stranded = defineRule({
  id: "c",
  subject: "Namespace",
  reads: [workloadsOfService],
  ...texts,
  *compare() {},
});

test("a relation that no path leads to from the subject is named", () => {
  assert.deepEqual(unreachable(undeclared), []);
  assert.deepEqual(unreachable(declared), []);
  assert.deepEqual(unreachable(stranded), ["workloadsOfService"]);
});
