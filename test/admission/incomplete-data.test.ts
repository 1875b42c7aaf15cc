import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { defineRule, type Problem } from "../../src/engine/rule.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { readObject } from "../../src/kube/object.ts";
import type { RuleOptions } from "../../src/policy/documents.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, type Knowledge, relation } from "../../src/view/view.ts";
import { type Raw, type RequestParts, reviewed } from "./requests.ts";
import { policiesOf, validate, wishing } from "./wishing-rules.ts";

// What the view knows only in part, or has not heard of for too long, takes nobody's change down by itself.

/** A namespace is closed while it has a guard and nothing that opens it. */
const wishes = (wish: string) =>
  index("VirtualService", ({ metadata }) =>
    metadata.annotations[`test/${wish}`] === undefined ? [] : [metadata.namespace],
  );
const byName = index("Namespace", ({ metadata }) => [metadata.name]);
const guards = relation("guards", byName, wishes("guard"));
const openings = relation("openings", byName, wishes("opens"));
const opened = defineRule({
  id: "test-opened",
  subject: "Namespace",
  reads: [guards, openings],
  mode: "deny",
  since: "0.1.0",
  summary: "s",
  why: "w",
  fix: "Do it right.",
  *compare(before, after): Iterable<Problem> {
    const isClosed = ({ mesh, object }: typeof before) =>
      mesh.related(guards, object).length > 0 && mesh.related(openings, object).length === 0;
    if (isClosed(before) && !isClosed(after)) yield { at: [], message: "It is open" };
  },
});

describe("a weakening by what is known in part", () => {
  const guard = wishing({ guard: "yes" });
  const other = { ...guard, metadata: { name: "other", namespace: "shop", annotations: { "test/guard": "yes" } } };
  const cases: readonly [string, RequestParts, Pick<RuleOptions, "onUnknown">, "deny" | "warn"][] = [
    ["what protects is deleted", { oldObject: guard }, {}, "deny"],
    ["what protects protects no longer", { oldObject: guard, object: wishing({}) }, {}, "deny"],
    ["what protects opens instead", { oldObject: guard, object: wishing({ opens: "yes" }) }, {}, "deny"],
    ["what protected nothing opens", { oldObject: wishing({}), object: wishing({ opens: "yes" }) }, {}, "warn"],
    ["something new opens", { object: wishing({ opens: "yes" }) }, {}, "warn"],
    ["the same, where the policy says so", { object: wishing({ opens: "yes" }) }, { onUnknown: "deny" }, "deny"],
  ];
  for (const [name, parts, options, expected] of cases)
    test(`${name}: ${expected}`, () => {
      const there = name.startsWith("what protects") ? [] : [other];
      const scene = { there, spec: { rules: [{ id: opened.id, ...options }] }, parts: { rules: [opened] } };
      assert.equal(validate(parts, scene).outcome, "deny", "as long as everything is known");
      assert.equal(validate(parts, { ...scene, partial: ["Gateway"] }).outcome, "deny", "what is not read");
      assert.equal(validate(parts, { ...scene, partial: ["VirtualService"] }).outcome, expected);
    });
});

const strict = (name: string, mode: string, matchLabels?: object) => ({
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name, namespace: "pay", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { mtls: { mode }, ...(matchLabels === undefined ? {} : { selector: { matchLabels } }) },
});
const namespace = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "pay", labels: { "meshward.io/protected": "true" } },
};
const deployment = (labels: object) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "api", namespace: "pay" },
  spec: { template: { metadata: { labels } } },
});
/** All of the namespace is STRICT but for what is labelled open. */
const there: readonly Raw[] = [
  namespace,
  strict("all", "STRICT"),
  strict("open", "PERMISSIVE", { open: "yes" }),
  deployment({ app: "api" }),
];

function judged(
  parts: RequestParts,
  known: Partial<Record<Kind, Knowledge>>,
  rule: Pick<RuleOptions, "onUnknown"> = {},
) {
  const mesh = new MeshStore(defaultMeshSettings, new Map(Object.entries(known) as [Kind, Knowledge][]));
  for (const raw of there) mesh.set(readObject(kindOfRaw(raw), raw));
  const policies = policiesOf({
    protectedNamespaces: { names: ["pay"] },
    rules: [{ id: "namespace-mtls-weakened", ...rule }],
  });
  return createGate({ mesh: () => mesh, policies: () => policies, rules }).validate(reviewed(parts));
}
const kindOfRaw = ({ kind }: Raw): Kind => (kind === "Deployment" ? "Workload" : (kind as Kind));

/** What protects is in the view, and in the view alone. */
const relabelled = { oldObject: deployment({ app: "api" }), object: deployment({ app: "api", open: "yes" }) };
const old = { PeerAuthentication: "partial" } as const;

describe("mTLS weakened, by PeerAuthentications that were not heard of for too long", () => {
  test("by a workload's labels: denied as long as the policies are known", () => {
    assert.equal(judged(relabelled, {}).outcome, "deny");
  });

  test("by a workload's labels: a warning that says why it is none of the denials", () => {
    const decision = judged(relabelled, old);
    assert.equal(decision.outcome, "warn");
    assert.match(decision.warnings[0] ?? "", /^Deployment pay\/api: \[namespace-mtls-weakened\] Namespace pay: /);
    assert.match(
      decision.warnings.join("\n"),
      /It is only a warning because the data on PeerAuthentication is old or incomplete\./,
    );
  });

  test("the policy's onUnknown: deny denies all the same", () => {
    assert.equal(judged(relabelled, old, { onUnknown: "deny" }).outcome, "deny");
  });

  test("by deleting the policy that is STRICT, or by what it says after: denied, the request shows it", () => {
    const all = strict("all", "STRICT");
    assert.equal(judged({ oldObject: all }, old).outcome, "deny");
    assert.equal(judged({ oldObject: all, object: strict("all", "STRICT", { app: "other" }) }, old).outcome, "deny");
  });
});
