import { Ajv, type ValidateFunction } from "ajv";
import { formatPath } from "../kube/field-path.ts";
import { describe, isObject, member, type Path } from "../kube/read.ts";
import {
  type CustomRuleSpec,
  everyRule,
  type Exception,
  type ExceptionSpec,
  filledParameters,
  type PolicyDocument,
  type PolicySpec,
  type RuleMetadata,
  type RuleOptions,
} from "./documents.ts";
import { isTimestamp } from "./exceptions.ts";
import { suggestion } from "../text/nearest.ts";
import { Policies } from "./policies.ts";
import { defaultProfile, type ProfileName, profileSources, userLayer } from "./profiles.ts";
import { meshwardExceptionSchema, meshwardPolicySchema } from "./schema.ts";
import { type SchemaProblem, schemaProblems } from "./schema-problems.ts";

/** A document from a file or from the API server. A manifest has this shape. */
export interface PolicySource {
  readonly raw: unknown;
  readonly file: string;
  /** Line and column, both from 1, of the path or of its nearest ancestor that exists. */
  locate(path: Path): { line: number; column: number };
}

/** The reason why a document is not in force. The message is one line. */
export interface PolicyError {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/**
 * Defines the rules of one document, in their order, or says what is wrong with them. The caller of loadPolicies passes it in,
 * because rules need the engine, the mesh and CEL, and this folder imports none of them.
 */
export type DefineRules = (
  policy: string,
  rules: readonly CustomRuleSpec[],
) => { readonly rules: readonly RuleMetadata[] } | { readonly problems: readonly SchemaProblem[] };

export interface LoadedPolicies {
  readonly policies: Policies;
  /** The errors of the documents that are not in force; all other documents are. */
  readonly errors: readonly PolicyError[];
}

/**
 * Loads these documents on top of the profile. `rules` are the built-in rules that they may name, and `define` defines those of
 * their own; without it, a document with customRules is not in force. Never throws for a document.
 */
export function loadPolicies(
  sources: readonly PolicySource[],
  rules: readonly RuleMetadata[],
  profile: ProfileName = defaultProfile,
  define: DefineRules = withoutRules,
): LoadedPolicies {
  const errors: PolicyError[] = [];
  const read = readable(sources, { rules, define }, errors);
  const defined = new Map(read.flatMap(({ document }) => rulesDefinedBy(document).map((rule) => [rule.id, rule])));
  const documents = [...profileDocuments(profile, rules)];
  const exceptions: Exception[] = [];
  for (const { source, document } of read) {
    const problems = namesOfCustomRules(document, defined);
    for (const problem of problems) errors.push(asError(source, problem));
    if (problems.length > 0) continue;
    if ("exception" in document) exceptions.push(document.exception);
    else documents.push(document.policy);
  }
  return { policies: new Policies(documents, exceptions), errors };
}

interface ReadSource {
  readonly source: PolicySource;
  readonly document: InForce;
}
interface Reading {
  readonly rules: readonly RuleMetadata[];
  readonly define: DefineRules;
}

/** The documents that are right by themselves, of those with the same name the first. */
function readable(
  sources: readonly PolicySource[],
  { rules, define }: Reading,
  errors: PolicyError[],
): readonly ReadSource[] {
  const taken = new Map<string, PolicySource>();
  const read: ReadSource[] = [];
  for (const source of sources) {
    const document = readDocument(source, rules, define);
    const problems = "problems" in document ? document.problems : [];
    const title = titleOf(source.raw);
    const other = taken.get(title);
    if (problems.length === 0 && other !== undefined) errors.push(asError(source, alreadyThere(other)));
    for (const problem of problems) errors.push(asError(source, problem));
    if ("problems" in document || other !== undefined) continue;
    taken.set(title, source);
    read.push({ source, document });
  }
  return read;
}

const withoutRules: DefineRules = () => ({
  problems: [{ at: ["spec", "customRules"], message: "spec.customRules: rules cannot be defined here" }],
});

type InForce = { readonly policy: PolicyDocument } | { readonly exception: Exception };
type Read = InForce | { readonly problems: readonly SchemaProblem[] };

function readDocument({ raw }: PolicySource, rules: readonly RuleMetadata[], define: DefineRules): Read {
  const validators = validatorsFor(rules);
  const kind = member(raw, "kind");
  if (!isKind(kind)) return { problems: [wrongKind(raw)] };
  const ofPolicy =
    kind === "MeshwardPolicy"
      ? [...duplicates(raw, "rules"), ...duplicates(raw, "customRules"), ...withdrawnAndMore(raw)]
      : [];
  const problems = [...problemsOf(validators[kind], raw), ...ofPolicy];
  if (problems.length > 0) return { problems };
  if (kind === "MeshwardException") return { exception: exceptionOf(raw) };
  const policy = policyOf(raw, titleOf(raw), userLayer);
  const { customRules } = policy.spec;
  if (customRules === undefined) return { policy };
  const defined = define(policy.name, customRules);
  return "problems" in defined ? defined : { policy: { ...policy, customRules: defined.rules } };
}

const rulesDefinedBy = (document: InForce): readonly RuleMetadata[] =>
  "policy" in document ? (document.policy.customRules ?? []) : [];

/** What is wrong with names and parameters of rules that some policy defines; those of built-in rules are in the schema. */
function namesOfCustomRules(document: InForce, defined: ReadonlyMap<string, RuleMetadata>): readonly SchemaProblem[] {
  const isPolicyDocument = "policy" in document;
  const named: readonly Pick<RuleOptions, "id" | "parameters">[] = isPolicyDocument
    ? (document.policy.spec.rules ?? [])
    : document.exception.spec.rules.map((id) => ({ id }));
  return named.flatMap(({ id, parameters = {} }, i) => {
    // The ids of built-in rules have no slash.
    if (!id.includes("/")) return [];
    const rule = defined.get(id);
    if (rule !== undefined)
      return Object.entries(parameters).flatMap(([name, value]) => wrongParameter(rule, { name, value, i }) ?? []);
    const at = ["spec", "rules", i, ...(isPolicyDocument ? ["id"] : [])];
    const hint = suggestion(id, [...defined.keys()]) || "; no policy in force defines it";
    return [{ at, message: `${formatPath(at)}: there is no rule ${describe(id)}${hint}` }];
  });
}

interface Given {
  readonly name: string;
  readonly value: unknown;
  /** The place of the entry in spec.rules. */
  readonly i: number;
}

function wrongParameter(rule: RuleMetadata, { name, value, i }: Given): SchemaProblem | undefined {
  const at = ["spec", "rules", i, "parameters", name];
  const settable = Object.keys(rule.parameters).filter((one) => !filledParameters.has(one));
  const known = settable.includes(name) ? rule.parameters[name] : undefined;
  if (known === undefined) {
    const others = settable.length === 0 ? "there are none" : `known are ${settable.join(", ")}`;
    const hint = suggestion(name, settable) || `; ${others}`;
    return { at, message: `${formatPath(at)}: there is no such parameter for ${rule.id}${hint}` };
  }
  const [expected, found] = [known.default, value].map(typeOfParameter);
  if (expected === found) return undefined;
  return { at, message: `${formatPath(at)}: expected ${expected}, found ${describe(value)}` };
}

const typeOfParameter = (value: unknown): string => (Array.isArray(value) ? "a list" : `a ${typeof value}`);

const kinds = ["MeshwardPolicy", "MeshwardException"] as const;
const isKind = (kind: unknown): kind is (typeof kinds)[number] => kinds.some((known) => known === kind);

/** Whether {@link loadPolicies} should read a document; a folder may contain other objects too. */
export const isPolicySource = (raw: unknown): boolean => {
  const group = member(raw, "apiVersion");
  return typeof group === "string" && group.startsWith("meshward.io/");
};

function wrongKind(raw: unknown): SchemaProblem {
  if (!isObject(raw))
    return { at: [], message: `expected a MeshwardPolicy or a MeshwardException, found ${describe(raw)}` };
  const kind = member(raw, "kind");
  const found = kind === undefined ? "none" : describe(kind);
  const hint = typeof kind === "string" ? suggestion(kind, kinds) : "";
  return { at: ["kind"], message: `kind: expected ${kinds.join(" or ")}, found ${found}${hint}` };
}

type Validators = Readonly<Record<(typeof kinds)[number], ValidateFunction>>;
const compiled = new WeakMap<readonly RuleMetadata[], Validators>();

/** Compiled once for each list of rules, because compiling costs more than validating. */
function validatorsFor(rules: readonly RuleMetadata[]): Validators {
  const known = compiled.get(rules);
  if (known !== undefined) return known;
  const ajv = new Ajv({ allErrors: true, verbose: true, ownProperties: true, strictTypes: true });
  ajv.addFormat("date-time", { type: "string", validate: isTimestamp });
  const validators = {
    MeshwardPolicy: ajv.compile(meshwardPolicySchema(rules)),
    MeshwardException: ajv.compile(meshwardExceptionSchema(rules)),
  };
  compiled.set(rules, validators);
  return validators;
}

function problemsOf(validate: ValidateFunction, raw: unknown): readonly SchemaProblem[] {
  return validate(raw) ? [] : schemaProblems(validate.errors ?? []);
}

/** A rule that one document names twice, so that it would be unclear which entry applies. */
function duplicates(raw: unknown, field: "rules" | "customRules"): readonly SchemaProblem[] {
  const rules = member(member(raw, "spec"), field);
  const first = new Map<unknown, number>();
  const problems: SchemaProblem[] = [];
  for (const [i, rule] of (Array.isArray(rules) ? rules : []).entries()) {
    const id = member(rule, "id");
    const other = first.get(id);
    if (other === undefined) first.set(id, i);
    else if (typeof id === "string")
      problems.push({
        at: ["spec", field, i, "id"],
        message: `spec.${field}[${i}].id: ${id} is in spec.${field}[${other}] already; ${field === "rules" ? "merge the two entries" : "rename one of the two"}`,
      });
  }
  return problems;
}

/** A document that says that it sets nothing, and sets something. */
function withdrawnAndMore(raw: unknown): readonly SchemaProblem[] {
  const spec = member(raw, "spec");
  const others =
    isObject(spec) && spec.withdrawn === true ? Object.keys(spec).filter((key) => key !== "withdrawn") : [];
  if (others.length === 0) return [];
  const message = `spec.withdrawn: a withdrawn policy cannot set ${others.join(", ")}; remove either spec.withdrawn or the other fields`;
  return [{ at: ["spec", "withdrawn"], message }];
}

interface Identity {
  readonly name: string;
  readonly namespace: string;
}

// The schema has validated the values that are cast below.
const identityOf = (raw: unknown): Identity => member(raw, "metadata") as Identity;

const policyOf = (raw: unknown, title: string, layer: number): PolicyDocument => ({
  title,
  name: identityOf(raw).name,
  layer,
  spec: member(raw, "spec") as PolicySpec,
});

function exceptionOf(raw: unknown): Exception {
  const spec = member(raw, "spec") as ExceptionSpec;
  const { name, namespace } = identityOf(raw);
  const { reason, owner, expiresAt } = spec;
  return { title: titleOf(raw), name, namespace, reason, owner, expiresAt, spec };
}

/** The kind and name as far as the document sets them: `MeshwardPolicy payments`. */
function titleOf(raw: unknown): string {
  const kind = member(raw, "kind");
  const metadata = member(raw, "metadata");
  const parts = kind === "MeshwardException" ? [member(metadata, "namespace")] : [];
  const named = [...parts, member(metadata, "name")].filter((part) => typeof part === "string");
  const name = named.map((part) => (/^[\w.-]+$/.test(part) ? part : describe(part))).join("/");
  return `${isKind(kind) ? kind : "A document"} ${name}`.trim();
}

function alreadyThere(other: PolicySource): SchemaProblem {
  const at = `${other.file}:${other.locate([]).line}`;
  return { at: ["metadata", "name"], message: `another document has this name, in ${at}; rename one of the two` };
}

function asError(source: PolicySource, { at, message }: SchemaProblem): PolicyError {
  const { line, column } = source.locate(at);
  return { file: source.file, line, column, message: `${titleOf(source.raw)} is not in force: ${message}` };
}

/** Entries for rules that are not in the list are left out, so that a caller with fewer rules can use the profile. */
function profileDocuments(profile: ProfileName, rules: readonly RuleMetadata[]): readonly PolicyDocument[] {
  const known = new Set([...rules.map(({ id }) => id), everyRule]);
  return profileSources(profile).map(({ raw, layer }) => {
    const document = policyOf(raw, `profile ${identityOf(raw).name}`, layer);
    const listed = document.spec.rules ?? [];
    return { ...document, spec: { ...document.spec, rules: listed.filter(({ id }) => known.has(id)) } };
  });
}
