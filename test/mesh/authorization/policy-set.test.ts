import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readObject } from "../../../src/kube/object.ts";
import { type Coverage, isDeniedByDefault, openedBy } from "../../../src/mesh/authorization/coverage.ts";
import {
  actionOf,
  attachesToGateway,
  attachesToLabels,
  type AuthorizationPolicy,
  servicesTargeted,
} from "../../../src/mesh/authorization/policies.ts";
import { PolicySet, policySetOf } from "../../../src/mesh/authorization/policy-set.ts";
import { reachOf } from "../../../src/mesh/authorization/reach.ts";
import { type Enforcer, enforcers } from "../../../src/mesh/authorization/rules.ts";
import { oldestFirst } from "../../../src/mesh/objects/creation-order.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

// A set of policies decides as its policies do one by one.

const group = "gateway.networking.k8s.io";
const labels = fc.dictionary(
  fc.constantFrom("app", "tier", "gateway.networking.k8s.io/gateway-name"),
  fc.constantFrom("a", "b"),
);
const target = fc.constantFrom(
  { group, kind: "Gateway", name: "a" },
  { group, kind: "Gateway", name: "b" },
  { group, kind: "GatewayClass", name: "istio-waypoint" },
  { group: "", kind: "Service", name: "a" },
);
const aPolicy = fc
  .record({
    namespace: fc.constantFrom("here", "istio-system"),
    second: fc.integer({ min: 10, max: 59 }),
    spec: fc.record(
      {
        action: fc.constantFrom("ALLOW", "DENY"),
        selector: fc.oneof(fc.constant({}), fc.record({ matchLabels: labels })),
        targetRefs: fc.array(target, { maxLength: 2 }),
        rules: fc.array(fc.constantFrom({}, { from: [{ source: { namespaces: ["x"] } }] }), { maxLength: 2 }),
      },
      { requiredKeys: ["action"] },
    ),
  })
  .map(({ namespace, second, spec }) => ({ namespace, second, spec }));

const somePolicies = fc.array(aPolicy, { maxLength: 8 }).map((all) =>
  all.map(({ namespace, second, spec }, i) =>
    readObject("AuthorizationPolicy", {
      metadata: { name: `p-${i}`, namespace, creationTimestamp: `2026-01-01T00:00:${second}Z` },
      spec,
    }),
  ),
);

function expected(
  policies: readonly AuthorizationPolicy[],
  enforcer: Enforcer,
  passedOver: ReadonlySet<AuthorizationPolicy> = new Set(),
): ReturnType<typeof shown> {
  const sorted = policies.toSorted(oldestFirst);
  const isForAll = (policy: AuthorizationPolicy) => reachOf(policy, enforcer, defaultMeshSettings) === "everyone";
  const allowing = sorted.filter((policy) => actionOf(policy) === "ALLOW");
  const sealedBy = sorted.find((policy) => actionOf(policy) === "DENY" && isForAll(policy));
  const closing = allowing.filter((policy) => !isForAll(policy));
  const closedBy = closing.find(({ spec }) => spec.rules.length === 0) ?? closing[0];
  const opener = allowing.find((policy) => isForAll(policy) && !passedOver.has(policy));
  const isDenied = sealedBy !== undefined || (closedBy !== undefined && opener === undefined);
  return { sealedBy, closedBy, openedBy: opener, isDenied };
}

const shown = (coverage: Coverage) => ({
  sealedBy: coverage.sealedBy,
  closedBy: coverage.closedBy,
  openedBy: openedBy(coverage),
  isDenied: isDeniedByDefault(coverage),
});

describe("a set of policies", () => {
  test("decides for labels as attachesToLabels does for each policy", () => {
    fc.assert(
      fc.property(somePolicies, labels, fc.nat(), (policies, workload, passed) => {
        const passedOver = new Set(policies.slice(0, passed % 3));
        const set = new PolicySet(policies, defaultMeshSettings, passedOver);
        for (const enforcer of enforcers) {
          const attached = policies.filter((policy) => attachesToLabels(policy, workload, enforcer));
          assert.deepEqual(shown(set.ofLabels(workload, enforcer)), expected(attached, enforcer, passedOver));
          const wide = policies.filter((policy) => attachesToLabels(policy, {}, enforcer));
          assert.deepEqual(shown(set.wide(enforcer)), expected(wide, enforcer, passedOver));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("decides for gateways as attachesToGateway does for each policy, and for Services by targetRefs", () => {
    fc.assert(
      fc.property(somePolicies, fc.constantFrom("a", "b", "c"), fc.boolean(), (policies, name, isWaypoint) => {
        const set = new PolicySet(policies, defaultMeshSettings);
        const gateway = { name, namespace: "here", isWaypoint };
        const attached = policies.filter((policy) => attachesToGateway(policy, gateway, defaultMeshSettings));
        assert.deepEqual(shown(set.ofGateway(gateway)), expected(attached, "proxy"));
        const targeting = policies.filter((policy) => servicesTargeted(policy).includes(name));
        assert.deepEqual(shown(set.ofService(name)), expected(targeting, "proxy"));
      }),
      { numRuns: 1000 },
    );
  });

  test("knows which kinds of policies it has", () => {
    fc.assert(
      fc.property(somePolicies, labels, (policies, workload) => {
        const { kinds } = new PolicySet(policies, defaultMeshSettings);
        for (const enforcer of enforcers) {
          const coverage = new PolicySet(policies, defaultMeshSettings).ofLabels(workload, enforcer);
          assert.ok(kinds.denies || (coverage.sealedBy ?? coverage.closedBy) === undefined);
          assert.ok(kinds.denies || !isDeniedByDefault(coverage));
          assert.ok(kinds.opens || openedBy(coverage) === undefined);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("is one for one list, and one of its own for each empty list", () => {
    const policies = [readObject("AuthorizationPolicy", { metadata: { name: "p", namespace: "here" } })];
    assert.equal(policySetOf(policies, defaultMeshSettings), policySetOf(policies, defaultMeshSettings));
    assert.notEqual(policySetOf([], defaultMeshSettings), policySetOf([], defaultMeshSettings));
    assert.ok(new PolicySet(policies, defaultMeshSettings).isSame(new PolicySet([...policies], defaultMeshSettings)));
    assert.ok(!new PolicySet(policies, defaultMeshSettings).isSame(new PolicySet([], defaultMeshSettings)));
  });
});
