import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { PendingChanges } from "../../src/admission/pending-changes.ts";
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

/** The answers to a review that arrives again and again, while others may be pending. */
async function answeredAgain(objects: readonly AnyObject[], request: AdmissionRequest): Promise<readonly string[]> {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  const pending = new PendingChanges({ wait: async () => undefined });
  const gate = createGate({
    mesh: () => mesh,
    policies: () => policies,
    rules,
    pending,
    readAgain: async () => undefined,
  });
  const answers: string[] = [];
  for (let i = 0; i < 3; i++)
    answers.push(JSON.stringify(answer(request.uid, await gate.validate(request), "/validate")));
  return answers;
}

test("a review that is delivered twice gets the same answer each time", async () => {
  const answers = { denied: 0, allowed: 0 };
  await fc.assert(
    fc.asyncProperty(someObjects(20), anObject, fc.boolean(), async (objects, object, wanted) => {
      if (object.kind === "Workload") return;
      const old = objects.find((one) => one.kind === object.kind && keyOf(one) === keyOf(object));
      const again = await answeredAgain(objects, requestOf(object, old, wanted && old !== undefined));
      assert.deepEqual(new Set(again).size, 1, again.join("\n"));
      answers[again[0]?.includes('"allowed":true') ? "allowed" : "denied"]++;
    }),
    { numRuns: 400 },
  );
  assert.ok(answers.denied > 0 && answers.allowed > 0);
});

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
