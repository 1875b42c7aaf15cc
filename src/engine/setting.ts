import { keyOf, namespaceKey } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Exception, type FilledParameter, type Labels, modes, type RuleOptions } from "../policy/documents.ts";
import type { Place, Requester } from "../policy/match.ts";
import type { Policies, Scoped } from "../policy/policies.ts";
import type { Mesh } from "../view/view.ts";
import { defaultsOf, type Mode, modesOf, type ParameterValue, type Rule } from "./rule.ts";

export type { Exception, Requester };

/** The setting of one rule for one subject. It is computed once and is part of each finding. */
export interface RuleSetting {
  readonly mode: Mode;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** The mode for a problem that existed before the change. */
  readonly existing: "warn" | "deny";
  /** The mode for an error inside the rule, if a finding would be denied. */
  readonly onError: "deny" | "warn";
  /** The mode for a weakening that would be denied, if the data behind it is stale or missing. */
  readonly onUnknown: "warn" | "deny";
  /** The source of the mode: `MeshwardPolicy payments`, `profile observe`, `the rule's default`. */
  readonly policy: string;
  /** Set if the mode is `off` because the namespace is not protected: the mode in a protected namespace. */
  readonly ifProtected?: Mode;
}

/** The settings for one evaluation: one request, one check or one audit. */
export interface Settings {
  /** The setting for a subject after the change, or before it if the subject is deleted. */
  of(rule: Rule, subject: AnyObject): RuleSetting;
  /** The setting in protected namespaces, by the documents that apply to all namespaces and objects. */
  everywhere(rule: Rule): RuleSetting;
}

/** Provides the settings of rules before they run. */
export interface Selection {
  /** The settings for a change from one mesh to another, or for one mesh if both are the same. */
  between(before: Mesh, after: Mesh): Settings;
}

/** The policies for one requester. */
export interface PolicySelection extends Selection {
  exceptionFor(rule: Pick<Rule, "id">, subject: AnyObject): Exception | undefined;
}

/** Every rule in its own mode, as if every namespace were protected. */
export const everyRule: Selection = { between: () => ({ of: settingByItself, everywhere: settingByItself }) };

const settingByItself = (rule: Rule): RuleSetting => ({
  mode: modesOf(rule).protected === "off" ? "audit" : modesOf(rule).protected,
  parameters: defaultsOf(rule),
  existing: "warn",
  onError: "deny",
  onUnknown: "warn",
  policy: ownDefault,
});

/** The source of the mode if no document sets one. */
const ownDefault = "the rule's default";

/** Selects settings by policies. `check` and `audit` have no requester. `now` decides which exceptions have expired. */
export function selectionOf(policies: Policies, requester?: Requester, now: Date = new Date()): PolicySelection {
  const plans = new Map<Rule, Plan>();
  return {
    between: (before, after) => new PolicySettings({ policies, requester, plans }, before, after),
    exceptionFor: (rule, subject) => policies.exceptionFor(rule.id, placeOf(subject, noLabels), now),
  };
}

/** The namespace of an object; a Namespace belongs to itself. Empty for other cluster-scoped objects. */
export const namespaceOf = ({ kind, metadata }: AnyObject): string =>
  kind === "Namespace" ? metadata.name : metadata.namespace;

/** The entries for a rule that apply to this requester, strongest first, and what their result can depend on. */
interface Plan {
  readonly scopes: readonly Scoped<RuleOptions>[];
  readonly reach: "everywhere" | "namespace" | "object";
  readonly readsLabels: boolean;
}

interface Asked {
  readonly policies: Policies;
  readonly requester: Requester | undefined;
  readonly plans: Map<Rule, Plan>;
}

const noLabels: Labels = Object.freeze({});

/** Settings of rules without a matching document, cached as long as the policies are in force. */
const unmatched = new WeakMap<Policies, Map<Rule, RuleSetting>>();

/** The last setting of each rule by documents, and these documents. */
const matched = new WeakMap<Policies, Map<Rule, Matched>>();
interface Matched {
  readonly scopes: readonly Scoped<RuleOptions>[];
  readonly setting: RuleSetting;
}

class PolicySettings implements Settings {
  readonly #asked: Asked;
  readonly #before: Mesh;
  readonly #after: Mesh;
  readonly #unmatched: Map<Rule, RuleSetting>;
  readonly #matched: Map<Rule, Matched>;
  readonly #protected = new Map<string, boolean>();
  /** Settings by namespace; the key is empty if they are the same everywhere. */
  readonly #settings = new Map<Rule, Map<string, RuleSetting>>();

  constructor(asked: Asked, before: Mesh, after: Mesh) {
    this.#asked = asked;
    this.#before = before;
    this.#after = after;
    this.#unmatched = unmatched.get(asked.policies) ?? new Map();
    unmatched.set(asked.policies, this.#unmatched);
    this.#matched = matched.get(asked.policies) ?? new Map();
    matched.set(asked.policies, this.#matched);
  }

  of(rule: Rule, subject: AnyObject): RuleSetting {
    const namespace = namespaceOf(subject);
    const setting = this.#withRequest(rule, this.#settingAt(rule, subject, namespace));
    if (this.#isBeyondLimits(rule, subject)) return { ...setting, mode: "off" };
    if (setting.mode === "off" || typeof rule.mode === "string") return setting;
    const isProtected = this.#isProtected(namespace);
    if (!isProtected && rule.mode.elsewhere === "off") return { ...setting, mode: "off", ifProtected: setting.mode };
    return !isProtected && setting.policy === ownDefault ? { ...setting, mode: rule.mode.elsewhere } : setting;
  }

  /** The parameter `request` differs for each request, and no cache has it. */
  #withRequest(rule: Rule, setting: RuleSetting): RuleSetting {
    const { requester } = this.#asked;
    if (requester === undefined || !("request" in rule.parameters)) return setting;
    return { ...setting, parameters: { ...setting.parameters, request: requester } };
  }

  /** A rule that a policy defines applies only where that policy does, before or after the change. */
  #isBeyondLimits({ id }: Rule, subject: AnyObject): boolean {
    const { policies, requester } = this.#asked;
    const limits = policies.limitsOf(id)?.filter((match) => match.isBy(requester));
    if (limits === undefined || limits.some(({ specificity }) => specificity === 0)) return false;
    const sides = this.#before === this.#after ? [this.#after] : [this.#after, this.#before];
    return !sides.some((mesh) => {
      const place = placeOf(mesh.find(subject.kind, keyOf(subject)) ?? subject, labelsOf(namespaceOf(subject), mesh));
      return limits.some((match) => match.covers(place));
    });
  }

  everywhere(rule: Rule): RuleSetting {
    const { scopes } = this.#planOf(rule);
    return this.#resolve(
      rule,
      scopes.filter(({ match }) => !match.readsNamespace && !match.readsObject),
    );
  }

  /** Whether a policy protects the namespace by name, or by its labels before or after the change. */
  #isProtected(namespace: string): boolean {
    let known = this.#protected.get(namespace);
    if (known === undefined) {
      const { policies } = this.#asked;
      const sides = this.#before === this.#after ? [this.#after] : [this.#after, this.#before];
      known =
        namespace !== "" &&
        (policies.protectsByName(namespace) ||
          sides.some((mesh) => policies.protectsByLabels(labelsOf(namespace, mesh))));
      this.#protected.set(namespace, known);
    }
    return known;
  }

  #settingAt(rule: Rule, subject: AnyObject, namespace: string): RuleSetting {
    const plan = this.#planOf(rule);
    if (plan.scopes.length === 0) return this.#withoutDocument(rule);
    if (plan.reach === "object") return this.#judged(rule, plan, subject);
    let settings = this.#settings.get(rule);
    if (settings === undefined) this.#settings.set(rule, (settings = new Map()));
    const key = plan.reach === "everywhere" ? "" : namespace;
    let setting = settings.get(key);
    if (setting === undefined) settings.set(key, (setting = this.#judged(rule, plan, subject)));
    return setting;
  }

  /**
   * The stricter of the settings before and after the change, so that adding or removing a label in the same change does
   * not weaken anything.
   */
  #judged(rule: Rule, plan: Plan, subject: AnyObject): RuleSetting {
    const now = this.#settingIn(this.#after, rule, plan, subject);
    if (!plan.readsLabels || this.#before === this.#after) return now;
    const old = this.#before.find(subject.kind, keyOf(subject));
    return old === undefined ? now : stricter(this.#settingIn(this.#before, rule, plan, old), now);
  }

  #settingIn(mesh: Mesh, rule: Rule, { scopes }: Plan, subject: AnyObject): RuleSetting {
    const place = placeOf(subject, labelsOf(namespaceOf(subject), mesh));
    const matching = scopes.filter(({ match }) => match.covers(place));
    return matching.length === 0 ? this.#withoutDocument(rule) : this.#ofDocuments(rule, matching);
  }

  /** The same documents match in most evaluations. */
  #ofDocuments(rule: Rule, scopes: readonly Scoped<RuleOptions>[]): RuleSetting {
    const known = this.#matched.get(rule);
    if (known?.scopes.length === scopes.length && known.scopes.every((one, i) => one === scopes[i]))
      return known.setting;
    const setting = this.#resolve(rule, scopes);
    this.#matched.set(rule, { scopes, setting });
    return setting;
  }

  /** The most frequent case, which is the same in every evaluation. */
  #withoutDocument(rule: Rule): RuleSetting {
    let setting = this.#unmatched.get(rule);
    if (setting === undefined) this.#unmatched.set(rule, (setting = this.#resolve(rule, [])));
    return setting;
  }

  #planOf(rule: Rule): Plan {
    const { plans, policies, requester } = this.#asked;
    let plan = plans.get(rule);
    if (plan === undefined) {
      const scopes = policies.scopesOf(rule.id).filter(({ match }) => match.isBy(requester));
      const inNamespaces = scopes.some(({ match }) => match.readsNamespace);
      const ofObjects = scopes.some(({ match }) => match.readsObject);
      plan = {
        scopes,
        reach: ofObjects ? "object" : inNamespaces ? "namespace" : "everywhere",
        readsLabels: scopes.some(({ match }) => match.readsLabels),
      };
      plans.set(rule, plan);
    }
    return plan;
  }

  /** Takes each field from the strongest document that sets it, else from the rule. */
  #resolve(rule: Rule, scopes: readonly Scoped<RuleOptions>[]): RuleSetting {
    const { mode, existing, onError, onUnknown } = cascade(scopes);
    return {
      mode: mode ?? modesOf(rule).protected,
      policy: scopes.find(({ value }) => value.mode !== undefined)?.policy.title ?? ownDefault,
      existing: existing ?? "warn",
      onError: onError ?? "deny",
      onUnknown: onUnknown ?? "warn",
      parameters: this.#parametersOf(rule, scopes),
    };
  }

  #parametersOf(rule: Rule, scopes: readonly Scoped<RuleOptions>[]): RuleSetting["parameters"] {
    const set = scopes.toReversed().map(({ value }) => value.parameters ?? {});
    const { protectedSelectors, protectedNames, hostOwners } = this.#asked.policies;
    const filled = {
      ...("protectedLabels" in rule.parameters ? { protectedLabels: protectedSelectors.map(written) } : {}),
      ...("hostOwners" in rule.parameters ? { hostOwners } : {}),
      ...("protectedNames" in rule.parameters ? { protectedNames } : {}),
    } satisfies Partial<Record<FilledParameter, ParameterValue>>;
    return Object.assign({}, defaultsOf(rule), ...set, filled) as RuleSetting["parameters"];
  }
}

/** A document contains only the fields that it sets, so other fields keep the value of a weaker document. */
const cascade = (scopes: readonly Scoped<RuleOptions>[]): Partial<RuleOptions> =>
  Object.assign({}, ...scopes.toReversed().map(({ value }) => value)) as Partial<RuleOptions>;

/** Formats a label selector: `a=b,c=d`. */
const written = (selector: Labels): string =>
  Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

/** The labels of a namespace; empty if the view does not contain the Namespace. */
const labelsOf = (namespace: string, mesh: Mesh): Labels =>
  mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? noLabels;

const placeOf = (subject: AnyObject, namespaceLabels: Labels): Place => ({
  namespace: namespaceOf(subject),
  namespaceLabels,
  name: subject.metadata.name,
  labels: subject.metadata.labels,
});

// The list of modes starts with the strictest.
export const isAsStrict = (a: Mode, b: Mode): boolean => modes.indexOf(a) <= modes.indexOf(b);
export const milder = (a: Mode, b: Mode): Mode => (isAsStrict(a, b) ? b : a);

const stricter = (a: RuleSetting, b: RuleSetting): RuleSetting => (isAsStrict(b.mode, a.mode) ? b : a);
