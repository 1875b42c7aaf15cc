import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import jsonPatch from "fast-json-patch";
import { enroll } from "../../src/admission/enrollment.ts";
import type { Decision } from "../../src/admission/review.ts";
import { Policies } from "../../src/policy/policies.ts";
import type { EnrollmentOptions } from "../../src/policy/documents.ts";
import { type Raw, type RequestParts, reviewed } from "./requests.ts";

const policies = (namespaceAmbientEnrollment: EnrollmentOptions) =>
  new Policies([{ title: "test", name: "test", layer: 1, spec: { mutations: { namespaceAmbientEnrollment } } }]);
const create = policies({ mode: "create", except: ["kube-*", "cert-manager"] });
const reconcile = policies({ mode: "reconcile" });
const withWaypoint = policies({ mode: "create", useWaypoint: "waypoint" });

const namespace = (metadata: object) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", ...metadata },
});

/** What the API server stores: the object with the patch, applied as the API server applies it. */
function patched(object: Raw, { patch = [] }: Decision): Raw {
  const copy = structuredClone(object) as Record<string, unknown>;
  // The last argument makes an operation that does not apply an error, as in the API server.
  return jsonPatch.applyPatch(copy, structuredClone(patch) as never, true).newDocument;
}

const labelsOf = (object: Raw): unknown => (object.metadata as { labels?: unknown }).labels;
const ambient = { "istio.io/dataplane-mode": "ambient" };

const enrolled: readonly [string, Policies, RequestParts, object][] = [
  ["no labels", create, { object: namespace({}) }, ambient],
  ["labels null", create, { object: namespace({ labels: null }) }, ambient],
  ["labels empty", create, { object: namespace({ labels: {} }) }, ambient],
  ["other labels", create, { object: namespace({ labels: { "a.b/c": "d" } }) }, { "a.b/c": "d", ...ambient }],
  ["a waypoint", withWaypoint, { object: namespace({}) }, { ...ambient, "istio.io/use-waypoint": "waypoint" }],
  [
    "another waypoint is there",
    withWaypoint,
    { object: namespace({ labels: { "istio.io/use-waypoint": "none" } }) },
    { ...ambient, "istio.io/use-waypoint": "none" },
  ],
  ["generateName", create, { object: namespace({ name: undefined, generateName: "shop-" }) }, ambient],
  ["an update under reconcile", reconcile, { oldObject: namespace({}), object: namespace({}) }, ambient],
];

describe("namespaces join the ambient mesh", () => {
  for (const [name, inForce, parts, expected] of enrolled)
    test(name, () => {
      const decision = enroll(reviewed(parts), inForce);
      assert.equal(decision.allowed, true);
      assert.deepEqual(labelsOf(patched(parts.object as Raw, decision)), expected);
    });
});

const terminating = { deletionTimestamp: "2026-01-01T00:00:00Z" };
const labelled = (labels: object) => ({ object: namespace({ labels }) });
const untouched: readonly [string, Policies, RequestParts][] = [
  ["sidecars", create, labelled({ "istio-injection": "enabled" })],
  ["sidecars switched off", create, labelled({ "istio-injection": "disabled" })],
  ["a revision", create, labelled({ "istio.io/rev": "canary" })],
  ["ambient already", create, labelled(ambient)],
  ["opted out", create, labelled({ "istio.io/dataplane-mode": "none" })],
  ["a misspelt value is the user's", create, labelled({ "istio.io/dataplane-mode": "ambinet" })],
  ["an empty value", create, labelled({ "istio.io/dataplane-mode": "" })],
  ["excepted by name", create, { object: namespace({ name: "cert-manager" }) }],
  ["excepted by glob", create, { object: namespace({ name: "kube-node-lease" }) }],
  ["excepted by glob, before it has a name", create, { object: namespace({ name: undefined, generateName: "kube-" }) }],
  ["being deleted", reconcile, { oldObject: namespace(terminating), object: namespace(terminating) }],
  ["an update under create", create, { oldObject: namespace({ labels: ambient }), object: namespace({}) }],
  ["a status update", reconcile, { oldObject: namespace({}), object: namespace({}), subResource: "status" }],
  ["a deletion", reconcile, { oldObject: namespace({}) }],
  ["off", policies({ mode: "off" }), { object: namespace({}) }],
  ["no policy speaks of it", new Policies([]), { object: namespace({}) }],
  ["never", create, { object: namespace({ name: "mesh-root" }) }],
  [
    "another kind",
    create,
    { object: { apiVersion: "v1", kind: "Service", metadata: { name: "shop", namespace: "shop" } } },
  ],
  ["labels of a wrong type", create, { object: namespace({ labels: "a" }) }],
];

describe("namespaces that are left alone: no patch, no warning", () => {
  for (const [name, inForce, parts] of untouched)
    test(name, () => {
      const decision = enroll(reviewed(parts), inForce, ["mesh-root"]);
      assert.deepEqual(decision, {
        allowed: true,
        warnings: [],
        auditAnnotations: { decision: "allow" },
        rules: [],
        outcome: "allow",
      });
    });
});

test("the user reads what was added and how to opt out", () => {
  assert.deepEqual(enroll(reviewed({ object: namespace({}) }), create).warnings, [
    'Namespace "shop" joins the ambient mesh: added istio.io/dataplane-mode=ambient; to keep it out, label it istio.io/dataplane-mode=none',
  ]);
});

const labels = fc.oneof(
  fc.constant(undefined),
  fc.constant(null),
  fc.dictionary(
    fc.oneof(fc.constantFrom("istio-injection", "istio.io/use-waypoint", "a/b", "~", "a~1b"), fc.string()),
    fc.string(),
    { noNullPrototype: true },
  ),
);

test("any namespace: the patch applies, adds only its own keys, and a second pass has nothing to do", () => {
  fc.assert(
    fc.property(labels, fc.constantFrom(create, reconcile, withWaypoint), (labels, inForce) => {
      const object = namespace(labels === undefined ? {} : { labels });
      const decision = enroll(reviewed({ object }), inForce);
      const stored = patched(object, decision);
      assert.equal(enroll(reviewed({ object: stored }), inForce).patch, undefined);
      const own = new Set(["istio.io/dataplane-mode", ...(inForce === withWaypoint ? ["istio.io/use-waypoint"] : [])]);
      const added = Object.keys(labelsOf(stored) ?? {}).filter((key) => !Object.hasOwn(labels ?? {}, key));
      assert.deepEqual(
        added.filter((key) => !own.has(key)),
        [],
      );
      for (const [key, value] of Object.entries(labels ?? {}))
        assert.equal((labelsOf(stored) as Record<string, string>)[key], value);
      assert.deepEqual(
        { ...stored, metadata: { ...(stored.metadata as object), labels: 0 } },
        namespace({ labels: 0 }),
      );
    }),
    { numRuns: 200 },
  );
});

test("any JSON as the namespace: a decision, and a patch that applies", () => {
  const part = fc.dictionary(fc.constantFrom("metadata", "spec", "status"), fc.jsonValue());
  fc.assert(
    fc.property(part, (part) => {
      const object = { apiVersion: "v1", kind: "Namespace", ...part };
      const decision = enroll({ ...reviewed({ object: namespace({}) }), object }, withWaypoint);
      assert.equal(decision.allowed, true);
      assert.ok(patched(object, decision));
    }),
    { numRuns: 200 },
  );
});
