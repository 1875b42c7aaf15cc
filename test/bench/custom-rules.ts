// What rules of policies add to a review, in one process: from the bytes of the review to the answer.

import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";
import { keptFieldsOf, rulesInForce } from "../../src/custom-rules/in-force.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf, defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { cpuOf, heapBytes, shown, table } from "./measure.ts";
import { storedMesh } from "./mesh.ts";
import { updates } from "./webhook.ts";

const repetition = { rounds: 15, repeat: 1_000 };
const objects = 10_000;

const forms: readonly (readonly [title: string, expression: string])[] = [
  [
    "about every route",
    "object.spec.http.all(r, r.route.all(d, (!has(d.weight) || d.weight >= 0) && d.destination.host != ''))",
  ],
  // A route with one destination has no weight.
  ["that fails", "object.spec.http.all(r, r.route.all(d, d.weight >= 0 && d.destination.host != ''))"],
  ["before and after", "object.spec.http.size() == oldObject.spec.http.size()"],
  ["with a pattern", "object.metadata.name.matches('^[a-z]+(-[a-z0-9]+)*$')"],
  ["about the default deny", "mesh.deniesByDefault(object.metadata.namespace) || true"],
  [
    "about DestinationRules",
    "object.spec.http.all(r, r.route.all(d, mesh.destinationRule(d.destination.host).names.size() >= 0))",
  ],
];

function policiesWith(expressions: readonly string[]): Policies {
  const customRules = expressions.map((expression, i) => ({
    id: `rule-${i}`,
    kinds: ["VirtualService"],
    expression,
    message: "It is wrong",
  }));
  const raw = {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardPolicy",
    metadata: { name: "own" },
    spec: customRules.length === 0 ? { protectedNamespaces: { names: ["none"] } } : { customRules },
  };
  const source = { raw, file: "own.yaml", locate: () => ({ line: 1, column: 1 }) };
  const { policies, errors } = loadPolicies([source], rules, "baseline", { define: defineCustomRules });
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join("\n"));
  return policies;
}

function storeFor(policies: Policies): MeshStore {
  const keep = keptFieldsOf(rulesInForce(rules, policies));
  const all = [...storedMesh(objects)].flatMap((raw) => readAny(raw, "", keep) ?? []);
  const mesh = new MeshStore(meshSettingsOf(all, defaultMeshSettings));
  for (const object of all) mesh.set(object);
  return mesh;
}

/** The CPU of one review with these rules, in microseconds. */
function reviewUs(expressions: readonly string[]): number {
  const policies = policiesWith(expressions);
  const mesh = storeFor(policies);
  const gate = createGate({ mesh: () => mesh, policies: () => policies, rules });
  const bodies = updates(1_000).map((body) => Buffer.from(body));
  return cpuOf((i) => {
    const reading = readReview(bodies[i % bodies.length] as Buffer);
    if ("problem" in reading) throw new Error(`a review of the bench cannot be read: ${reading.problem}`);
    return JSON.stringify(answer(reading.request.uid, gate.validate(reading.request), "/validate"));
  }, repetition);
}

/** A custom rule has to cost less than 50 us of CPU a review, and rules for other kinds nothing. */
export function customRulesTable(): string {
  // The first one also compiles the code of a review.
  reviewUs([forms[0]?.[1] ?? ""]);
  const none = reviewUs([]);
  const rows = forms.map(([title, expression]) => {
    const [one, twenty] = [reviewUs([expression]), reviewUs(Array.from({ length: 20 }, () => expression))];
    return [title, shown(one - none), shown((twenty - none) / 20)];
  });
  return table(
    `Rules of policies: a VirtualService update needs ${shown(none)} us without, and in addition`,
    ["a rule", "one rule, CPU us", "each of 20 rules, CPU us"],
    rows,
  );
}

/** The heap that is kept for what the rules name, for each object of their kind. */
export function keptTable(): string {
  const bytesFor = (expressions: readonly string[]): number => {
    const policies = policiesWith(expressions);
    const before = heapBytes();
    const mesh = storeFor(policies);
    const bytes = heapBytes() - before;
    return bytes / Math.max(1, mesh.count("VirtualService"));
  };
  bytesFor([]);
  const none = bytesFor([]);
  const rows = [
    ["timeouts of all routes", "object.spec.http.all(r, !has(r.timeout))"],
    ["hosts and weights of all routes", forms[0]?.[1] ?? ""],
    ["everything", "object == object"],
  ].map(([title = "", expression = ""]) => [title, shown(bytesFor([expression]) - none)]);
  return table(
    `Rules of policies: heap for each VirtualService, of ${objects} objects`,
    ["named fields", "bytes"],
    rows,
  );
}
