import { identityOf, keyOf, namespaceKey } from "../kube/identity.ts";
import type { AnyObject, Labels } from "../kube/object.ts";
import { type Exception, type FilledParameter, modes, type RuleOptions } from "../policy/documents.ts";
import { fingerprintOf } from "../policy/fingerprint.ts";
import type { NamespacePlace, ObjectPlace, Requester } from "../policy/match.ts";
import type { Policies } from "../policy/policies.ts";
import { isOfUser } from "../policy/profiles.ts";
import { entriesFor, type NamespaceScopes, type RuleEntry, type Scope } from "../policy/scopes.ts";
import { SmallMap } from "../view/small-map.ts";
import type { Mesh } from "../view/view.ts";
import { defaultsOf, type Mode, modesOf, type ParameterValue, type ProtectionModes, type Rule } from "./rule.ts";

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
  /** What the policies add for the user who is denied or warned. */
  readonly message?: string;
  /** The URL of a page that the policies name. */
  readonly runbook?: string;
  /** The pinned profile that does not know the rule yet, so that the rule denies nothing: `baseline@0.1`. */
  readonly newerThan?: string;
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
  /** The exception that accepts a finding with this key; undefined: with any key. `mesh` has the labels of namespaces. */
  exceptionFor(rule: Pick<Rule, "id">, subject: AnyObject, key: string | undefined, mesh: Mesh): Exception | undefined;
}

/** Every rule in its own mode, as if every namespace were protected. */
export const everyRule: Selection = { between: () => ({ of: settingByItself, everywhere: settingByItself }) };

/** An audit asks once for each object. */
const byThemselves = new WeakMap<Rule, RuleSetting>();

function settingByItself(rule: Rule): RuleSetting {
  let setting = byThemselves.get(rule);
  if (setting === undefined) {
    const { protected: mode } = modesOf(rule);
    setting = {
      mode: mode === "off" ? "audit" : mode,
      parameters: defaultsOf(rule),
      existing: "warn",
      onError: "deny",
      onUnknown: "warn",
      policy: ownDefault,
    };
    byThemselves.set(rule, setting);
  }
  return setting;
}

/** The source of the mode if no document sets one. */
const ownDefault = "the rule's default";

/** Selects settings by policies. `check` and `audit` have no requester. `now` decides which exceptions have expired. */
export function selectionOf(policies: Policies, requester?: Requester, now: Date = new Date()): PolicySelection {
  return {
    between: (before, after) => new PolicySettings(policies, requester, before, after),
    exceptionFor: ({ id }, subject, key, mesh) => {
      if (!policies.hasExceptions) return undefined;
      const namespace = namespaceOf(subject);
      const fingerprint = () =>
        key === undefined ? undefined : fingerprintOf({ rule: id, identity: identityOf(subject), key });
      const finding = { rule: id, namespace, object: objectPlaceOf(subject), fingerprint };
      return policies.exceptionFor(finding, labelsOf(namespace, mesh), now);
    },
  };
}

/** The namespace of an object; a Namespace belongs to itself. Empty for other cluster-scoped objects. */
export const namespaceOf = ({ kind, metadata }: AnyObject): string =>
  kind === "Namespace" ? metadata.name : metadata.namespace;

const noLabels: Labels = Object.freeze({});

/**
 * The settings of rules by the scopes that apply, kept as long as the policies are in force: in most evaluations the same
 * few scopes apply.
 */
class KnownSettings {
  readonly #byScopes = new Map<string, Map<Rule, RuleSetting>>();

  of(scopes: readonly Scope[]): Map<Rule, RuleSetting> {
    const key = scopes.length === 0 ? "" : scopes.map(({ rank }) => rank).join();
    let settings = this.#byScopes.get(key);
    if (settings !== undefined) return settings;
    if (this.#byScopes.size >= mostKnown) this.#byScopes.clear();
    this.#byScopes.set(key, (settings = new Map()));
    return settings;
  }
}
const mostKnown = 1_000;
const knownSettings = new WeakMap<Policies, KnownSettings>();

/** The scopes of one namespace in one mesh, and the settings of objects whose own properties do not matter. */
interface OfNamespace {
  readonly scopes: NamespaceScopes;
  readonly settings: Map<Rule, RuleSetting>;
}

/** The scopes that apply to an object, and the settings by them. */
interface OfScopes {
  readonly scopes: readonly Scope[];
  readonly settings: Map<Rule, RuleSetting>;
}
interface OfSubject {
  readonly namespace: string;
  readonly now: OfScopes;
  /** Absent if it is the same as `now`. */
  readonly old: OfScopes | undefined;
}

class PolicySettings implements Settings {
  readonly #policies: Policies;
  readonly #requester: Requester | undefined;
  readonly #before: Mesh;
  readonly #after: Mesh;
  readonly #known: KnownSettings;
  readonly #protected = new SmallMap<string, boolean>();
  readonly #subjects = new SmallMap<AnyObject, OfSubject>();
  readonly #namespaces = { before: new SmallMap<string, OfNamespace>(), after: new SmallMap<string, OfNamespace>() };

  constructor(policies: Policies, requester: Requester | undefined, before: Mesh, after: Mesh) {
    this.#policies = policies;
    this.#requester = requester;
    this.#before = before;
    this.#after = after;
    let known = knownSettings.get(policies);
    if (known === undefined) knownSettings.set(policies, (known = new KnownSettings()));
    this.#known = known;
  }

  /** Most rules ask for the same subject. */
  of(rule: Rule, subject: AnyObject): RuleSetting {
    let found = this.#subjects.get(subject);
    if (found === undefined) this.#subjects.set(subject, (found = this.#findScopes(subject)));
    const { now, old, namespace } = found;
    let setting = now.settings.get(rule) ?? this.#settingOf(rule, now);
    // The stricter one, so that adding or removing a label in the same change does not weaken anything.
    if (old !== undefined) setting = stricter(this.#settingOf(rule, old), setting);
    if (typeof rule.mode !== "string") setting = this.#inNamespaceOf(setting, rule.mode, namespace);
    // The parameter `request` differs for each request, and no cache has it.
    return this.#requester !== undefined && "request" in rule.parameters
      ? { ...setting, parameters: { ...setting.parameters, request: this.#requester } }
      : setting;
  }

  /** The setting as it is where no policy protects the namespace, if none does. */
  #inNamespaceOf(setting: RuleSetting, { elsewhere: mode }: ProtectionModes, namespace: string): RuleSetting {
    const isOwn = setting.policy === ownDefault;
    // A rule can be off in protected namespaces and not elsewhere.
    if ((setting.mode === "off" && !isOwn) || this.#isProtected(namespace)) return setting;
    if (mode !== "off" && !isOwn) return setting;
    let elsewhere = elsewheres.get(setting);
    if (elsewhere === undefined) elsewheres.set(setting, (elsewhere = elsewhereOf(setting, mode)));
    return elsewhere;
  }

  everywhere(rule: Rule): RuleSetting {
    const scopes = this.#policies.scopes.filter(
      ({ match, policy }) =>
        (policy.title === rule.definedBy || (!match.readsNamespace && !match.readsObject)) &&
        match.isBy(this.#requester),
    );
    return this.#settingOf(rule, { scopes, settings: this.#known.of(scopes) });
  }

  /** Whether a policy protects the namespace by name, or by its labels before or after the change. */
  #isProtected(namespace: string): boolean {
    let known = this.#protected.get(namespace);
    if (known === undefined) {
      const sides = this.#before === this.#after ? [this.#after] : [this.#after, this.#before];
      known =
        namespace !== "" &&
        (this.#policies.protectsByName(namespace) ||
          sides.some((mesh) => this.#policies.protectsByLabels(labelsOf(namespace, mesh))));
      this.#protected.set(namespace, known);
    }
    return known;
  }

  #findScopes(subject: AnyObject): OfSubject {
    const namespace = namespaceOf(subject);
    const now = this.#scopesIn("after", subject, namespace);
    if (!this.#policies.index.readsLabels || this.#before === this.#after) return { namespace, now, old: undefined };
    const there = this.#before.find(subject.kind, keyOf(subject));
    const old = there && this.#scopesIn("before", there, namespace);
    return { namespace, now, old: old?.settings === now.settings ? undefined : old };
  }

  #scopesIn(side: "before" | "after", subject: AnyObject, namespace: string): OfScopes {
    const ofNamespace = this.#inNamespace(side, namespace);
    const { index } = this.#policies;
    const scopes = index.forObject(ofNamespace.scopes, objectPlaceOf(subject), this.#requester);
    const settings = scopes === ofNamespace.scopes.certain ? ofNamespace.settings : this.#known.of(scopes);
    return { scopes, settings };
  }

  #inNamespace(side: "before" | "after", namespace: string): OfNamespace {
    let found = this.#namespaces[side].get(namespace);
    if (found === undefined) {
      const mesh = side === "before" ? this.#before : this.#after;
      const place: NamespacePlace = { namespace, namespaceLabels: labelsOf(namespace, mesh) };
      const scopes = this.#policies.index.inNamespace(place, this.#requester);
      this.#namespaces[side].set(namespace, (found = { scopes, settings: this.#known.of(scopes.certain) }));
    }
    return found;
  }

  #settingOf(rule: Rule, { scopes, settings }: OfScopes): RuleSetting {
    let setting = settings.get(rule);
    if (setting === undefined) settings.set(rule, (setting = this.#inScopes(rule, scopes)));
    return setting;
  }

  /** A rule that a policy defines applies only where that policy does. */
  #inScopes(rule: Rule, scopes: readonly Scope[]): RuleSetting {
    const setting = this.#resolve(rule, entriesFor(rule, scopes));
    const { definedBy } = rule;
    const applies = definedBy === undefined || scopes.some(({ policy }) => policy.title === definedBy);
    return applies ? setting : { ...setting, mode: "off" };
  }

  /** Takes each field from the strongest document that sets it, else from the rule. */
  #resolve(rule: Rule, entries: readonly RuleEntry[]): RuleSetting {
    const { id: _, tag: __, parameters: ___, ...set } = cascade(entries);
    const from = entries.find(({ value }) => value.mode !== undefined);
    const mode = set.mode ?? modesOf(rule).protected;
    const newerThan = mode === "deny" ? this.#olderPin(rule, from) : undefined;
    return {
      existing: "warn",
      onError: "deny",
      onUnknown: "warn",
      ...set,
      mode,
      policy: from?.title ?? ownDefault,
      parameters: this.#parametersOf(rule, entries),
      ...(newerThan === undefined ? {} : { newerThan }),
    };
  }

  /** The pinned profile that is older than the rule, unless a document of the user names the rule itself. */
  #olderPin(rule: Rule, from: RuleEntry | undefined): string | undefined {
    const isNamed = from !== undefined && from.selector === "id" && from.depth === 0 && isOfUser(from.scope.policy);
    if (isNamed) return undefined;
    const pin = from?.pin ?? this.#policies.pin;
    return pin !== undefined && isNewer(rule.since, pin.version) ? pin.title : undefined;
  }

  #parametersOf(rule: Rule, entries: readonly RuleEntry[]): RuleSetting["parameters"] {
    const set = entries.toReversed().map(({ value }) => value.parameters ?? {});
    const { protectedSelectors, protectedNames, hostOwners } = this.#policies;
    const filled = {
      ...("protectedLabels" in rule.parameters ? { protectedLabels: protectedSelectors.map(written) } : {}),
      ...("hostOwners" in rule.parameters ? { hostOwners } : {}),
      ...("protectedNames" in rule.parameters ? { protectedNames } : {}),
    } satisfies Partial<Record<FilledParameter, ParameterValue>>;
    return Object.assign({}, defaultsOf(rule), ...set, filled) as RuleSetting["parameters"];
  }
}

/** The settings in namespaces that nothing protects, by those in protected ones, which are kept as long as the policies. */
const elsewheres = new WeakMap<RuleSetting, RuleSetting>();

const elsewhereOf = (setting: RuleSetting, mode: Mode): RuleSetting =>
  mode === "off" ? { ...setting, mode, ifProtected: setting.mode } : { ...setting, mode };

/** A document contains only the fields that it sets, so other fields keep the value of a weaker document. */
const cascade = (entries: readonly RuleEntry[]): Partial<RuleOptions> =>
  Object.assign({}, ...entries.toReversed().map(({ value }) => value)) as Partial<RuleOptions>;

/** Whether a rule first appeared after a version; `0.2.1` is not newer than `0.2`. */
function isNewer(since: string, [major, minor]: readonly [number, number]): boolean {
  const [ofRule = 0, minorOfRule = 0] = since.split(".").map(Number);
  return ofRule > major || (ofRule === major && minorOfRule > minor);
}

/** Formats a label selector: `a=b,c=d`. */
const written = (selector: Labels): string =>
  Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

/** The labels of a namespace; empty if the view does not contain the Namespace. */
const labelsOf = (namespace: string, mesh: Mesh): Labels =>
  mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? noLabels;

const objectPlaceOf = ({ originKind, metadata }: AnyObject): ObjectPlace => ({
  kind: originKind,
  name: metadata.name,
  labels: metadata.labels,
});

// The list of modes starts with the strictest.
export const isAsStrict = (a: Mode, b: Mode): boolean => modes.indexOf(a) <= modes.indexOf(b);
export const milder = (a: Mode, b: Mode): Mode => (isAsStrict(a, b) ? b : a);

const stricter = (a: RuleSetting, b: RuleSetting): RuleSetting => (isAsStrict(b.mode, a.mode) ? b : a);
