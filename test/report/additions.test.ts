import assert from "node:assert/strict";
import test from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { rulingsOf } from "../../src/engine/ruling.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { createGate } from "../../src/admission/gate.ts";
import type { AdmissionRequest } from "../../src/admission/review.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { reportedRulings } from "../../src/report/reported-finding.ts";
import { rules } from "../../src/rules/index.ts";
import { MeshStore } from "../../src/view/store.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { readAny } from "../../src/kube/object.ts";
import { policy, sourcesOf } from "../policy/sources.ts";

const id = "virtual-service-weights-not-100";
const runbook = "https://wiki.example/weights";
const { policies } = loadPolicies(
  sourcesOf(policy("a", `{rules: [{id: ${id}, message: "Ask #mesh first.", runbook: "${runbook}"}]}`)),
  rules,
);
const raw = {
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "shop" },
  spec: {
    hosts: ["shop.example.com"],
    http: [{ route: [1, 2].map((i) => ({ destination: { host: `v${i}` }, weight: 60 })) }],
  },
};
const mesh = () => new MeshStore(defaultMeshSettings);

test("a denial shows what the policy adds for a rule", () => {
  const gate = createGate({ mesh, policies: () => policies, rules });
  const request = {
    uid: "u",
    operation: "CREATE",
    kind: { group: "networking.istio.io", version: "v1", kind: "VirtualService" },
    resource: { group: "networking.istio.io", version: "v1", resource: "virtualservices" },
    namespace: "shop",
    name: "shop",
    user: { name: "ann", groups: [] },
    fieldManager: "kubectl",
    dryRun: false,
    object: raw,
  } as unknown as AdmissionRequest;
  const { message } = gate.validate(request);
  assert.match(
    message ?? "",
    /\n {2}Fix: .*\n {2}Note: Ask #mesh first\.\n {2}Runbook: https:\/\/wiki\.example\/weights\n/,
  );
});

test("a report has it, and the policy that decides", () => {
  const object = readAny(raw);
  assert.ok(object);
  const view = mesh();
  const selection = selectionOf(policies);
  const { findings, after } = judge(
    rules.filter((rule) => rule.id === id),
    view,
    [{ object }],
    { selection },
  );
  const rulings = rulingsOf(findings, { after, exceptionFor: selection.exceptionFor });
  const places = { of: () => undefined, isChangeable: () => true };
  const [finding] = reportedRulings(rulings, { places, docsUrl: "" }).findings;
  assert.deepEqual(
    [finding?.policy, finding?.note, finding?.runbook],
    ["the rule's default", "Ask #mesh first.", runbook],
  );
});
