import type { Labels } from "../kube/object.ts";
import type { OwnedHosts } from "../mesh/traffic/host-ownership.ts";
import { selects } from "../mesh/objects/selectors.ts";
import type { EnrollmentOptions, Exception, Pin, PolicyDocument, RuleMetadata, RuleName } from "./documents.ts";
import { isAllowed, type LimitsInForce, limitsIn } from "./exception-limits.ts";
import { type AcceptableFinding, type AcceptedFindings, acceptedFindings } from "./exceptions.ts";
import { type Globs, globs } from "../text/globs.ts";
import { covers, type Place, type Requester } from "./match.ts";
import { entriesFor, type RuleEntry, type Scope, ScopeIndex, scopesOfDocuments } from "./scopes.ts";

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
  /** The documents where they apply, strongest first. */
  readonly scopes: readonly Scope[];
  /** Finds those of them that apply to an object. */
  readonly index: ScopeIndex;
  /** The profile in use, if it was asked for at a version. */
  readonly pin: Pin | undefined;
  readonly #enrollment: readonly Scope[];
  readonly #accepted: AcceptedFindings;

  constructor(documents: readonly PolicyDocument[], exceptions: readonly Exception[] = [], pin?: Pin) {
    this.pin = pin;
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
    this.scopes = scopesOfDocuments(ranked);
    this.index = new ScopeIndex(this.scopes.filter(({ policy }) => saysSomewhere(policy)));
    this.#enrollment = this.scopes.filter(({ policy }) => enrollmentIn(policy).length > 0);
  }

  /** The rules that documents define, as the caller of loadPolicies defined them. */
  get customRules(): readonly RuleMetadata[] {
    return this.documents.flatMap(({ customRules = [] }) => customRules);
  }

  /** The entries for a rule, wherever they apply, strongest first. Each field is taken from the first that sets it. */
  entriesFor(rule: RuleName): readonly RuleEntry[] {
    return entriesFor(rule, this.scopes);
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

  /** Whether any exception may accept a finding: most meshes have none, and a review can have tens of thousands of findings. */
  get hasExceptions(): boolean {
    return this.#accepted.areAny;
  }

  /** The exception that accepts a finding, has not expired at `now`, and is one that the policies allow. */
  exceptionFor(finding: AcceptableFinding, namespaceLabels: Labels, now: Date): Exception | undefined {
    let limits: LimitsInForce | undefined;
    for (const exception of this.#accepted.of(finding, now)) {
      limits ??= limitsIn({ namespace: finding.namespace, namespaceLabels }, this.index);
      if (isAllowed(exception, finding.rule, limits, now)) return exception;
    }
    return undefined;
  }

  /**
   * The except lists of all matching documents are combined; every other field is taken from the strongest document
   * that sets it.
   */
  enrollmentOf(namespace: { name: string; labels: Labels }, requester?: Requester): EnrollmentMutation {
    const { name, labels } = namespace;
    const place: Place = { namespace: name, namespaceLabels: labels, kind: "Namespace", name, labels };
    const options = this.#enrollment
      .filter(({ match }) => match.isBy(requester) && covers(match, place))
      .flatMap(({ policy }) => enrollmentIn(policy));
    const { value, title = "no policy" } = options.find((option) => option.value.mode !== undefined) ?? {};
    const mode = value?.mode ?? "off";
    const excepted = options.flatMap((option) => option.value.except ?? []).find((glob) => globs([glob]).matches(name));
    if (excepted !== undefined) return { mode: "off", exceptedBy: excepted, policy: title };
    const useWaypoint = options.find((option) => option.value.useWaypoint !== undefined)?.value.useWaypoint;
    return { mode, policy: title, ...(useWaypoint === undefined ? {} : { useWaypoint }) };
  }
}

/** What a document says of the mutation, and then what it extends. */
function enrollmentIn({ title, spec, extended = [] }: PolicyDocument) {
  return [{ title, spec }, ...extended].flatMap((source) => {
    const value: EnrollmentOptions | undefined = source.spec.mutations?.namespaceAmbientEnrollment;
    return value === undefined ? [] : [{ title: source.title, value }];
  });
}

/** Whether a document sets anything that depends on the object. */
const saysSomewhere = ({ spec, extended = [] }: PolicyDocument): boolean =>
  spec.exceptions !== undefined ||
  spec.customRules !== undefined ||
  [{ spec }, ...extended].some((source) => source.spec.rules !== undefined);

/** Orders equally specific documents: those of users before profiles, then by name. */
function byRank(a: PolicyDocument, b: PolicyDocument): number {
  return b.layer - a.layer || (a.name < b.name ? -1 : Number(a.name > b.name));
}
