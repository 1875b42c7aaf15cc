import { keyOf, namespaceKey } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Exception, filledParameters, type Labels, modes, type RuleOptions } from "../policy/documents.ts";
import type { Place, Requester } from "../policy/match.ts";
import type { Policies, Scoped } from "../policy/policies.ts";
import type { Mesh } from "../view/view.ts";
import type { Selection } from "./evaluate.ts";
import type { Finding } from "./finding.ts";
import { defaultsOf, type Mode, type ParameterValue, type Rule } from "./rule.ts";

export type { Exception, Requester };

/** How one rule counts for one subject. */
export interface RuleSetting {
  readonly mode: Mode;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** What a finding does that was there before the change. */
  readonly existing: "warn" | "deny";
  /** What an error inside the rule does, where a finding would deny. */
  readonly onError: "deny" | "warn";
  /** What a finding does that would deny, where what it rests on is stale or not known. */
  readonly onUnknown: "warn" | "deny";
  /** Where the mode is from: `MeshwardPolicy payments`, `profile observe`, `the rule's default`. */
  readonly policy: string;
}

/**
 * What the policies say in one evaluation: one request, one check or one audit. It remembers namespaces of the two
 * meshes that it was last asked about.
 */
export interface PolicySelection extends Selection {
  /** The mode is `off` where the rule counts only in protected namespaces and the subject's is none. */
  setting(rule: Rule, subject: AnyObject, before: Mesh, after: Mesh): RuleSetting;
  /** Whether a policy names the namespace, or selects its labels in one of these meshes. */
  isProtected(namespace: string, ...meshes: readonly Mesh[]): boolean;
  exceptionFor(finding: Finding): Exception | undefined;
  /** The exceptions that have accepted a finding so far. */
  readonly usedExceptions: ReadonlySet<Exception>;
}

/** Without a requester nobody asks: files and what already runs. `now` decides which exceptions have expired. */
export const selectionOf = (policies: Policies, requester?: Requester, now: Date = new Date()): PolicySelection =>
  new PoliciesInForce(policies, requester, now);

/** A Namespace is in itself. Empty for what is in none. */
export const namespaceOf = ({ kind, metadata }: AnyObject): string =>
  kind === "Namespace" ? metadata.name : metadata.namespace;

/** What documents say of a rule to this requester, strongest first, and what is known of it already. */
interface Plan {
  readonly scopes: readonly Scoped<RuleOptions>[];
  readonly reach: "everywhere" | "namespace" | "object";
  readonly readsLabels: boolean;
  /** By namespace, as long as the meshes are the same; under the empty name where it is the same everywhere. */
  readonly settings: Map<string, RuleSetting>;
}

const noLabels: Labels = Object.freeze({});
/** Where no document gives a mode. */
const ownDefault = "the rule's default";

/** Settings of rules that no document touches, for as long as the policies are in force. */
const unmatched = new WeakMap<Policies, Map<Rule, RuleSetting>>();

class PoliciesInForce implements PolicySelection {
  readonly usedExceptions = new Set<Exception>();
  readonly #policies: Policies;
  readonly #settings: Map<Rule, RuleSetting>;
  readonly #requester: Requester | undefined;
  readonly #now: Date;
  readonly #plans = new Map<Rule, Plan>();
  readonly #protected = new Map<string, boolean>();
  #before: Mesh | undefined;
  #after: Mesh | undefined;
  /** What the engine was told last: it asks for the parameters of a subject right after it asked whether to judge it. */
  #asked: { readonly rule: Rule; readonly setting: RuleSetting } | undefined;

  constructor(policies: Policies, requester: Requester | undefined, now: Date) {
    this.#policies = policies;
    this.#settings = unmatched.get(policies) ?? new Map();
    unmatched.set(policies, this.#settings);
    this.#requester = requester;
    this.#now = now;
  }

  applies(rule: Rule, subject: AnyObject, before: Mesh, after: Mesh): boolean {
    const setting = this.setting(rule, subject, before, after);
    this.#asked = { rule, setting };
    return setting.mode !== "off";
  }

  /** The same for both sides of a subject, so that what differs between them is what the change introduces. */
  parameters(rule: Rule): Readonly<Record<string, ParameterValue>> {
    return this.#asked?.rule === rule ? this.#asked.setting.parameters : this.#unmatched(rule).parameters;
  }

  setting(rule: Rule, subject: AnyObject, before: Mesh, after: Mesh): RuleSetting {
    this.#turnTo(before, after);
    const namespace = namespaceOf(subject);
    const setting = this.#settingAt(rule, subject, namespace);
    if (setting.mode === "off") return setting;
    if (rule.protectedMode !== undefined && setting.policy === ownDefault && this.#isProtected(namespace))
      return { ...setting, mode: rule.protectedMode };
    if (!rule.onlyProtected || this.#isProtected(namespace)) return setting;
    return { ...setting, mode: "off", policy: "the namespace is not protected" };
  }

  isProtected(namespace: string, ...meshes: readonly Mesh[]): boolean {
    if (namespace === "") return false;
    if (this.#policies.protectsByName(namespace)) return true;
    return meshes.some((mesh) => this.#policies.protectsByLabels(labelsOf(namespace, mesh)));
  }

  exceptionFor({ rule, subject }: Finding): Exception | undefined {
    const exception = this.#policies.exceptionFor(rule.id, placeOf(subject, noLabels), this.#now);
    if (exception !== undefined) this.usedExceptions.add(exception);
    return exception;
  }

  /** What was remembered holds for two meshes. A second look at a change has others. */
  #turnTo(before: Mesh, after: Mesh): void {
    if (before === this.#before && after === this.#after) return;
    this.#before = before;
    this.#after = after;
    this.#protected.clear();
    for (const plan of this.#plans.values()) plan.settings.clear();
  }

  #isProtected(namespace: string): boolean {
    let known = this.#protected.get(namespace);
    if (known === undefined) {
      const meshes = [this.#after, this.#before].filter((mesh) => mesh !== undefined);
      known = this.isProtected(namespace, ...meshes);
      this.#protected.set(namespace, known);
    }
    return known;
  }

  #settingAt(rule: Rule, subject: AnyObject, namespace: string): RuleSetting {
    const plan = this.#planOf(rule);
    if (plan.reach === "object") return this.#judged(rule, plan, subject);
    const key = plan.reach === "everywhere" ? "" : namespace;
    let setting = plan.settings.get(key);
    if (setting === undefined) {
      setting = this.#judged(rule, plan, subject);
      plan.settings.set(key, setting);
    }
    return setting;
  }

  /**
   * As the change leaves the labels, or as it finds them, whichever is stricter: a label that goes on or off in the
   * same change opens nothing.
   */
  #judged(rule: Rule, plan: Plan, subject: AnyObject): RuleSetting {
    const now = this.#settingIn(this.#after, rule, plan, subject);
    if (!plan.readsLabels || this.#before === this.#after) return now;
    const old = this.#before?.find(subject.kind, keyOf(subject));
    return old === undefined ? now : stricter(this.#settingIn(this.#before, rule, plan, old), now);
  }

  #settingIn(mesh: Mesh | undefined, rule: Rule, { scopes }: Plan, subject: AnyObject): RuleSetting {
    if (scopes.length === 0) return this.#unmatched(rule);
    const place = placeOf(subject, mesh === undefined ? noLabels : labelsOf(namespaceOf(subject), mesh));
    const matching = scopes.filter(({ match }) => match.covers(place));
    return matching.length === 0 ? this.#unmatched(rule) : this.#resolve(rule, matching);
  }

  /** Where no document says anything: the same in every evaluation, and the most frequent. */
  #unmatched(rule: Rule): RuleSetting {
    let setting = this.#settings.get(rule);
    if (setting === undefined) {
      setting = this.#resolve(rule, []);
      this.#settings.set(rule, setting);
    }
    return setting;
  }

  #planOf(rule: Rule): Plan {
    let plan = this.#plans.get(rule);
    if (plan === undefined) {
      const scopes = this.#policies.scopesOf(rule.id).filter(({ match }) => match.isBy(this.#requester));
      const inNamespaces = scopes.some(({ match }) => match.readsNamespace);
      const ofObjects = scopes.some(({ match }) => match.readsObject);
      plan = {
        scopes,
        reach: ofObjects ? "object" : inNamespaces ? "namespace" : "everywhere",
        readsLabels: scopes.some(({ match }) => match.readsLabels),
        settings: new Map(),
      };
      this.#plans.set(rule, plan);
    }
    return plan;
  }

  /** Each field from the strongest document that has it, at last from the rule. */
  #resolve(rule: Rule, scopes: readonly Scoped<RuleOptions>[]): RuleSetting {
    const { mode, existing, onError, onUnknown } = cascade(scopes);
    return {
      mode: mode ?? rule.mode,
      policy: scopes.find(({ value }) => value.mode !== undefined)?.policy.title ?? ownDefault,
      existing: existing ?? "warn",
      onError: onError ?? "deny",
      onUnknown: onUnknown ?? "warn",
      parameters: this.#parametersOf(rule, scopes),
    };
  }

  #parametersOf(rule: Rule, scopes: readonly Scoped<RuleOptions>[]): RuleSetting["parameters"] {
    const set = scopes.toReversed().map(({ value }) => value.parameters ?? {});
    const filled = Object.keys(rule.parameters).filter((name) => filledParameters.has(name));
    const protectedLabels = filled.map((name) => [name, this.#policies.protectedSelectors.map(written)]);
    return Object.assign(
      {},
      defaultsOf(rule),
      ...set,
      Object.fromEntries(protectedLabels),
    ) as RuleSetting["parameters"];
  }
}

/** Documents leave out what they do not say, so that the weaker one's value stays. */
const cascade = (scopes: readonly Scoped<RuleOptions>[]): Partial<RuleOptions> =>
  Object.assign({}, ...scopes.toReversed().map(({ value }) => value)) as Partial<RuleOptions>;

/** A label selector as text: `a=b,c=d`. */
const written = (selector: Labels): string =>
  Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

/** Of a namespace that nobody has shown, none are known. */
const labelsOf = (namespace: string, mesh: Mesh): Labels =>
  mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? noLabels;

const placeOf = (subject: AnyObject, namespaceLabels: Labels): Place => ({
  namespace: namespaceOf(subject),
  namespaceLabels,
  name: subject.metadata.name,
  labels: subject.metadata.labels,
});

// Modes are listed from the strictest.
export const isAsStrict = (a: Mode, b: Mode): boolean => modes.indexOf(a) <= modes.indexOf(b);

const stricter = (a: RuleSetting, b: RuleSetting): RuleSetting => (isAsStrict(b.mode, a.mode) ? b : a);
