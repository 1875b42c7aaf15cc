import type { OwnedHosts } from "../mesh/traffic/host-ownership.ts";
import { selects } from "../mesh/objects/selectors.ts";
import {
  type EnrollmentOptions,
  everyRule,
  type Exception,
  type Labels,
  type PolicyDocument,
  type RuleMetadata,
  type RuleOptions,
} from "./documents.ts";
import { type AcceptedFindings, acceptedFindings } from "./exceptions.ts";
import { type Globs, globs } from "../text/globs.ts";
import { compileMatch, type Match, type Place, type Requester } from "./match.ts";

/** An entry of one document, with the compiled match that decides where it applies. */
export interface Scoped<T> {
  readonly match: Match;
  readonly policy: PolicyDocument;
  readonly value: T;
}

/** The setting of the mutation namespace-ambient-enrollment for a Namespace. */
export interface EnrollmentMutation {
  /** `create`: new namespaces are enrolled; `reconcile`: namespaces are enrolled on updates too. */
  readonly mode: "off" | "create" | "reconcile";
  readonly useWaypoint?: string;
  /** The entry of an except list that leaves this namespace out; the mode is `off` then. */
  readonly exceptedBy?: string;
  /** The document that sets the mode. */
  readonly policy: string;
}

/** All documents in force, compiled. Immutable: changed documents are loaded into a new value. */
export class Policies {
  readonly documents: readonly PolicyDocument[];
  readonly exceptions: readonly Exception[];
  /** The mode for reconcilers where a finding with evidence denies other users. */
  readonly reconcilerMode: "warn" | "deny";
  /** Label selectors: a namespace that one of them selects is protected. */
  readonly protectedSelectors: readonly Labels[];
  /** Every entry of every document. A rule reads them as the parameter `hostOwners`, with ownershipOf. */
  readonly hostOwners: readonly OwnedHosts[];
  /** Globs: a namespace whose name one of them matches is protected. */
  readonly protectedNames: readonly string[];
  readonly #protectedNames: Globs;
  readonly #reconcilerUsers: Globs;
  readonly #fieldManagers: Globs;
  readonly #breakGlassGroups: Globs;
  readonly #rules: ReadonlyMap<string, readonly Scoped<RuleOptions>[]>;
  readonly #everyRule: readonly Scoped<RuleOptions>[];
  readonly #enrollment: readonly Scoped<EnrollmentOptions>[];
  readonly #accepted: AcceptedFindings;
  /** Where the rules that documents define apply, by their ids. */
  readonly #limits: ReadonlyMap<string, readonly Match[]>;

  constructor(documents: readonly PolicyDocument[], exceptions: readonly Exception[] = []) {
    const ranked = [...documents].sort(byRank);
    this.documents = ranked;
    this.exceptions = exceptions;
    this.#accepted = acceptedFindings(exceptions);
    const collect = <T>(read: (spec: PolicyDocument["spec"]) => readonly T[] | undefined): readonly T[] => [
      ...new Set(ranked.flatMap(({ spec }) => read(spec) ?? [])),
    ];
    this.reconcilerMode = collect(({ reconcilers }) => (reconcilers?.mode ? [reconcilers.mode] : []))[0] ?? "warn";
    this.protectedSelectors = collect(({ protectedNamespaces }) =>
      protectedNamespaces?.labels ? [protectedNamespaces.labels] : [],
    );
    this.hostOwners = collect(({ hostOwners }) => hostOwners);
    this.protectedNames = collect(({ protectedNamespaces }) => protectedNamespaces?.names);
    this.#protectedNames = globs(this.protectedNames);
    this.#reconcilerUsers = globs(collect(({ reconcilers }) => reconcilers?.users));
    this.#fieldManagers = globs(collect(({ reconcilers }) => reconcilers?.fieldManagers));
    this.#breakGlassGroups = globs(collect(({ breakGlass }) => breakGlass?.groups));
    this.#enrollment = scoped(ranked, ({ spec }) => {
      const options = spec.mutations?.namespaceAmbientEnrollment;
      return options === undefined ? [] : [options];
    }).sort(bySpecificity);
    this.#limits = new Map(
      ranked.flatMap(({ customRules = [], spec }) => {
        const matches = compileMatch(spec.match);
        return customRules.map(({ id }) => [id, matches] as const);
      }),
    );
    const rules = scoped(ranked, settingsIn).sort(bySpecificity);
    this.#everyRule = rules.filter(({ value }) => value.id === everyRule);
    const named = new Set(rules.map(({ value }) => value.id));
    this.#rules = new Map(
      [...named].map((id) => [id, rules.filter(({ value }) => value.id === id || value.id === everyRule)]),
    );
  }

  /** The rules that documents define, as the caller of loadPolicies defined them. */
  get customRules(): readonly RuleMetadata[] {
    return this.documents.flatMap(({ customRules = [] }) => customRules);
  }

  /** Where a rule that a document defines applies; undefined: everywhere, as built-in rules do. */
  limitsOf(ruleId: string): readonly Match[] | undefined {
    return this.#limits.get(ruleId);
  }

  /** The entries for a rule, strongest first. Each field is taken from the first matching entry that sets it. */
  scopesOf(ruleId: string): readonly Scoped<RuleOptions>[] {
    return this.#rules.get(ruleId) ?? this.#everyRule;
  }

  /** Whether a policy protects the namespace by its name. See `protectedSelectors` for protection by label. */
  protectsByName(namespace: string): boolean {
    return this.#protectedNames.matches(namespace);
  }
  protectsByLabels(labels: Labels): boolean {
    return this.protectedSelectors.some((selector) => selects(selector, labels));
  }

  /**
   * Whether the writer is a reconciler, which applies objects in its own order. Any writer can set the field manager.
   */
  isReconciler({ user, fieldManager }: Pick<Requester, "user" | "fieldManager">): boolean {
    return this.#reconcilerUsers.matches(user) || this.#fieldManagers.matches(fieldManager);
  }
  mayBreakGlass({ groups }: Pick<Requester, "groups">): boolean {
    return groups.some((group) => this.#breakGlassGroups.matches(group));
  }

  /** The exception that accepts a finding of this rule on this object and has not expired at `now`. */
  exceptionFor(ruleId: string, place: Place, now: Date): Exception | undefined {
    return this.#accepted.find(ruleId, place, now);
  }

  /**
   * The except lists of all matching documents are combined; every other field is taken from the strongest document
   * that sets it.
   */
  enrollmentOf(namespace: { name: string; labels: Labels }, requester?: Requester): EnrollmentMutation {
    const { name, labels } = namespace;
    const place: Place = { namespace: name, namespaceLabels: labels, name, labels };
    const options = this.#enrollment.filter(({ match }) => match.isBy(requester) && match.covers(place));
    const { value, policy } = options.find((option) => option.value.mode !== undefined) ?? {};
    const mode = value?.mode ?? "off";
    const title = policy?.title ?? "no policy";
    const excepted = options.flatMap((option) => option.value.except ?? []).find((glob) => globs([glob]).matches(name));
    if (excepted !== undefined) return { mode: "off", exceptedBy: excepted, policy: title };
    const useWaypoint = options.find((option) => option.value.useWaypoint !== undefined)?.value.useWaypoint;
    return { mode, policy: title, ...(useWaypoint === undefined ? {} : { useWaypoint }) };
  }
}

/** The settings in a document: a rule that it defines itself has a mode in it. */
function settingsIn({ name, spec: { rules = [], customRules = [] } }: PolicyDocument): readonly RuleOptions[] {
  const own = customRules.map((rule) => ({ id: `${name}/${rule.id}`, mode: rule.mode ?? "warn" }));
  return [...rules, ...own.filter(({ id }) => !rules.some((rule) => rule.id === id && rule.mode !== undefined))];
}

function scoped<T>(documents: readonly PolicyDocument[], read: (document: PolicyDocument) => readonly T[]) {
  return documents.flatMap((policy) => {
    const matches = compileMatch(policy.spec.match);
    return read(policy).flatMap((value) => matches.map((match): Scoped<T> => ({ match, policy, value })));
  });
}

/** Orders equally specific documents: those of users before profiles, then by name. */
function byRank(a: PolicyDocument, b: PolicyDocument): number {
  return b.layer - a.layer || (a.name < b.name ? -1 : Number(a.name > b.name));
}

/**
 * Orders entries by precedence: the more specific match; then the higher layer; then a rule's own id before `*`; then
 * the name that sorts first. Sorting is stable and keeps the order of documents (byRank) if nothing else decides.
 */
function bySpecificity(a: Scoped<object>, b: Scoped<object>): number {
  return (
    b.match.specificity - a.match.specificity ||
    b.policy.layer - a.policy.layer ||
    Number(isForEveryRule(a)) - Number(isForEveryRule(b))
  );
}

const isForEveryRule = ({ value }: Scoped<object>): boolean => "id" in value && value.id === everyRule;
