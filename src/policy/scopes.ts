import { isGlob } from "../text/globs.ts";
import { everyRule, type Pin, type PolicyDocument, type RuleName, type RuleOptions } from "./documents.ts";
import {
  compileMatch,
  compileWriters,
  type Match,
  type NamespacePlace,
  type ObjectPlace,
  type Requester,
} from "./match.ts";
import { globs } from "../text/globs.ts";

/** The title of settings that a document takes over from another one. */
export const takenOver = (title: string, from: string): string => `${title}, which extends ${from},`;

/** A document where one of its matches applies. Scopes are compared by identity; a greater rank is weaker. */
export interface Scope {
  readonly match: Match;
  readonly policy: PolicyDocument;
  readonly rank: number;
}

/** The settings of a rule by one entry of a document. */
export interface RuleEntry {
  readonly scope: Scope;
  readonly value: RuleOptions;
  /** The document, and the one that it extends if the entry is from there. */
  readonly title: string;
  /** 0: the entry is the document's own; otherwise the place of the extended document in the order. */
  readonly depth: number;
  readonly selector: Selector;
  readonly pin?: Pin | undefined;
}

/** How an entry names a rule; the order is that of precedence. */
export const selectors = ["id", "glob", "tag", "every"] as const;
export type Selector = (typeof selectors)[number];

export function selectorOf({ id, tag }: Pick<RuleOptions, "id" | "tag">): Selector {
  if (tag !== undefined) return "tag";
  if (id === everyRule) return "every";
  return id !== undefined && isGlob(id) ? "glob" : "id";
}

/** Compiles whether an entry selects a rule. */
export function compileSelector({ id = "", tag }: Pick<RuleOptions, "id" | "tag">): (rule: RuleName) => boolean {
  if (tag !== undefined) return ({ tags = [] }) => tags.includes(tag);
  const ids = globs([id]);
  return (rule) => ids.matches(rule.id);
}

/** The scopes of all documents that say anything about some objects, strongest first. */
export function scopesOfDocuments(documents: readonly PolicyDocument[]): readonly Scope[] {
  return documents
    .flatMap((policy) => compiledMatches(policy).map((match) => ({ match, policy })))
    .sort(bySpecificity)
    .map((scope, rank) => ({ ...scope, rank }));
}

const matches = new WeakMap<PolicyDocument, readonly Match[]>();

/** Compiled once for each document, because a change of one document builds all scopes again. */
function compiledMatches(policy: PolicyDocument): readonly Match[] {
  let compiled = matches.get(policy);
  if (compiled === undefined) matches.set(policy, (compiled = compileMatch(policy.spec.match)));
  return compiled;
}

/** Documents are sorted by name before. Sorting is stable. */
const bySpecificity = (a: Pick<Scope, "match" | "policy">, b: Pick<Scope, "match" | "policy">): number =>
  b.match.specificity - a.match.specificity || b.policy.layer - a.policy.layer;

/**
 * The entries of these scopes for a rule, in the order of precedence: the more specific match; then the higher layer; then
 * what a document says itself before what it extends; then the entry that names the rule more exactly; then the name of the
 * document.
 */
export function entriesFor(rule: RuleName, scopes: readonly Scope[]): readonly RuleEntry[] {
  const entries = scopes.flatMap((scope) =>
    selectedBy(rule, scope.policy).map((entry): RuleEntry => ({ ...entry, scope })),
  );
  return entries.length < 2 ? entries : entries.sort(byPrecedence);
}

function byPrecedence(a: RuleEntry, b: RuleEntry): number {
  return (
    bySpecificity(a.scope, b.scope) ||
    a.depth - b.depth ||
    selectors.indexOf(a.selector) - selectors.indexOf(b.selector) ||
    lengthOf(b) - lengthOf(a) ||
    a.scope.rank - b.scope.rank
  );
}

/** Of two globs, the longer one names fewer rules. */
const lengthOf = ({ selector, value }: RuleEntry): number => (selector === "glob" ? (value.id ?? "").length : 0);

type OwnEntry = Omit<RuleEntry, "scope">;
interface CompiledEntry extends OwnEntry {
  selects(rule: RuleName): boolean;
}
const compiledEntries = new WeakMap<PolicyDocument, readonly CompiledEntry[]>();
const selected = new WeakMap<PolicyDocument, WeakMap<RuleName, readonly OwnEntry[]>>();

function selectedBy(rule: RuleName, policy: PolicyDocument): readonly OwnEntry[] {
  let known = selected.get(policy);
  if (known === undefined) selected.set(policy, (known = new WeakMap()));
  let entries = known.get(rule);
  if (entries === undefined) known.set(rule, (entries = entriesOf(policy).filter(({ selects }) => selects(rule))));
  return entries;
}

function entriesOf(policy: PolicyDocument): readonly CompiledEntry[] {
  let entries = compiledEntries.get(policy);
  if (entries !== undefined) return entries;
  const sources = [{ title: policy.title, spec: policy.spec, pin: undefined }, ...(policy.extended ?? [])];
  entries = sources.flatMap(({ title, spec, pin }, depth) =>
    [...(spec.rules ?? []), ...(depth === 0 ? ownModes(policy) : [])].map((value) => ({
      value,
      depth,
      title: depth === 0 ? title : takenOver(policy.title, title),
      selector: selectorOf(value),
      pin,
      selects: compileSelector(value),
    })),
  );
  compiledEntries.set(policy, entries);
  return entries;
}

/** The modes of the rules that a document defines. What it says of them among its rules comes first. */
const ownModes = ({ name, spec: { customRules = [] } }: PolicyDocument): readonly RuleOptions[] =>
  customRules.map(({ id, mode = "warn" }) => ({ id: `${name}/${id}`, mode }));

/** A namespace's scopes: those that apply to all its objects, and those that also depend on the object. */
export interface NamespaceScopes {
  readonly certain: readonly Scope[];
  readonly ofObjects: readonly Scope[];
}

/**
 * Finds the scopes for a namespace or an object without comparing it with each of them. Every scope has one condition as its
 * key: an exact name, the text before or after the `*` of a glob, or one label. A look-up takes the scopes of the keys that
 * the object has, and then checks all their conditions.
 */
export class ScopeIndex {
  readonly #keyed = new Map<string, Scope[]>();
  /** The lengths of the starts and ends of globs, by the sort of name. */
  readonly #lengths = new Map<string, Set<number>>();
  readonly #others: Scope[] = [];
  /** Whether some scope without a condition on namespaces has one on objects. */
  #hasObjectKeys = false;
  /** Whether the labels of a namespace or an object can decide anything. */
  readonly readsLabels: boolean;

  constructor(scopes: readonly Scope[]) {
    for (const scope of scopes) this.#add(scope);
    this.readsLabels = scopes.some(({ match }) => match.readsLabels);
  }

  /** The scopes for objects in a namespace, without those that only their own conditions on objects select. */
  inNamespace(place: NamespacePlace, requester: Requester | undefined): NamespaceScopes {
    const keys = [
      ...this.#named("namespace", place.namespace),
      ...labelKeys("namespaceLabel", place.namespaceLabels),
      ...(requester === undefined ? [] : this.#named("user", requester.user)),
      ...(requester === undefined ? [] : requester.groups.flatMap((group) => this.#named("group", group))),
    ];
    const found = this.#found(keys, this.#others).filter(
      ({ match }) => match.isBy(requester) && match.coversNamespace(place),
    );
    return {
      certain: found.filter(({ match }) => !match.readsObject),
      ofObjects: found.filter(({ match }) => match.readsObject),
    };
  }

  /** The scopes for one object: those of its namespace, and those that its name, its labels or its kind select. */
  forObject(ofNamespace: NamespaceScopes, object: ObjectPlace, requester: Requester | undefined): readonly Scope[] {
    const { certain, ofObjects } = ofNamespace;
    const own = this.#hasObjectKeys ? this.#byObject(object, requester) : [];
    if (ofObjects.length === 0 && own.length === 0) return certain;
    const more = [...ofObjects, ...own].filter(({ match }) => match.coversObject(object));
    return more.length === 0 ? certain : [...certain, ...more].sort(byRank);
  }

  #byObject({ kind, name, labels }: ObjectPlace, requester: Requester | undefined): readonly Scope[] {
    const keys = [...this.#named("object", name), ...labelKeys("objectLabel", labels), `kind ${kind}`];
    return this.#found(keys, []).filter(({ match }) => match.isBy(requester));
  }

  #found(keys: readonly string[], others: readonly Scope[]): readonly Scope[] {
    const found = new Set(others);
    for (const key of keys) for (const scope of this.#keyed.get(key) ?? []) found.add(scope);
    return found.size < 2 ? [...found] : [...found].sort(byRank);
  }

  #add(scope: Scope): void {
    const keys = this.#namespaceKeys(scope.match) ?? this.#objectKeys(scope.match) ?? this.#requesterKeys(scope.match);
    if (keys === undefined) this.#others.push(scope);
    for (const key of keys ?? []) {
      const there = this.#keyed.get(key);
      if (there === undefined) this.#keyed.set(key, [scope]);
      else there.push(scope);
    }
  }

  #namespaceKeys({ spec: { namespaces } }: Match): readonly string[] | undefined {
    return this.#keysOf("namespace", namespaces?.names) ?? oneLabel("namespaceLabel", namespaces?.labels);
  }

  /** A scope with a condition on namespaces too is found with its namespace. */
  #objectKeys({ spec: { namespaces, objects } }: Match): readonly string[] | undefined {
    if (namespaces !== undefined) return undefined;
    const keys =
      this.#keysOf("object", objects?.names) ??
      oneLabel("objectLabel", objects?.labels) ??
      objects?.kinds?.map((kind) => `kind ${kind}`);
    this.#hasObjectKeys ||= keys !== undefined;
    return keys;
  }

  #requesterKeys({ spec }: Match): readonly string[] | undefined {
    const { users, groups } = compileWriters(spec);
    if (users.names.length + groups.names.length === 0) return undefined;
    const ofUsers = this.#keysOf("user", users.names);
    const ofGroups = this.#keysOf("group", groups.names);
    return ofUsers === undefined || ofGroups === undefined ? undefined : [...ofUsers, ...ofGroups];
  }

  /** The keys of names; undefined if they are not set, or one of them has no key because `*` is at both ends. */
  #keysOf(of: string, names: readonly string[] | undefined): readonly string[] | undefined {
    const keys: string[] = [];
    for (const name of names ?? []) {
      const [start = "", ...rest] = name.split("*");
      const end = rest.at(-1) ?? "";
      if (rest.length === 0) keys.push(`${of} ${name}`);
      else if (start !== "") keys.push(this.#partKey(`${of}*`, start));
      else if (end !== "") keys.push(this.#partKey(`*${of}`, end));
      else return undefined;
    }
    return names === undefined ? undefined : keys;
  }

  #partKey(of: string, part: string): string {
    const lengths = this.#lengths.get(of) ?? new Set();
    this.#lengths.set(of, lengths.add(part.length));
    return `${of} ${part}`;
  }

  #named(of: string, name: string): readonly string[] {
    const keys = [`${of} ${name}`];
    for (const length of this.#lengths.get(`${of}*`) ?? []) keys.push(`${of}* ${name.slice(0, length)}`);
    for (const length of this.#lengths.get(`*${of}`) ?? []) keys.push(`*${of} ${name.slice(-length)}`);
    return keys;
  }
}

const byRank = (a: Scope, b: Scope): number => a.rank - b.rank;

const labelKeys = (of: string, labels: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(labels).map(([name, value]) => `${of} ${name}=${value}`);

/** One label is enough as a key, because all labels must match. */
function oneLabel(of: string, labels: Readonly<Record<string, string>> | undefined): readonly string[] | undefined {
  return labels === undefined ? undefined : labelKeys(of, labels).slice(0, 1);
}
