import { createGate, type GateParts } from "../../src/admission/gate.ts";
import type { Decision } from "../../src/admission/review.ts";
import { absent } from "../../src/engine/evidence.ts";
import { defineRule, type Problem, type Rule } from "../../src/engine/rule.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { readAny } from "../../src/kube/object.ts";
import type { PolicySpec } from "../../src/policy/documents.ts";
import { Policies } from "../../src/policy/policies.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, type Knowledge, relation } from "../../src/view/view.ts";
import { type Raw, type RequestParts, reviewed } from "./requests.ts";

// Rules that find what the objects' annotations ask for, so that a case shows everything that it rests on.

const text = { since: "0.1.0", summary: "s", why: "w", fix: "Do it right." } as const;
const asked = (metadata: { readonly annotations: Readonly<Record<string, string>> }, wish: string): readonly string[] =>
  metadata.annotations[`test/${wish}`]?.split(",") ?? [];

export const intrinsic = defineRule({
  ...text,
  id: "test-intrinsic",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  *check({ metadata }): Iterable<Problem> {
    for (const [i, wrong] of asked(metadata, "wrong").entries())
      yield { at: ["spec", "http", i], message: `Wrong: ${wrong}` };
  },
});
export const advice: Rule = { ...intrinsic, id: "test-advice", mode: "warn" };
export const recorded: Rule = { ...intrinsic, id: "test-recorded", mode: "audit" };

export const relational = defineRule({
  ...text,
  id: "test-relational",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  *check({ metadata }): Iterable<Problem> {
    for (const name of asked(metadata, "needs"))
      yield { at: [], message: `Gateway "${name}" does not exist`, evidence: [absent("Gateway", "shop", name)] };
  },
});

const guards = relation(
  "guards of a namespace",
  index("Namespace", ({ metadata }) => [metadata.name]),
  index("VirtualService", ({ metadata }) => (asked(metadata, "guard").length > 0 ? [metadata.namespace] : [])),
);
export const weakening = defineRule({
  ...text,
  id: "test-weakening",
  subject: "Namespace",
  reads: [guards],
  mode: "deny",
  *compare(before, after): Iterable<Problem> {
    if (after.mesh.related(guards, after.object).length < before.mesh.related(guards, before.object).length)
      yield { at: [], message: "A guard goes" };
  },
});

const servicesOfRoutes = relation(
  "services of routes",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  index("Service", ({ metadata }) => [metadata.namespace]),
);
/** Finds nothing without Services. */
export const needsServices = defineRule({
  ...text,
  id: "test-needs-services",
  subject: "VirtualService",
  reads: [servicesOfRoutes],
  mode: "deny",
  compare: () => [],
});

export const failing = defineRule({
  ...text,
  id: "test-failing",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  check({ metadata }): Iterable<Problem> {
    if (asked(metadata, "fails").length > 0) throw new Error("secret of the rule");
    return [];
  },
});

export const proxied = defineRule({
  ...text,
  id: "test-proxied",
  subject: "Workload",
  reads: [],
  mode: "deny",
  check: ({ metadata }): Iterable<Problem> =>
    asked(metadata, "wrong").map((wrong) => ({ at: [], message: `Wrong: ${wrong}` })),
});

const rules: readonly Rule[] = [intrinsic, advice, recorded, relational, weakening, needsServices, failing, proxied];

/** A VirtualService that is as wrong as it says: `{ wrong: "a,b" }`. */
export const wishing = (
  wishes: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>> = {},
): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: {
    name: "web",
    namespace: "shop",
    annotations: {
      ...Object.fromEntries(Object.entries(wishes).map(([wish, value]) => [`test/${wish}`, value])),
      ...annotations,
    },
  },
  spec: {},
});

export interface Scene {
  readonly spec?: PolicySpec;
  readonly there?: readonly Raw[];
  readonly unknown?: readonly "Service"[];
  /** Kinds of which the view holds only some objects, or has not heard for too long. */
  readonly partial?: readonly ("VirtualService" | "Gateway")[];
  readonly parts?: Omit<Partial<GateParts>, "readAgain" | "pacing" | "definitionFor">;
}

export const policiesOf = (spec: PolicySpec | undefined): Policies =>
  new Policies(spec === undefined ? [] : [{ title: "MeshwardPolicy test", name: "test", layer: 1, spec }]);

/** The decision on a request, under one policy, in a mesh with these objects. */
export function validate(
  parts: RequestParts,
  { spec, there = [], unknown = [], partial = [], parts: more = {} }: Scene = {},
): Decision {
  const knowledge = new Map<Kind, Knowledge>();
  for (const kind of unknown) knowledge.set(kind, "unknown");
  for (const kind of partial) knowledge.set(kind, "partial");
  const mesh = new MeshStore(defaultMeshSettings, knowledge);
  for (const raw of there) {
    const object = readAny(raw);
    if (object !== undefined) mesh.set(object);
  }
  const policies = policiesOf(spec);
  return createGate({ mesh: () => mesh, rules, policies: () => policies, ...more }).validate(reviewed(parts));
}
