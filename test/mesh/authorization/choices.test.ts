import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { identityOf, keyOf } from "../../../src/kube/identity.ts";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import {
  type AuthorizationChoice,
  authorizationChoicesOfNamespace,
  authorizationChoicesOfService,
  authorizationChoicesOfWorkload,
  type WaypointAt,
} from "../../../src/mesh/authorization/choices.ts";
import {
  authorizationOf,
  type Coverage,
  isDeniedByDefault,
  openedBy,
} from "../../../src/mesh/authorization/effective-authorization.ts";
import type { AuthorizationPolicy } from "../../../src/mesh/authorization/policies.ts";
import { authorizationOfWorkload } from "../../../src/mesh/authorization/workload-authorization.ts";
import { type Namespace, namespaceIn } from "../../../src/mesh/membership/namespaces.ts";
import type { Workload } from "../../../src/mesh/membership/workloads.ts";
import { coverageAt, waypointAt } from "../../../src/mesh/waypoints/shared-waypoints.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Mesh } from "../../../src/view/view.ts";
import { anAmbientWorld } from "../../meshes/ambient.ts";
import { someObjects } from "../../meshes/arbitrary.ts";

function meshOf(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
}
const deployment = (labels: object) =>
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name: "x", namespace: "a" },
    spec: { template: { metadata: { labels: { app: "x", ...labels } } } },
  });
const namespace = (labels: object) => readObject("Namespace", { kind: "Namespace", metadata: { name: "a", labels } });
const ambient = namespace({ "istio.io/dataplane-mode": "ambient" });
const policy = (name: string, spec: object, metadata: object = {}, at = "a") =>
  readObject("AuthorizationPolicy", {
    kind: "AuthorizationPolicy",
    metadata: { name, namespace: at, ...metadata },
    spec,
  });
const told = (choices: readonly AuthorizationChoice[]) =>
  choices.map(({ policy: { metadata }, outcome }) => `${metadata.namespace}/${metadata.name} ${outcome}`).sort();

describe("what becomes of an AuthorizationPolicy", () => {
  const workload = deployment({});
  const policies = [
    policy("all", {}),
    policy("audited", { action: "AUDIT", rules: [{}] }),
    policy("asked", { action: "CUSTOM", provider: { name: "p" }, rules: [{}] }),
    policy("empty", { selector: {} }),
    policy("odd", { action: "SHRUG" }),
    policy("other", { selector: { matchLabels: { app: "y" } } }),
    policy("revised", {}, { labels: { "istio.io/rev": "other" } }),
    policy("targeted", { targetRefs: [{ kind: "Service", name: "x" }] }),
    policy("tried", {}, { annotations: { "istio.io/dry-run": "true" } }),
    policy("wide", {}, {}, "istio-system"),
  ];

  test("at ztunnel", () => {
    const mesh = meshOf([ambient, workload, ...policies]);
    assert.deepEqual(told(authorizationChoicesOfWorkload(workload, ambient, mesh)), [
      "a/all counts",
      "a/asked custom-at-ztunnel",
      "a/audited audit-only",
      "a/empty empty-selector-at-ztunnel",
      "a/odd unknown-action",
      "a/revised not-read",
      "a/tried dry-run",
      "istio-system/wide counts",
    ]);
  });

  test("at a sidecar, where CUSTOM asks and an empty selector selects everything", () => {
    const injected = namespace({ "istio-injection": "enabled" });
    const mesh = meshOf([injected, workload, ...policies]);
    const found = told(authorizationChoicesOfWorkload(workload, injected, mesh));
    assert.ok(found.includes("a/asked counts") && found.includes("a/empty counts"), found.join(", "));
  });

  test("where nothing captures the pods", () => {
    const plain = namespace({});
    const mesh = meshOf([plain, workload, ...policies]);
    const found = told(authorizationChoicesOfWorkload(workload, plain, mesh));
    assert.ok(found.includes("a/all nothing-captures") && found.includes("a/tried dry-run"), found.join(", "));
  });

  test("at the waypoint of a Service, and seen from the namespace", () => {
    const mesh = meshOf([ambient, workload, ...policies]);
    assert.deepEqual(told(authorizationChoicesOfService("x", ambient, waypointIn(ambient, mesh), mesh)), [
      "a/targeted counts",
    ]);
    const ofNamespace = told(authorizationChoicesOfNamespace(ambient, mesh));
    assert.ok(ofNamespace.includes("a/other counts") && ofNamespace.includes("a/targeted counts"));
  });
});

/** The first waypoint of the namespace, or one that is not known. */
function waypointIn(namespace: Namespace, mesh: Mesh): WaypointAt {
  const [known] = authorizationOf(namespace, mesh).gateways.filter(({ isWaypoint }) => isWaypoint);
  const named = { name: known?.name ?? "w", namespace: namespace.metadata.name };
  const found = waypointAt({ named, gateway: undefined }, namespace, mesh);
  assert.ok(found);
  return found;
}

/** How what a list of choices is about stands, in a mesh with or without some of the policies. */
interface Case {
  choices(mesh: Mesh): readonly AuthorizationChoice[];
  coverage(mesh: Mesh): Coverage;
}
function casesIn(objects: readonly AnyObject[]): readonly Case[] {
  const a = (mesh: Mesh) => namespaceIn(mesh, "a");
  const workloads = objects.filter(
    (object): object is Workload => object.kind === "Workload" && object.metadata.namespace === "a",
  );
  return [
    ...workloads.map((workload) => ({
      choices: (mesh: Mesh) => authorizationChoicesOfWorkload(workload, a(mesh), mesh),
      coverage: (mesh: Mesh) => authorizationOfWorkload(workload, a(mesh), authorizationOf(a(mesh), mesh)).coverage,
    })),
    {
      choices: (mesh) => authorizationChoicesOfService("x", a(mesh), waypointIn(a(mesh), mesh), mesh),
      coverage: (mesh) =>
        coverageAt({ kind: "Service", metadata: { name: "x" } }, a(mesh), waypointIn(a(mesh), mesh), mesh),
    },
  ];
}
const shown = (coverage: Coverage) =>
  JSON.stringify([
    [coverage.sealedBy, coverage.deniedBy, coverage.closedBy, openedBy(coverage)].map((by) => by && identityOf(by)),
    isDeniedByDefault(coverage),
  ]);

function meshWith(objects: readonly AnyObject[], isKept: (policy: AuthorizationPolicy) => boolean): Mesh {
  return meshOf(objects.filter((object) => object.kind !== "AuthorizationPolicy" || isKept(object)));
}

describe("the choices of AuthorizationPolicies are what the deciding facts decide", () => {
  const world = fc.oneof(someObjects(), anAmbientWorld);

  test("one that does not count never changes the coverage", () => {
    let tried = 0;
    fc.assert(
      fc.property(world, (objects) => {
        const mesh = meshOf(objects);
        for (const { choices, coverage } of casesIn(objects))
          for (const { outcome, policy } of choices(mesh)) {
            if (outcome === "counts" || outcome === "nothing-captures") continue;
            tried++;
            const without = meshWith(objects, (other) => keyOf(other) !== keyOf(policy));
            assert.equal(shown(coverage(without)), shown(coverage(mesh)), `${identityOf(policy)} ${outcome}`);
          }
      }),
    );
    assert.ok(tried > 0);
  });

  test("one that is for somebody else is not listed, and never changes the coverage", () => {
    fc.assert(
      fc.property(world, (objects) => {
        const mesh = meshOf(objects);
        for (const { choices, coverage } of casesIn(objects)) {
          const listed = new Set(choices(mesh).map(({ policy }) => keyOf(policy)));
          const only = meshWith(objects, (policy) => listed.has(keyOf(policy)));
          assert.equal(shown(coverage(only)), shown(coverage(mesh)));
        }
      }),
    );
  });

  test("one that counts decides, where it stands alone", () => {
    const tried = new Set<string>();
    fc.assert(
      fc.property(world, (objects) => {
        const mesh = meshOf(objects);
        for (const { choices, coverage } of casesIn(objects))
          for (const { outcome, action, reach, policy } of choices(mesh)) {
            if (outcome !== "counts") continue;
            const alone = coverage(meshWith(objects, (other) => keyOf(other) === keyOf(policy)));
            tried.add(`${action} ${reach === "everyone"}`);
            const decided = [alone.sealedBy, alone.closedBy, openedBy(alone)].map((by) => by !== undefined);
            const everyone = reach === "everyone";
            if (action === "ALLOW") assert.deepEqual(decided, [false, !everyone, everyone]);
            else assert.deepEqual(decided, [action === "DENY" && everyone, false, false]);
          }
      }),
      { numRuns: 3000 },
    );
    for (const one of ["ALLOW true", "ALLOW false", "DENY true", "DENY false", "CUSTOM false"])
      assert.ok(tried.has(one), one);
  });
});
