import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type ChangeReading, readChange } from "../../src/admission/change.ts";
import { idOf } from "../../src/kube/identity.ts";
import { type AnyObject, lastApplied, readAny, withoutLastApplied } from "../../src/kube/object.ts";
import { isTerminating } from "../../src/mesh/membership/namespaces.ts";
import { type Raw, reviewed } from "./requests.ts";

const virtualService = (spec: object, metadata: object = {}) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "shop", resourceVersion: "1", ...metadata },
  spec,
});
const namespace = (metadata: object, more: object = {}) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", ...metadata },
  ...more,
});
const configMap = (name: string, data: object = { mesh: "trustDomain: corp" }) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "istio-system" },
  data,
});

/** `old -> new` of what is to be judged, or why nothing is. */
function shown(reading: ChangeReading): string {
  if ("problem" in reading) return `problem: ${reading.problem}`;
  if ("unjudged" in reading) return `unjudged: ${reading.unjudged}`;
  const { old, object } = reading.change;
  return `${old ? idOf(old) : "-"} -> ${object ? idOf(object) : "-"}`;
}

const hosts = { hosts: ["shop"] };
const terminating = { deletionTimestamp: "2026-01-01T00:00:00Z" };
const cases: readonly [string, Parameters<typeof reviewed>[0], string][] = [
  ["create", { object: virtualService(hosts) }, "- -> VirtualService shop/shop"],
  [
    "another served version is the same kind",
    { object: { ...virtualService(hosts), apiVersion: "networking.istio.io/v1alpha3" } },
    "- -> VirtualService shop/shop",
  ],
  [
    "an object without a namespace is in the request's",
    { object: virtualService(hosts, { namespace: undefined }), namespace: "orders" },
    "- -> VirtualService orders/shop",
  ],
  [
    "generateName in the validating phase: the request knows the name",
    { object: virtualService(hosts, { name: undefined, generateName: "shop-" }), name: "shop-x7k2p" },
    "- -> VirtualService shop/shop-x7k2p",
  ],
  [
    "generateName before there is a name",
    { object: virtualService(hosts, { name: undefined, generateName: "shop-" }), name: "" },
    "- -> VirtualService shop/shop-*",
  ],
  ["delete", { oldObject: virtualService(hosts) }, "VirtualService shop/shop -> -"],
  [
    "deletion of a collection: no name",
    { oldObject: virtualService(hosts), name: "" },
    "VirtualService shop/shop -> -",
  ],
  [
    "update",
    { oldObject: virtualService(hosts), object: virtualService({ hosts: ["other"] }) },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "update of labels through the subresource status",
    { oldObject: namespace({ labels: { a: "b" } }), object: namespace({}), subResource: "status" },
    "Namespace shop -> Namespace shop",
  ],
  [
    "update of labels through the subresource finalize",
    { oldObject: namespace({ labels: { a: "b" } }), object: namespace({}), subResource: "finalize" },
    "Namespace shop -> Namespace shop",
  ],
  [
    "a controller writes the status",
    {
      oldObject: virtualService(hosts),
      object: { ...virtualService(hosts, { resourceVersion: "2" }), status: { conditions: [] } },
      subResource: "status",
    },
    "unjudged: nothing that a rule reads changes",
  ],
  [
    "managed fields, generation and unknown fields only",
    {
      oldObject: virtualService(hosts, { managedFields: [1], generation: 1 }),
      object: virtualService({ ...hosts, unknown: 1 }, { managedFields: [], generation: 2, resourceVersion: "9" }),
    },
    "unjudged: nothing that a rule reads changes",
  ],
  [
    "annotations count",
    { oldObject: virtualService(hosts), object: virtualService(hosts, { annotations: { "a/b": "c" } }) },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "what kubectl applied last counts",
    {
      oldObject: virtualService(hosts, { annotations: { [lastApplied]: "{}" } }),
      object: virtualService(hosts, { annotations: { [lastApplied]: '{"a":1}' } }),
    },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "a list grows",
    { oldObject: virtualService(hosts), object: virtualService({ hosts: ["shop", "b"] }) },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "what was malformed and is not",
    { oldObject: virtualService({ hosts: "shop" }), object: virtualService({ hosts: [] }) },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "one of two finalizers goes",
    {
      oldObject: virtualService(hosts, { ...terminating, finalizers: ["a/a", "b/b"] }),
      object: virtualService(hosts, { ...terminating, finalizers: ["b/b"] }),
    },
    "unjudged: nothing that a rule reads changes",
  ],
  [
    "the last finalizer goes, whatever else changes",
    {
      oldObject: virtualService(hosts, { ...terminating, finalizers: ["a/a"] }),
      object: virtualService({ hosts: [] }, { ...terminating }),
    },
    "unjudged: the last finalizer is removed, which deletes the object",
  ],
  [
    "a namespace is finalized",
    {
      oldObject: namespace({ ...terminating, labels: { a: "b" } }, { spec: { finalizers: ["kubernetes"] } }),
      object: namespace(terminating, { spec: { finalizers: [] } }),
      subResource: "finalize",
    },
    "unjudged: the last finalizer is removed, which deletes the object",
  ],
  [
    "a finalizer holds an object in force: its spec is judged",
    {
      oldObject: virtualService(hosts, { ...terminating, finalizers: ["a/a"] }),
      object: virtualService({ hosts: ["other"] }, { ...terminating, finalizers: ["a/a"] }),
    },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "nobody hides behind a timestamp of his own",
    { oldObject: virtualService(hosts), object: virtualService({ hosts: [] }, terminating) },
    "VirtualService shop/shop -> VirtualService shop/shop",
  ],
  [
    "deleted a second time",
    { oldObject: virtualService(hosts, terminating) },
    "unjudged: the object is being deleted already",
  ],
  ["a mesh config", { object: configMap("istio") }, "- -> ConfigMap istio-system/istio"],
  ["a mesh config of a revision", { object: configMap("istio-canary") }, "- -> ConfigMap istio-system/istio-canary"],
  ["any other ConfigMap", { object: configMap("app") }, "unjudged: the ConfigMap is not one of Istio's"],
  [
    "a mesh config loses its key",
    { oldObject: configMap("istio"), object: configMap("istio", {}) },
    "ConfigMap istio-system/istio -> -",
  ],
  [
    "a kind without rules",
    { object: { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: "a" } } },
    "unjudged: no rule reads this kind",
  ],
];

describe("a request comes down to a change", () => {
  for (const [name, parts, expected] of cases)
    test(name, () => assert.equal(shown(readChange(reviewed(parts))), expected));
});

test("a namespace that is deleted keeps its labels, and terminates", () => {
  const reading = readChange(reviewed({ oldObject: namespace({ labels: { a: "b" } }) }));
  assert.ok("change" in reading);
  const { object } = reading.change;
  assert.deepEqual(object?.metadata.labels, { a: "b" });
  assert.ok(object?.kind === "Namespace" && isTerminating(object));
});

test("only a kind without rules is worth a warning", () => {
  const warnings = cases
    .map(([, parts]) => readChange(reviewed(parts)))
    .flatMap((reading) => {
      return "unjudged" in reading && reading.warning !== undefined ? [reading.warning] : [];
    });
  assert.deepEqual(warnings, [
    "Meshward has no rule for Widget.example.com and did not check it; remove the kind from the webhook's rules to avoid this warning",
  ]);
});

test("metadata and names of a wrong type stay to be seen, whatever name the request gives", () => {
  for (const metadata of ["x", [], 1, { name: 0 }, { name: ["shop"] }]) {
    const object = { ...virtualService(hosts), metadata };
    const reading = readChange(reviewed({ object, name: "shop", namespace: "shop" }));
    const malformed = "change" in reading ? reading.change.object?.malformed : undefined;
    assert.equal(malformed?.length, 1, JSON.stringify(metadata));
  }
});

test("what is missing or of another kind is never taken for nothing", () => {
  const request = reviewed({ oldObject: virtualService({}), object: virtualService(hosts) });
  assert.equal(
    shown(readChange({ ...request, object: undefined })),
    "problem: request.object is missing from this UPDATE",
  );
  assert.equal(
    shown(readChange({ ...request, oldObject: undefined })),
    "problem: request.oldObject is missing from this UPDATE",
  );
  assert.equal(
    shown(readChange({ ...request, operation: "CREATE", object: { kind: "Widget" } })),
    "problem: the object is not of kind VirtualService, which the request names",
  );
});

test("any JSON as the object: never an exception", () => {
  const part = fc.dictionary(
    fc.constantFrom("metadata", "spec", "kind", "apiVersion", "data", "status"),
    fc.jsonValue(),
  );
  const update = reviewed({ oldObject: virtualService({}), object: virtualService(hosts) });
  const kinds = fc.constantFrom("VirtualService", "Namespace", "ConfigMap", "Pod");
  fc.assert(
    fc.property(part, part, kinds, (old, now, kind) => {
      const named = kind === "VirtualService" ? update.kind : { group: "", version: "v1", kind };
      const from = kind === "VirtualService" ? virtualService({}) : { apiVersion: "v1", kind, metadata: { name: "a" } };
      const reading = readChange({
        ...update,
        kind: named,
        oldObject: { ...from, ...old },
        object: { ...from, ...now },
      });
      assert.match(shown(reading), /->|^unjudged: |^problem: /);
    }),
    { numRuns: 300 },
  );
});

describe("an old object that the view holds", () => {
  const stored = virtualService(hosts, { uid: "u-1" });
  const held = readAny(stored) as AnyObject;
  const object = virtualService({ hosts: ["shop", "store"] }, { uid: "u-1" });
  const oldOf = (oldObject: Raw): AnyObject | undefined => {
    const reading = readChange(reviewed({ object, oldObject }), { find: () => held });
    return "change" in reading ? reading.change.old : undefined;
  };

  test("is taken from there where it is the same version of the same object", () => {
    assert.equal(oldOf(stored), held);
  });

  const others: readonly [string, Raw][] = [
    ["another version", virtualService(hosts, { uid: "u-1", resourceVersion: "2" })],
    ["another object of the same name", virtualService(hosts, { uid: "u-2" })],
    ["an object without uid", virtualService(hosts)],
    ["another served version", { ...stored, apiVersion: "networking.istio.io/v1alpha3" }],
  ];
  for (const [what, oldObject] of others)
    test(`is read where the request shows ${what}`, () => {
      assert.deepEqual(oldOf(oldObject), readAny(oldObject));
      assert.notEqual(oldOf(oldObject), held);
    });
});

test("what kubectl applied last counts where the view has left it out, and is no change by itself", () => {
  const annotated = (text: string, resourceVersion: string) =>
    virtualService(hosts, { uid: "u-1", annotations: { [lastApplied]: text, "a/b": "c" }, resourceVersion });
  const held = withoutLastApplied(readAny(annotated("{}", "1")) as AnyObject);
  assert.deepEqual(held.metadata.annotations, { "a/b": "c" });
  const known = { find: () => held };
  const reading = (text: string) =>
    shown(readChange(reviewed({ oldObject: annotated("{}", "1"), object: annotated(text, "2") }), known));
  assert.equal(reading("{}"), "unjudged: nothing that a rule reads changes");
  assert.equal(reading('{"a":1}'), "VirtualService shop/shop -> VirtualService shop/shop");
});
