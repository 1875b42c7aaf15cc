import { renamed } from "./cel-text.ts";
import { kindsNeeded } from "../engine/declared-reads.ts";
import type { Rule } from "../engine/rule.ts";
import type { CustomRuleSpec } from "../policy/documents.ts";
import type { Kind, Served } from "../kube/kinds.ts";
import { kinds } from "../kube/kinds.ts";
import { kindNamed } from "../custom-rules/kinds.ts";
import { listed } from "../text/phrases.ts";

/** A rule in the form of a ValidatingAdmissionPolicy. */
export interface Form {
  readonly served: readonly Served[];
  /** The problems of the object, as a list of values. */
  readonly now: string;
  /** Those of the old object, which is not null; undefined: the rule compares, and all problems are new. */
  readonly before: string | undefined;
  /** Whether a problem `problem` is one of a rollback. */
  readonly isRollback: string;
  readonly messageExpression: string | undefined;
  /** What it finds beside what the rule denies; undefined: nothing. */
  readonly stricter: string | undefined;
}

/** Names that the expressions of a policy use. */
const variables = { params: "variables.params", settings: "variables.settings" } as const;

/** Kinds of which Kubernetes creates objects for others, which Meshward does not review. */
const created = new Set(["Pod", "ReplicaSet", "ReplicationController", "Job"]);

/** The form of a rule; a text says why it has none. */
export function formOf(rule: Rule, spec: CustomRuleSpec | undefined): Form | string {
  return spec === undefined ? formOfBuiltIn(rule) : formOfCustom(rule, spec);
}

function formOfBuiltIn(rule: Rule): Form | string {
  const { cel, subject, compare } = rule;
  const read = [...kindsNeeded(rule)].filter((kind) => !subject.includes(kind) || rule.reads.length > 0);
  if (rule.reads.length > 0 && cel?.stricter === undefined)
    return `it reads other objects (${listed([...new Set(read)].sort(), "and")})`;
  if (cel === undefined) return withoutForm.get(rule.id) ?? "it has no form in CEL";
  const now = renamed(cel.problems, variables);
  return {
    served: subject.flatMap((kind: Kind) => kinds[kind].served),
    now,
    before: compare === undefined ? renamed(now, { object: "oldObject" }) : undefined,
    isRollback: renamed(cel.isRollback ?? "false", variables),
    messageExpression: undefined,
    stricter: cel.stricter,
  };
}

/** Why rules about one object have no form in CEL. */
const withoutForm: ReadonlyMap<string, string> = new Map([
  [
    "authorization-policy-never-matches",
    "it looks for many patterns in each text of a policy, at places that CEL cannot number",
  ],
  ["authorization-policy-principal-malformed", "it compares parts of texts by their places, which CEL cannot number"],
  [
    "authorization-policy-rules-split",
    "it compares an item of a list with the one before, and CEL cannot number items",
  ],
  [
    "envoy-filter-old-filter-name",
    "it only warns, as it is in its trial stage, and depends on which control planes read the EnvoyFilter",
  ],
  ["envoy-filter-patch-ignored", "it depends on which control planes read the EnvoyFilter"],
  ["kubernetes-gateway-proxy-replaced", "it reads YAML inside an annotation, which CEL cannot parse"],
  ["gateway-server-invalid", "it repeats a validation of istiod, whose webhook holds without Meshward"],
  ["mesh-config-weakened", "it reads YAML inside a ConfigMap, which CEL cannot parse"],
  ["object-invalid", "it checks files; the API server itself rejects such objects"],
  ["object-istio-key-misspelt", "it compares names by their distance, which CEL cannot compute"],
  ["object-malformed", "the API server itself rejects such objects"],
  ["policy-revision-inert", "it depends on which control planes there are"],
  ["policy-revision-narrowed", "it depends on which control planes there are"],
  ["proxy-trusts-forwarded-headers", "it reads YAML inside an annotation, which CEL cannot parse"],
  [
    "reference-grant-shares-secrets",
    "it only warns, as it is in its trial stage, and names each Secret for each namespace, for which CEL would build two lists into one",
  ],
  ["request-authentication-keys-over-http", "it reads URLs that CEL does not take for URLs"],
  [
    "routes-path-has-wildcard",
    "it only warns, as it is in its trial stage, and depends on which control planes read the routes",
  ],
  [
    "routes-rewrite-slash-mismatch",
    "it only warns, as it is in its trial stage, and depends on which control planes read the routes and how the mesh reads paths",
  ],
  ["service-entry-host-invalid", "it repeats a validation of istiod, whose webhook holds without Meshward"],
  [
    "virtual-service-fault-not-retried",
    "it only warns, as it is in its trial stage, and compares durations that are written in several units",
  ],
  [
    "virtual-service-canary-step",
    "it only warns reconcilers, which a ValidatingAdmissionPolicy cannot tell from other writers",
  ],
  [
    "virtual-service-retries-unsafe",
    "it only warns, as it is in its trial stage, and it needs all that Istio derives from retries and timeouts",
  ],
  [
    "virtual-service-route-unreachable",
    "it decides whether one pattern includes another, for which CEL has no function",
  ],
  ["virtual-service-route-rejected", "it repeats a validation of istiod, whose webhook holds without Meshward"],
]);

function formOfCustom(rule: Rule, spec: CustomRuleSpec): Form | string {
  if (/\bmesh\s*\./.test(renamed(spec.expression, {})) || /\bmesh\s*\./.test(renamed(spec.messageExpression ?? "", {})))
    return "it calls functions of the mesh";
  const found = spec.kinds.map(kindNamed).filter((kind) => typeof kind !== "string");
  const withOthers = found.find(({ served }) => created.has(served.kind));
  if (withOthers !== undefined)
    return `Kubernetes creates objects of kind ${withOthers.served.kind} for other objects, and Meshward does not review these`;
  const isOfNamespaces = found.some(({ kind }) => kind === "Namespace");
  if (isOfNamespaces && rule.reads.length > 0) return "namespaceObject is null for a Namespace itself";
  const right = renamed(spec.expression, variables);
  const message = spec.messageExpression && renamed(spec.messageExpression, variables);
  const value = message ?? "''";
  const problems = `(${right}) ? [] : [dyn(${value})]`;
  return {
    served: found.map(({ served }) => served),
    now: problems,
    before: rule.compare === undefined ? renamed(problems, { object: "oldObject" }) : undefined,
    isRollback: "false",
    messageExpression: message,
    stricter: undefined,
  };
}
