import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { enroll } from "../../src/admission/enrollment.ts";
import { Policies } from "../../src/policy/policies.ts";
import { type Raw, reviewed } from "./requests.ts";

const policies = (mode: "off" | "create") =>
  new Policies([
    { title: "test", name: "test", layer: 1, spec: { mutations: { namespaceAmbientEnrollment: { mode } } } },
  ]);
const mode = "istio.io/dataplane-mode";
const waypoint = "istio.io/use-waypoint";
const name = { "kubernetes.io/metadata.name": "shop" };

const owner = (manager: string, operation: "Apply" | "Update", ...labels: readonly string[]) => ({
  manager,
  operation,
  fieldsV1: {
    "f:metadata": { "f:labels": { ".": {}, ...Object.fromEntries(labels.map((label) => [`f:${label}`, {}])) } },
  },
});
const namespace = (labels: Raw, ...managedFields: readonly object[]): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", labels: { ...name, ...labels }, managedFields },
});
/** Flux has just taken over what kubectl managed, and applies a manifest without labels. */
const taken = owner("kustomize-controller", "Apply", "kubernetes.io/metadata.name");

const patchOf = (
  oldObject: Raw,
  { object = namespace({}), fieldManager = "kustomize-controller", inForce = policies("create") } = {},
) => enroll(reviewed({ oldObject, object, fieldManager }), inForce);

describe("an enrollment that nobody has taken off stays", () => {
  test("where a server-side apply lets go of the map of labels", () => {
    const { patch, warnings, allowed } = patchOf(namespace({ [mode]: "ambient", [waypoint]: "waypoint" }, taken));
    assert.equal(allowed, true);
    assert.deepEqual(warnings, []);
    assert.deepEqual(patch, [
      { op: "add", path: "/metadata/labels/istio.io~1dataplane-mode", value: "ambient" },
      { op: "add", path: "/metadata/labels/istio.io~1use-waypoint", value: "waypoint" },
    ]);
  });

  test("also where all labels go", () => {
    const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
    const { patch } = patchOf(namespace({ [mode]: "ambient" }, taken), { object });
    assert.deepEqual(patch, [{ op: "add", path: "/metadata/labels", value: { [mode]: "ambient" } }]);
  });

  const enrolled = namespace({ [mode]: "ambient" }, taken);
  const left: Record<string, ReturnType<typeof patchOf>> = {
    "somebody takes the label off": patchOf(enrolled, { fieldManager: "kubectl-label" }),
    "an applier stops applying it": patchOf(
      namespace({ [mode]: "ambient" }, owner("kustomize-controller", "Apply", mode)),
    ),
    "somebody else had set it": patchOf(namespace({ [mode]: "ambient" }, taken, owner("kubectl-edit", "Update", mode))),
    "it was no enrollment": patchOf(namespace({ [mode]: "none" }, taken)),
    "it is decided otherwise": patchOf(enrolled, { object: namespace({ "istio-injection": "enabled" }) }),
    "it is still there": patchOf(enrolled, { object: namespace({ [mode]: "ambient" }) }),
    "the policy enrolls nothing": patchOf(enrolled, { inForce: policies("off") }),
    "managed fields are not a list": patchOf({
      ...enrolled,
      metadata: { name: "shop", labels: { [mode]: "ambient" }, managedFields: { manager: "kustomize-controller" } },
    }),
  };
  for (const [why, decision] of Object.entries(left))
    test(`not where ${why}`, () => assert.equal(decision.patch, undefined));
});
