import { describe, isObject, member, type Path } from "../kube/read.ts";
import {
  type DocumentKind,
  documentKinds,
  type CustomRuleSpec,
  everyRule,
  type Exception,
  type ExceptionSpec,
  type Pin,
  type PolicyDocument,
  type PolicySpec,
  type RuleMetadata,
} from "./documents.ts";
import { exceptionProblems, policyProblems } from "./document-problems.ts";
import { namesOfCustomRules } from "./custom-rule-names.ts";
import { extendDocuments } from "./extends.ts";
import { suggestion } from "../text/nearest.ts";
import { listed } from "../text/phrases.ts";
import { Policies } from "./policies.ts";
import { defaultProfile, type ProfileName, profileSources, userLayer } from "./profiles.ts";
import { inDocumentOrder, type SchemaProblem } from "./schema-problems.ts";
import { formProblems } from "./form-problems.ts";

/** A document from a file or from the API server. A manifest has this shape. */
export interface PolicySource {
  readonly raw: unknown;
  readonly file: string;
  /**
   * Line and column, both from 1, or 0 for an object of a cluster, of the path or of its nearest ancestor that exists; with a
   * file if it is not `file`.
   */
  locate(path: Path): { line: number; column: number; file?: string };
}

/** The reason why a document is not in force. The message is one line. */
export interface PolicyError {
  readonly source: PolicySource;
  /** The message without the document. */
  readonly problem: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/**
 * Defines the rules of one document, in their order, or says what is wrong with them; of a document with other problems, only the
 * rules at the places that are `formed`, the others not having the form of a rule. The caller of loadPolicies passes it in,
 * because rules need the engine, the mesh and CEL, and this folder imports none of them.
 */
export type DefineRules = (
  policy: string,
  rules: readonly CustomRuleSpec[],
  formed?: ReadonlySet<number>,
) => { readonly rules: readonly RuleMetadata[] } | { readonly problems: readonly SchemaProblem[] };

export interface LoadOptions {
  readonly pin?: Pin | undefined;
  /** Without it, a document with customRules is not in force. */
  readonly define?: DefineRules | undefined;
}

export interface LoadedPolicies {
  readonly policies: Policies;
  /** The errors of the documents that are not in force; all other documents are. */
  readonly errors: readonly PolicyError[];
}

/**
 * Loads these documents on top of the profile. `rules` are the rules that they may name. Never throws for a document. A
 * document is validated once, as long as its source has the same `raw`.
 */
export function loadPolicies(
  sources: readonly PolicySource[],
  rules: readonly RuleMetadata[],
  profile: ProfileName = defaultProfile,
  { pin, define = withoutRules }: LoadOptions = {},
): LoadedPolicies {
  const { policies, exceptions, errors, taken } = readAll(sources, rules, define);
  const { extended, problems } = extendDocuments(policies, (name) => profileDocuments(name, rules));
  for (const { title, problem } of problems) {
    const source = taken.get(title);
    if (source !== undefined) errors.push(asError(source, problem));
  }
  return {
    policies: new Policies([...profileDocuments(profile, rules), ...extended], exceptions, pin),
    errors: inOrderOf(sources, errors),
  };
}

/** The errors of each document together, in the order of the documents. */
function inOrderOf(sources: readonly PolicySource[], errors: readonly PolicyError[]): readonly PolicyError[] {
  if (errors.length < 2) return errors;
  const places = new Map(sources.map((source, i) => [source, i]));
  return errors.toSorted((a, b) => (places.get(a.source) ?? 0) - (places.get(b.source) ?? 0));
}

const withoutRules: DefineRules = () => ({
  problems: [{ at: ["spec", "customRules"], message: "spec.customRules: rules cannot be defined here" }],
});

function readAll(sources: readonly PolicySource[], rules: readonly RuleMetadata[], define: DefineRules) {
  const { read, taken, errors } = readable(sources, rules, define);
  const policies: PolicyDocument[] = [];
  const exceptions: Exception[] = [];
  const defined = new Map(read.flatMap(({ document }) => rulesDefinedBy(document).map((rule) => [rule.id, rule])));
  for (const { source, document } of read) {
    const problems = namesOfCustomRules(document, defined);
    for (const problem of inDocumentOrder(source.raw, problems)) errors.push(asError(source, problem));
    if (problems.length > 0) continue;
    if ("exception" in document) exceptions.push(document.exception);
    else policies.push(document.policy);
  }
  return { policies, exceptions, errors, taken };
}

/** The documents that are right by themselves; of those with the same name, the first. */
function readable(sources: readonly PolicySource[], rules: readonly RuleMetadata[], define: DefineRules) {
  const errors: PolicyError[] = [];
  const taken = new Map<string, PolicySource>();
  const read: { readonly source: PolicySource; readonly document: InForce }[] = [];
  for (const source of sources) {
    const { document, title } = readOnce(source, rules, define);
    const problems = "problems" in document ? document.problems : [];
    const other = taken.get(title);
    if (problems.length === 0 && other !== undefined) errors.push(asError(source, alreadyThere(other)));
    for (const problem of problems) errors.push(asError(source, problem));
    if (problems.length > 0 || other !== undefined) continue;
    taken.set(title, source);
    if (!("problems" in document)) read.push({ source, document });
  }
  return { read, taken, errors };
}

type InForce = { readonly policy: PolicyDocument } | { readonly exception: Exception };
type Read = InForce | { readonly problems: readonly SchemaProblem[] };

const rulesDefinedBy = (document: InForce): readonly RuleMetadata[] =>
  "policy" in document ? (document.policy.customRules ?? []) : [];

interface ReadOnce {
  readonly document: Read;
  readonly title: string;
}

const known = new WeakMap<readonly RuleMetadata[], WeakMap<object, ReadOnce>>();

/** Of ten thousand documents, one changes. */
function readOnce({ raw }: PolicySource, rules: readonly RuleMetadata[], define: DefineRules): ReadOnce {
  const byRaw = known.get(rules) ?? new WeakMap<object, ReadOnce>();
  known.set(rules, byRaw);
  const there = isObject(raw) ? byRaw.get(raw) : undefined;
  if (there !== undefined) return there;
  const document = isIntentSource(raw) ? intentIn(raw, rules) : readDocument(raw, rules, define);
  const read = { document, title: titleOf(raw) };
  if (isObject(raw)) byRaw.set(raw, read);
  return read;
}

/**
 * Reads documents before they are loaded, and yields after each one, so that loading thousands of new documents does not take all
 * its time in one step. A source with the same `raw` is not read again.
 */
export function* readAhead(
  sources: readonly PolicySource[],
  rules: readonly RuleMetadata[],
  define: DefineRules = withoutRules,
): Generator<void, void> {
  for (const source of sources) {
    readOnce(source, rules, define);
    yield;
  }
}

/** Validates one document by itself; what it extends, and the names of rules that policies define, are not looked up. */
export function readDocument(raw: unknown, rules: readonly RuleMetadata[], define: DefineRules = withoutRules): Read {
  const kind = member(raw, "kind");
  if (!isPolicyKind(kind)) return { problems: [wrongKind(raw)] };
  const invalid = formProblems(kind, raw, rules);
  const isExpiryRead = !invalid.some(({ at }) => at.at(-1) === "expiresAt");
  const own = kind === "MeshwardPolicy" ? policyProblems(raw, rules) : isExpiryRead ? exceptionProblems(raw) : [];
  const problems = [...invalid, ...own];
  if (problems.length > 0)
    return { problems: inDocumentOrder(raw, [...problems, ...ofExpressions(raw, problems, define)]) };
  if (kind === "MeshwardException") return { exception: exceptionOf(raw) };
  const policy = policyOf(raw, titleOf(raw), userLayer);
  const { customRules } = policy.spec;
  if (customRules === undefined) return { policy };
  const defined = define(policy.name, customRules);
  return "problems" in defined
    ? { problems: inDocumentOrder(raw, defined.problems) }
    : { policy: { ...policy, customRules: defined.rules } };
}

/** The problems of those custom rules that have the right form, in a document with other problems. */
function ofExpressions(raw: unknown, known: readonly SchemaProblem[], define: DefineRules): readonly SchemaProblem[] {
  const rules = member(member(raw, "spec"), "customRules");
  const path = ["spec", "customRules"];
  const within = known.filter(({ at }) => path.every((step, i) => at[i] === step));
  const wrong = new Set(within.map(({ at }) => at[path.length]));
  if (member(raw, "kind") !== "MeshwardPolicy" || !Array.isArray(rules) || wrong.has(undefined)) return [];
  const formed = [...rules.keys()].filter((i) => !wrong.has(i));
  const defined = define("", rules as readonly CustomRuleSpec[], new Set(formed));
  return "problems" in defined ? defined.problems : [];
}

const policyKinds = Object.keys(documentKinds) as readonly DocumentKind[];
const isPolicyKind = (kind: unknown): kind is DocumentKind => policyKinds.some((known) => known === kind);
const intentKind = "MeshwardIntent";
const kinds = [...policyKinds, intentKind];

/**
 * Whether a document is one of Meshward's: a policy, an exception or an intent, all of which {@link loadPolicies} validates. A folder
 * may contain other objects too. One of its kinds with another apiVersion is a mistake that is reported.
 */
export const isDocumentSource = (raw: unknown): boolean => {
  const group = member(raw, "apiVersion");
  const kind = member(raw, "kind");
  return (typeof group === "string" && group.startsWith("meshward.io/")) || kinds.some((known) => known === kind);
};

/** Whether a document is an intent, which is an object of the mesh like a VirtualService. */
export const isIntentSource = (raw: unknown): boolean => isDocumentSource(raw) && member(raw, "kind") === intentKind;

/** Whether a document is for the policies in force, and no object of the mesh. */
export const isPolicySource = (raw: unknown): boolean => isDocumentSource(raw) && !isIntentSource(raw);

/** An intent is an object of the mesh, so only its form is checked here; the rule intent-invalid checks what it says. */
const intentIn = (raw: unknown, rules: readonly RuleMetadata[]): { readonly problems: readonly SchemaProblem[] } => ({
  problems: formProblems(intentKind, raw, rules),
});

function wrongKind(raw: unknown): SchemaProblem {
  if (!isObject(raw)) return { at: [], message: `expected ${listed(kinds, "or")}, found ${describe(raw)}` };
  const kind = member(raw, "kind");
  const found = kind === undefined ? "none" : describe(kind);
  const hint = typeof kind === "string" ? suggestion(kind, kinds) : "";
  return { at: ["kind"], message: `kind: expected ${listed(kinds, "or")}, found ${found}${hint}` };
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
  const { reason, owner, ticket, expiresAt } = spec;
  const of = ticket === undefined ? {} : { ticket };
  return { title: titleOf(raw), name, namespace, reason, owner, ...of, expiresAt, spec };
}

/** The kind and name as far as the document sets them: `MeshwardPolicy payments`. */
export function titleOf(raw: unknown): string {
  const kind = member(raw, "kind");
  const metadata = member(raw, "metadata");
  const parts = kind === "MeshwardPolicy" ? [] : [member(metadata, "namespace")];
  const named = [...parts, member(metadata, "name")].filter((part) => typeof part === "string");
  const name = named.map((part) => (/^[\w.-]+$/.test(part) ? part : describe(part))).join("/");
  return `${typeof kind === "string" && kinds.includes(kind) ? kind : "A document"} ${name}`.trim();
}

function alreadyThere(other: PolicySource): SchemaProblem {
  const { line, file = other.file } = other.locate([]);
  const at = line === 0 ? file : `${file}:${line}`;
  return { at: ["metadata", "name"], message: `another document has this name, in ${at}; rename one of the two` };
}

function asError(source: PolicySource, { at, message }: SchemaProblem): PolicyError {
  const { line, column, file = source.file } = source.locate(at);
  const title = titleOf(source.raw);
  return { source, problem: message, file, line, column, message: `${title} is not in force: ${message}` };
}

const loadedProfiles = new WeakMap<readonly RuleMetadata[], Map<ProfileName, readonly PolicyDocument[]>>();

/** Entries for rules that are not in the list are left out, so that a caller with fewer rules can use the profile. */
export function profileDocuments(profile: ProfileName, rules: readonly RuleMetadata[]): readonly PolicyDocument[] {
  const byName = loadedProfiles.get(rules) ?? new Map<ProfileName, readonly PolicyDocument[]>();
  loadedProfiles.set(rules, byName);
  let documents = byName.get(profile);
  if (documents !== undefined) return documents;
  const known = new Set([...rules.map(({ id }) => id), everyRule]);
  documents = profileSources(profile).map(({ raw, layer }) => {
    const document = policyOf(raw, `profile ${identityOf(raw).name}`, layer);
    const listed = document.spec.rules ?? [];
    return { ...document, spec: { ...document.spec, rules: listed.filter(({ id = "" }) => known.has(id)) } };
  });
  byName.set(profile, documents);
  return documents;
}
