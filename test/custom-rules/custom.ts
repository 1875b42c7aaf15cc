import { parseAllDocuments } from "yaml";
import { createGate } from "../../src/admission/gate.ts";
import type { Decision } from "../../src/admission/review.ts";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";
import { keptFieldsOf, rulesInForce } from "../../src/custom-rules/in-force.ts";
import { audit } from "../../src/engine/audit.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import type { Path } from "../../src/kube/read.ts";
import { loadPolicies, type PolicyError } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { rules as builtIn } from "../../src/rules/index.ts";
import { fileMeshOf } from "../../src/sources/manifests/file-mesh.ts";
import type { Knowledge } from "../../src/view/view.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { type Raw, reviewed } from "../admission/requests.ts";

export const rawsIn = (text: string): readonly Raw[] =>
  parseAllDocuments(text).map((document) => document.toJS() as Raw);

/** The policies of a text, with the rules that they define. */
export function loaded(text: string): { readonly policies: Policies; readonly errors: readonly PolicyError[] } {
  const sources = rawsIn(text).map((raw) => ({
    raw,
    file: "policies.yaml",
    locate: (path: Path) => ({ line: 1, column: path.length }),
  }));
  return loadPolicies(sources, builtIn, "baseline", { define: defineCustomRules });
}

/** The policies of a text that is right. */
export function policiesIn(text: string): Policies {
  const { policies, errors } = loaded(text);
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join("\n"));
  return policies;
}

/** MeshwardPolicy `own` with one rule `own/rule`; `fields` in one line of YAML. */
export const policyWith = (fields: string): string => `
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: {name: own}
spec: {customRules: [{id: rule, message: It is wrong, ${fields}}]}
`;

/** The rule `own/rule` with these fields. */
export function ruleWith(fields: string): Rule {
  const [rule] = policiesIn(policyWith(fields)).customRules as readonly Rule[];
  if (rule === undefined) throw new Error("there is no rule");
  return rule;
}

export interface World {
  /** YAML documents of the mesh. */
  readonly mesh?: string;
  readonly policies: Policies;
  readonly knowledge?: (kind: Kind) => Knowledge;
}

const meshOf = ({ mesh = "", policies, knowledge }: World) => {
  const manifests = rawsIn(mesh).flatMap((raw) =>
    typeof raw === "object" && raw !== null
      ? [{ raw, file: "mesh.yaml", kind: String(raw.kind), locate: () => ({ line: 1, column: 1 }) }]
      : [],
  );
  return fileMeshOf(manifests as never, {
    defaultNamespace: "default",
    keep: keptFieldsOf(rulesInForce(builtIn, policies)),
    ...(knowledge === undefined ? {} : { knowledge }),
  }).mesh;
};

/** The decision about a change to a mesh. */
export function decided(world: World, change: Parameters<typeof reviewed>[0]): Decision {
  const mesh = meshOf(world);
  const gate = createGate({ mesh: () => mesh, rules: [], policies: () => world.policies });
  const decision = gate.validate(reviewed(change));
  if (decision instanceof Promise) throw new Error("a review waited");
  return decision;
}

/** What an audit finds of the rules of policies: `own/rule Deployment shop/web: message`. */
export function audited(world: World): readonly string[] {
  const mesh = meshOf(world);
  const rules = rulesInForce(builtIn, world.policies).filter(({ definedBy }) => definedBy !== undefined);
  return [...audit(rules, mesh, selectionOf(world.policies))].map((result) => {
    if ("error" in result) throw result.error;
    if (!("message" in result)) return `${result.rule.id} needs ${result.unknown}`;
    const { metadata, originKind } = result.subject;
    return `${result.rule.id} ${originKind} ${metadata.namespace}/${metadata.name}: ${result.message}`;
  });
}
