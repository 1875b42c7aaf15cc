import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Budget } from "../../src/engine/budget.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readAny } from "../../src/kube/object.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import type { MeshStore } from "../../src/view/store.ts";
import { manifest, meshOf, type Raw } from "../bench/mesh.ts";
import { workOf } from "../engine/work.ts";
import { rootChanges, rootPolicies, withIntents } from "../bench/root-intents.ts";

// A change in the root namespace reaches the intents of every namespace. What it can do to requests is computed once, and only
// entries that it can end are followed: the work of a review, counted as in test/engine/cost-laws.test.ts.

const namespaces = 40;

/** Counts what is visited, and never ends an evaluation. */
class Counter extends Budget {
  override readonly spend: (objects: number) => void;
  constructor(visit: (objects: number) => void) {
    super({ limitMs: Number.POSITIVE_INFINITY, sliceMs: Number.POSITIVE_INFINITY, cpuMs: () => 0 });
    this.spend = visit;
  }
}

function findingsOf(mesh: MeshStore, raw: Raw, visit: (objects: number) => void = () => {}): number {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  const change = { old: mesh.find(object.kind, keyOf(object)), object };
  const { errors, findings } = judge([intentBroken], mesh, [change], { budget: new Counter(visit) });
  assert.deepEqual(errors, []);
  return findings.length;
}

describe("a change in the root namespace, over many intents", () => {
  let mesh: MeshStore;
  before(() => {
    mesh = meshOf([...rootPolicies, ...withIntents(namespaces)]);
  });
  const workFor = (raw: Raw): number => {
    findingsOf(mesh, raw);
    return workOf((visit) => findingsOf(mesh, raw, visit));
  };

  test("only what can end entries follows their requests", () => {
    const whole = workFor(rootChanges.asking);
    const [annotated, denying] = [workFor(rootChanges.annotated), workFor(rootChanges.denying)];
    assert.ok(annotated * 20 < whole, `${annotated} for an annotation, ${whole} for a CUSTOM policy`);
    assert.ok(denying * 2 < whole, `${denying} for a DENY policy, ${whole} for a CUSTOM policy`);
    const more = workFor(rootChanges.deniesMore);
    assert.ok(more * 10 < denying * 11, `${more} for a path more, ${denying} for a DENY policy that is new`);
  });

  test("what counts only where requests arrive follows those that it can touch", () => {
    const whole = workFor(rootChanges.asking);
    for (const change of ["deniesOthers", "strangers", "tokens", "permissive"] as const) {
      const work = workFor(rootChanges[change]);
      assert.ok(work * 5 < whole * 4, `${work} for ${change}, ${whole} for a CUSTOM policy`);
    }
  });

  test("a change that ends one intent is found, and one that ends none is not", () => {
    assert.equal(findingsOf(mesh, rootChanges.endsOne), 1);
    assert.equal(findingsOf(mesh, rootChanges.denying), 0);
    assert.equal(findingsOf(mesh, rootChanges.annotated), 0);
    assert.equal(
      findingsOf(
        mesh,
        manifest(
          "security.istio.io/v1",
          "PeerAuthentication",
          { namespace: "istio-system", name: "default" },
          { spec: { mtls: { mode: "PERMISSIVE" } } },
        ),
      ),
      0,
    );
  });
});
