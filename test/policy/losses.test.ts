import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { lossesOf } from "../../src/policy/losses.ts";
import type { RuleDefault } from "../../src/policy/lost-modes.ts";
import { covers } from "../../src/policy/match.ts";
import { continued } from "../../src/policy/vanished.ts";
import { policiesOf } from "./sources.ts";

const defaults: readonly RuleDefault[] = [
  { id: "peer-authentication-permissive", mode: { protected: "deny", elsewhere: "off" } },
  { id: "virtual-service-weights-not-100", mode: { protected: "deny", elsewhere: "deny" } },
  { id: "virtual-service-canary-step", mode: { protected: "warn", elsewhere: "warn" } },
];
const policy = (name: string, spec: string) =>
  `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const load = (...specs: readonly string[]) => policiesOf(specs.map((spec, i) => policy(`p${i}`, spec)).join("---\n"));
const lost = (before: readonly string[], after: readonly string[]) =>
  lossesOf(load(...before), load(...after), defaults);
const weights = (setting: string) => `rules: [{ id: virtual-service-weights-not-100, ${setting} }]`;
const inShop = "match: { namespaces: { names: [shop] } }";

const table: readonly (readonly [string, string[], string[], RegExp[]])[] = [
  ["nothing", [`{ ${weights("mode: warn")} }`], [`{ ${weights("mode: warn")} }`], []],
  [
    "a name",
    ["{ protectedNamespaces: { names: [a, b] } }"],
    ["{ protectedNamespaces: { names: [b] } }"],
    [/^namespaces named a are/],
  ],
  [
    "a name that a glob covers",
    ["{ protectedNamespaces: { names: [pay-eu, pay-*] } }"],
    ['{ protectedNamespaces: { names: ["p*"] } }'],
    [],
  ],
  [
    "labels",
    ["{ protectedNamespaces: { labels: { x: y } } }"],
    ["{ protectedNamespaces: { labels: { x: z } } }"],
    [/^namespaces labelled x=y are/],
  ],
  [
    "a host that belongs to somebody",
    ["{ hostOwners: [{ hosts: ['*.a.com'], namespaces: [a, 'b-*'] }] }"],
    ["{ rules: [{ id: virtual-service-canary-step, mode: deny }] }"],
    [/^every namespace may use the host \*\.a\.com$/],
  ],
  [
    "a host that another namespace gets, by a longer list and by a narrower entry",
    ["{ hostOwners: [{ hosts: ['*.a.com'], namespaces: [a, 'b-*'] }] }"],
    ["{ hostOwners: [{ hosts: ['*.a.com'], namespaces: [a, b-1, c] }, { hosts: [x.a.com], namespaces: [d] }] }"],
    [/^namespaces named c may use the host \*\.a\.com$/, /^namespaces named d may use the host x\.a\.com$/],
  ],
  [
    "nothing where hosts belong to fewer",
    ["{ hostOwners: [{ hosts: ['*.a.com'], namespaces: [a, 'b-*'] }] }"],
    ["{ hostOwners: [{ hosts: ['*'], namespaces: [a] }] }"],
    [],
  ],
  ["a denial", [], [`{ ${weights("mode: warn")} }`], [/^virtual-service-weights-not-100: mode is warn, and was deny$/]],
  [
    "a denial of every rule",
    [],
    ['{ rules: [{ id: "*", mode: audit }] }'],
    [/permissive: mode is audit or off, and was deny or off/, /weights/, /canary/],
  ],
  ["nothing where a rule became stricter", [`{ ${weights('mode: "off"')} }`], [], []],
  [
    "a denial that a document added",
    ["{ rules: [{ id: virtual-service-canary-step, mode: deny }] }"],
    [],
    [/canary-step: mode is warn, and was deny/],
  ],
  [
    "a denial in one namespace",
    [],
    [`{ ${inShop}, ${weights("mode: warn")} }`],
    [/mode may be warn where MeshwardPolicy p0 matches, and was deny/],
  ],
  [
    "a stricter mode in one namespace",
    [`{ ${inShop}, rules: [{ id: virtual-service-canary-step, mode: deny }] }`],
    ["{ withdrawn: true }"],
    [/canary-step: mode may be warn where MeshwardPolicy p0 matches/],
  ],
  [
    "nothing where another one says the same everywhere",
    [`{ ${inShop}, rules: [{ id: virtual-service-canary-step, mode: deny }] }`],
    ["{ rules: [{ id: virtual-service-canary-step, mode: deny }] }"],
    [],
  ],
  ["existing problems", [`{ ${weights("existing: deny")} }`], [], [/existing is warn, and was deny/]],
  ["errors", [], [`{ ${weights("onError: warn")} }`], [/onError is warn, and was deny/]],
  [
    "reconcilers",
    ["{ reconcilers: { mode: deny } }"],
    ["{ reconcilers: { users: [ci] } }"],
    [/^ci counts as a reconciler$/, /reconcilers are warned, and were denied/],
  ],
  ["break glass", [], ["{ breakGlass: { groups: [ops] } }"], [/^ops may break glass$/]],
  [
    "enrollment",
    [],
    ["{ mutations: { namespaceAmbientEnrollment: { mode: create, except: [shop] } } }"],
    [/^shop is no longer enrolled$/],
  ],
];

describe("what a reload loses", () => {
  for (const [what, before, after, expected] of table)
    test(what, () => {
      const found = lost(before, after);
      assert.equal(found.length, expected.length, found.join("\n"));
      for (const [i, pattern] of expected.entries()) assert.match(found[i] ?? "", pattern);
    });
});

const modes = ["deny", "warn", "audit", '"off"'];
const setting = fc.constantFrom(
  ...modes.map((mode) => `mode: ${mode}`),
  "existing: deny",
  "onError: warn",
  "onUnknown: deny",
);
const part = fc.oneof(
  fc.constantFrom("a", "b", "a*", "*").map((name) => `protectedNamespaces: { names: ["${name}"] }`),
  fc
    .tuple(fc.constantFrom("*", ...defaults.map(({ id }) => id)), setting)
    .map(([id, set]) => `rules: [{ id: "${id}", ${set} }]`),
  fc
    .tuple(fc.constantFrom("a", "b"), fc.constantFrom(...defaults.map(({ id }) => id)), setting)
    .map(([where, id, set]) => `match: { namespaces: { names: [${where}] } }, rules: [{ id: ${id}, ${set} }]`),
  fc.constantFrom("reconcilers: { mode: deny }", "breakGlass: { groups: [ops] }", "reconcilers: { users: [ci] }"),
);
const place = (namespace: string) => ({ namespace, namespaceLabels: {}, kind: "Service", name: "x", labels: {} });

test("removing any documents, and reading what is left, protects no namespace less and denies no less", () => {
  const rank = (mode: string | undefined, id: string) =>
    ["deny", "warn", "audit", "off"].indexOf(mode ?? defaults.find((rule) => rule.id === id)?.mode.protected ?? "off");
  const property = fc.property(fc.array(fc.tuple(part, fc.boolean()), { maxLength: 6 }), (parts) => {
    const texts = parts.map(([spec, stays], i) => ({ text: policy(`p${i}`, `{ ${spec} }`), stays }));
    const before = policiesOf(texts.map(({ text }) => text).join("---\n"));
    const left = policiesOf(
      texts
        .filter(({ stays }) => stays)
        .map(({ text }) => text)
        .join("---\n"),
    );
    const { policies: after } = continued(before, left, defaults);
    for (const namespace of ["a", "b", "ab", "c"]) {
      assert.ok(!before.protectsByName(namespace) || after.protectsByName(namespace));
      for (const { id } of defaults) {
        const modeIn = (policies: typeof before) =>
          policies
            .entriesFor({ id })
            .find(({ scope, value }) => value.mode !== undefined && covers(scope.match, place(namespace)))?.value.mode;
        assert.ok(rank(modeIn(after), id) <= rank(modeIn(before), id), `${id} in ${namespace}`);
      }
    }
    if (before.reconcilerMode === "deny") assert.equal(after.reconcilerMode, "deny");
    assert.ok(!after.mayBreakGlass({ groups: ["ops"] }) || before.mayBreakGlass({ groups: ["ops"] }));
  });
  fc.assert(property, { numRuns: 300 });
});
