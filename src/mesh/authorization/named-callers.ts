import type { AnyObject } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import type { AuthorizationPolicy } from "./policies.ts";
import { trustDomainsOf } from "./requests/identities.ts";

type RuleOf = AuthorizationPolicy["spec"]["rules"][number];

/** A caller of this mesh that a rule names: a namespace, several by a pattern, or a service account of one. */
export interface NamedCaller {
  /** A name, or a part of one with `*` at one end. */
  readonly namespace: string;
  /** Undefined: any one of the namespace. */
  readonly account: string | undefined;
  /** Whether the namespace is that of the policy, because the value names none. */
  readonly isHere: boolean;
  /** The path of the value. */
  readonly at: readonly (string | number)[];
}

/** What a value names; undefined: nothing of this mesh, or all of it. */
type Naming = (value: string, policyNamespace: string, settings: MeshSettings) => Omit<NamedCaller, "at"> | undefined;

const isName = (text: string | undefined): text is string => text !== undefined && text !== "" && !text.includes("*");

/**
 * A name with `*` at one end. `*a` and `*sa` are for every namespace: proxies compare `.../ns/.*sa/.*` with the whole identity, in
 * which `/sa/` follows the namespace (Istio pilot/pkg/security/authz/model/generator.go srcNamespaceGenerator).
 */
const isPattern = (text: string | undefined): text is string =>
  text !== undefined && /^(?:\*[^*/]+|[^*/]+\*)$/.test(text) && text !== "*a" && text !== "*sa";

const byPrefix = (text: string | undefined): ReturnType<Naming> =>
  isPattern(text) && text.endsWith("*") ? { namespace: text, account: undefined, isHere: false } : undefined;

const byName: Naming = (namespace) =>
  isName(namespace) || isPattern(namespace) ? { namespace, account: undefined, isHere: false } : undefined;
/** Of an identity of this mesh. Namespaces of other trust domains are in other meshes, which are not known. */
const byIdentity: Naming = (principal, _, settings) => {
  const [trustDomain = "", ns, namespace, ...rest] = principal.split("/");
  if (ns !== "ns" || !isOwn(trustDomain, settings)) return undefined;
  if (rest.length > 0) return byAccountOf(namespace, rest);
  // What begins with a part of the name of a namespace; with a star before it as well, both are compared as they stand.
  return trustDomain === "*" ? undefined : byPrefix(namespace);
};
const byAccountOf = (namespace: string | undefined, [sa, account, ...more]: readonly string[]): ReturnType<Naming> =>
  sa === "sa" && isName(namespace) && account && more.length === 0
    ? { namespace, account: isName(account) ? account : undefined, isHere: false }
    : undefined;
const isOwn = (trustDomain: string, settings: MeshSettings): boolean =>
  trustDomain === "*" || trustDomain === "cluster.local" || trustDomainsOf(settings).includes(trustDomain);
const byServiceAccount: Naming = (value, policyNamespace) => {
  const [first, account, ...more] = value.split("/");
  if (more.length > 0 || !isName(first)) return undefined;
  if (account === undefined) return { namespace: policyNamespace, account: first, isHere: true };
  return { namespace: first, account: isName(account) ? account : undefined, isHere: false };
};

const ofSources = [
  ["namespaces", byName],
  ["notNamespaces", byName],
  ["principals", byIdentity],
  ["notPrincipals", byIdentity],
  ["serviceAccounts", byServiceAccount],
  ["notServiceAccounts", byServiceAccount],
] as const;
const ofConditions: ReadonlyMap<string, Naming> = new Map([
  ["source.namespace", byName],
  ["source.principal", byIdentity],
  ["source.serviceAccount", byServiceAccount],
]);

interface Asked {
  readonly policy: AuthorizationPolicy;
  readonly settings: MeshSettings;
  readonly callers: readonly NamedCaller[];
}
/** The last policy that was asked for: its indexes and several rules ask one after the other, and it can have very many rules. */
let last: Asked | undefined;

/** The callers in the rules of a policy, if a control plane reads it. */
export function callersNamed(policy: AuthorizationPolicy, settings: MeshSettings): readonly NamedCaller[] {
  if (!isServed(policy, settings)) return [];
  if (last?.policy !== policy || last.settings !== settings)
    last = { policy, settings, callers: new Callers(policy, settings).all() };
  return last.callers;
}

class Callers {
  readonly #policy: AuthorizationPolicy;
  readonly #settings: MeshSettings;
  readonly #found: NamedCaller[] = [];

  constructor(policy: AuthorizationPolicy, settings: MeshSettings) {
    this.#policy = policy;
    this.#settings = settings;
  }

  all(): readonly NamedCaller[] {
    const { rules } = this.#policy.spec;
    for (let i = 0; i < rules.length; i++) this.#addRule(rules[i] as RuleOf, ["spec", "rules", i]);
    return this.#found;
  }

  #addRule({ from, when }: RuleOf, at: NamedCaller["at"]): void {
    for (const [j, { source }] of from.entries())
      for (const [field, naming] of ofSources)
        if (source[field].length > 0) this.#addValues(source[field], naming, [...at, "from", j, "source", field]);
    for (const [j, condition] of when.entries()) {
      const naming = ofConditions.get(condition.key);
      if (naming === undefined) continue;
      this.#addValues(condition.values, naming, [...at, "when", j, "values"]);
      this.#addValues(condition.notValues, naming, [...at, "when", j, "notValues"]);
    }
  }

  #addValues(values: readonly string[], naming: Naming, at: NamedCaller["at"]): void {
    for (let k = 0; k < values.length; k++) {
      const named = naming(values[k] as string, this.#policy.metadata.namespace, this.#settings);
      if (named !== undefined) this.#found.push({ ...named, at: [...at, k] });
    }
  }
}

const identityConditions = new Set(["source.principal", "source.trustDomain"]);
/** Whether an object is a policy whose rules say whom they mean by an identity, which contains the trust domain. */
export const isNamedByTrustDomain = (object: AnyObject): boolean =>
  object.kind === "AuthorizationPolicy" &&
  object.spec.rules.some(
    ({ from, when }) =>
      when.some(({ key }) => identityConditions.has(key)) ||
      from.some(({ source }) =>
        [source.principals, source.notPrincipals, source.trustDomains, source.notTrustDomains].some(
          (values) => values.length > 0,
        ),
      ),
  );

/** A name, or the first or the last letter with the star: the namespaces of a pattern are some of those with that letter. */
function keyOfNamed(namespace: string): string {
  if (namespace.startsWith("*")) return `*${namespace.at(-1)}`;
  return namespace.endsWith("*") ? `${namespace[0]}*` : namespace;
}

/** A policy, and the namespaces that its rules name or whose names begin or end as a pattern in them does. */
export const namespacesNamedByPolicy = relation(
  "namespacesNamedByPolicy",
  index(
    "AuthorizationPolicy",
    (policy, settings) =>
      new Set(callersNamed(policy, settings).flatMap(({ namespace, isHere }) => (isHere ? [] : keyOfNamed(namespace)))),
  ),
  index("Namespace", ({ metadata: { name } }) => [name, `${name[0]}*`, `*${name.at(-1)}`]),
);

const isPrefix = (pattern: string): boolean => pattern.endsWith("*");
const backwards = (text: string): string => [...text].reverse().join("");

/** The names of namespaces with a letter at one end, sorted; those with that letter at the end are written backwards. */
const namesByLetter = fact("namesByLetter", "key", [namespacesNamedByPolicy], (key, mesh): readonly string[] =>
  mesh
    .under(namespacesNamedByPolicy, [key])
    .map(({ metadata: { name } }) => (isPrefix(key) ? name : backwards(name)))
    .sort(),
);

/** What {@link isNamespaceThere} reads. */
export const namespaceReads = [namespacesNamedByPolicy, namesByLetter] as const;

/**
 * Whether there is a namespace of a name, or one that a pattern matches, that a policy names. Many policies of a mesh have the same
 * pattern, and a change of one namespace concerns all of them.
 */
export function isNamespaceThere(named: string, mesh: MeshView<(typeof namespaceReads)[number]>): boolean {
  if (!named.includes("*")) return mesh.hasUnder(namespacesNamedByPolicy, named);
  const start = isPrefix(named) ? named.slice(0, -1) : backwards(named.slice(1));
  const names = mesh.get(namesByLetter, keyOfNamed(named));
  return names[firstFrom(start, names)]?.startsWith(start) === true;
}

/** The place of the first of sorted texts that is not before this one. */
function firstFrom(text: string, sorted: readonly string[]): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as string) < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
