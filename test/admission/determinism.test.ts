import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import type { AdmissionRequest } from "../../src/admission/review.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { servedAs } from "../../src/kube/kinds.ts";
import type { AnyObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";

const { policies } = loadPolicies(
  [
    {
      raw: {
        apiVersion: "meshward.io/v1alpha1",
        kind: "MeshwardPolicy",
        metadata: { name: "all" },
        spec: { protectedNamespaces: { names: ["a", "b"] } },
      },
      file: "policy.yaml",
      locate: () => ({ line: 1, column: 1 }),
    },
  ],
  rules,
);

/** What readers keep of an object reads as that object again; of a workload it does not. */
function rawOf(object: AnyObject): Readonly<Record<string, unknown>> {
  const { group, versions, kind } = servedAs(object.kind, object.originKind);
  return { ...object, apiVersion: group === "" ? versions[0] : `${group}/${versions[0]}`, kind };
}

function requestOf(object: AnyObject, old: AnyObject | undefined, isDeletion: boolean): AdmissionRequest {
  const { group, versions, kind } = servedAs(object.kind, object.originKind);
  return {
    uid: "u",
    kind: { group, version: versions[0] ?? "", kind },
    subResource: "",
    name: object.metadata.name,
    namespace: object.metadata.namespace || object.metadata.name,
    operation: isDeletion ? "DELETE" : old ? "UPDATE" : "CREATE",
    user: { name: "ada", groups: [] },
    object: isDeletion ? undefined : rawOf(object),
    oldObject: old && rawOf(old),
    fieldManager: "",
    dryRun: false,
  };
}

function answered(objects: readonly AnyObject[], request: AdmissionRequest): string {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  const gate = createGate({ mesh: () => mesh, policies: () => policies, rules });
  return JSON.stringify(answer(request.uid, gate.validate(request), "/validate"));
}

test("an answer is the same to the byte, in whatever order the view has met its objects", () => {
  const shuffled = someObjects(20).chain((objects) =>
    fc.record({
      objects: fc.constant(objects),
      other: fc.shuffledSubarray(objects, { minLength: objects.length }),
    }),
  );
  let spoken = 0;
  fc.assert(
    fc.property(shuffled, anObject, fc.boolean(), ({ objects, other }, object, wanted) => {
      if (object.kind === "Workload") return;
      const old = objects.find((one) => one.kind === object.kind && keyOf(one) === keyOf(object));
      const request = requestOf(object, old, wanted && old !== undefined);
      const said = answered(objects, request);
      assert.equal(answered(other, request), said);
      if (said.includes("\\n- [")) spoken++;
    }),
    { numRuns: 1000 },
  );
  assert.ok(spoken > 0, "nothing was ever denied: the law was not tried");
});
