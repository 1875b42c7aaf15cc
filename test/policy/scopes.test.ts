import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import type { MatchSpec, PolicyDocument } from "../../src/policy/documents.ts";
import { covers, type Requester } from "../../src/policy/match.ts";
import { Policies } from "../../src/policy/policies.ts";

const globs = (...names: readonly string[]) => fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 });
const labels = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"), { minKeys: 1, maxKeys: 2 });
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 1 });
const where = fc.record(
  { names: globs("shop", "shop-eu", "shop-*", "*-eu", "*", "s*p", "*h*"), labels },
  { requiredKeys: [] },
);
const matchSpec: fc.Arbitrary<MatchSpec> = fc
  .record({
    namespaces: optional(where),
    objects: optional(
      fc.tuple(where, optional(globs("VirtualService", "Deployment"))).map(([names, kinds]) => ({
        ...names,
        ...(kinds === undefined ? {} : { kinds }),
      })),
    ),
    operations: optional(fc.constant(["UPDATE", "DELETE"] as const)),
    users: optional(globs("ann", "a*", "*n", "*")),
    groups: optional(globs("dev", "d*", "ops")),
    serviceAccounts: optional(globs("ci/deployer", "ci/*")),
  })
  .map((spec) => JSON.parse(JSON.stringify(spec)) as MatchSpec);

const name = fc.constantFrom("shop", "shop-eu", "eu", "", "x-eu");
const someLabels = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"));
const place = fc.record({
  namespace: name,
  namespaceLabels: someLabels,
  kind: fc.constantFrom("VirtualService", "Deployment", "Service"),
  name,
  labels: someLabels,
});
const requester: fc.Arbitrary<Requester | undefined> = fc.option(
  fc.record({
    operation: fc.constantFrom("CREATE" as const, "UPDATE" as const),
    user: fc.constantFrom("ann", "bob", "system:serviceaccount:ci:deployer"),
    groups: fc.array(fc.constantFrom("dev", "ops"), { maxLength: 2 }),
    fieldManager: fc.constant("kubectl"),
  }),
  { nil: undefined },
);

test("the index finds, in the same order, the scopes that a comparison with each of them finds", () => {
  const property = fc.property(fc.array(matchSpec, { maxLength: 12 }), place, requester, (specs, at, by) => {
    const documents = specs.map((match, i): PolicyDocument => {
      const spec = { match, rules: [{ id: "*", mode: "warn" as const }] };
      return { title: `p${i}`, name: `p${i}`, layer: i % 2, spec };
    });
    const { scopes, index } = new Policies(documents);
    const expected = scopes.filter(({ match }) => match.isBy(by) && covers(match, at));
    const found = index.forObject(index.inNamespace(at, by), at, by);
    assert.deepEqual(
      found.map(({ rank }) => rank),
      expected.map(({ rank }) => rank),
    );
  });
  fc.assert(property, { numRuns: 2_000 });
});
