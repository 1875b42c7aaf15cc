import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/engine/evidence.ts";
import { defineRule } from "../../src/engine/rule.ts";
import { readsSetting, relationsOf, settingsIn, unreachable } from "../../src/engine/declared-reads.ts";
import type { ObjectOf } from "../../src/kube/object.ts";
import { fact, forWording, index, type MeshView, relation, setting } from "../../src/view/view.ts";

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
const count = (namespace: ObjectOf<"Namespace">, mesh: MeshView<typeof servicesOfNamespace>) =>
  mesh.related(servicesOfNamespace, namespace).length;
const services = fact("services", "Namespace", [servicesOfNamespace], (namespace, mesh) => {
  // @ts-expect-error a relation that the fact does not declare
  mesh.related(workloadsOfService, namespace);
  return mesh.related(servicesOfNamespace, namespace).length;
});
const texts = { mode: "deny", since: "0.1.0", summary: "", why: "", fix: "" } as const;

const undeclared = defineRule({
  id: "a",
  subject: "Namespace",
  reads: [],
  ...texts,
  *check(namespace, mesh) {
    // @ts-expect-error a relation that is not declared
    mesh.related(servicesOfNamespace, namespace);
    // @ts-expect-error a fact that is not declared
    mesh.get(services, namespace);
    // @ts-expect-error a function that reads what the rule does not declare
    count(namespace, mesh);
    // @ts-expect-error a setting that is not declared
    if (mesh.settings.autoMtls) return;
    // @ts-expect-error what is judged is read-only
    namespace.metadata.name = "";
    // @ts-expect-error a field that no reader keeps
    yield { at: [], message: namespace.spec };
  },
});
const declared = defineRule({
  id: "b",
  subject: "Namespace",
  reads: [servicesOfNamespace, workloadsOfService, services, setting("autoMtls")],
  ...texts,
  parameters: { most: { summary: "", default: 3 } },
  *check(namespace, mesh, { most }) {
    const [service] = mesh.related(servicesOfNamespace, namespace);
    const found: number = mesh.get(services, namespace);
    if (found > most && mesh.settings.autoMtls) yield { at: [], message: "" };
    // @ts-expect-error a fact about another kind
    if (service !== undefined) mesh.get(services, service);
    // @ts-expect-error the wrong end of the relation
    mesh.related(workloadsOfService, namespace);
    if (service !== undefined && mesh.related(workloadsOfService, service).length > count(namespace, mesh))
      yield { at: [], message: "" };
  },
});
const namedServices = relation(
  "namedServices",
  index("Namespace", ({ metadata }) => [metadata.name]),
  index("Service", ({ metadata }) => [metadata.namespace]),
  "identity",
);
defineRule({
  id: "d",
  subject: "Namespace",
  reads: [namedServices],
  ...texts,
  *check(namespace, mesh) {
    const [service] = mesh.related(namedServices, namespace);
    if (service === undefined) return;
    // @ts-expect-error a relation that shows only which objects there are
    const { spec } = service;
    // @ts-expect-error the same, of the metadata
    const { labels } = service.metadata;
    yield { at: [], message: `${service.metadata.name} ${spec} ${labels}`, evidence: [present(service)] };
  },
});
const ofMtls = fact("ofMtls", "Namespace", [services, setting("autoMtls")], (_, { settings }) => settings.autoMtls);
index("Namespace", (_, settings) => {
  // @ts-expect-error keys depend on no setting that must be declared
  return [settings.outboundTrafficPolicy];
});
const stranded = defineRule({
  id: "c",
  subject: "Namespace",
  reads: [workloadsOfService],
  ...texts,
  *compare() {},
});

test("a rule reads what its facts read", () => {
  const byFact = { ...declared, reads: [services] };
  assert.deepEqual(relationsOf(byFact.reads), [servicesOfNamespace]);
});

test("a rule reads the settings that its facts read", () => {
  assert.deepEqual([...settingsIn([ofMtls])], ["autoMtls"]);
  assert.deepEqual([...settingsIn([services])], []);
  assert.equal(readsSetting({ ...declared, reads: [ofMtls] }, new Set(["autoMtls"])), true);
  assert.equal(readsSetting({ ...declared, reads: [ofMtls] }, new Set(["discovery"])), false);
  assert.equal(readsSetting({ ...declared, reads: [forWording(ofMtls)] }, new Set(["autoMtls"])), false);
});

test("a relation that no path leads to from the subject is named", () => {
  assert.deepEqual(unreachable(undeclared), []);
  assert.deepEqual(unreachable(declared), []);
  assert.deepEqual(unreachable(stranded), ["workloadsOfService"]);
});
