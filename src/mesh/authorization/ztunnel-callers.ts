import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { actionOf, type AuthorizationPolicy } from "./policies.ts";
import { isSameForMesh } from "./reach.ts";
import type { SelectorGroup } from "../objects/selector-groups.ts";
import type { PolicySet } from "./policy-set.ts";
import { atZtunnel } from "./ztunnel-rules.ts";

type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];
type Source = Rule["from"][number]["source"];
type Condition = Rule["when"][number];

/** A caller: a service account of the mesh. */
export interface Caller {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export const formatCaller = ({ namespace, serviceAccount }: Caller, { trustDomain }: MeshSettings): string =>
  `${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;

/** How many of a caller's requests match; `some`: that depends on the port or the address. */
type Share = 0 | 1 | 2;
const [none, some, all] = [0, 1, 2] as const;
const whether = (is: boolean): Share => (is ? all : none);

function every<T>(values: readonly T[], shareOf: (value: T) => Share): Share {
  let least: Share = all;
  for (const value of values) {
    const share = shareOf(value);
    if (share < least) least = share;
    if (least === none) break;
  }
  return least;
}
function any<T>(values: readonly T[], shareOf: (value: T) => Share): Share {
  let most: Share = none;
  for (const value of values) {
    const share = shareOf(value);
    if (share > most) most = share;
    if (most === all) break;
  }
  return most;
}

interface Judged extends Caller {
  /** ztunnel compares it as it is: only proxies know aliases of trust domains (zt:src/rbac.rs matches_principal). */
  readonly principal: string;
  /** Service accounts without a namespace belong to the policy's namespace. */
  readonly policyNamespace: string;
}

/**
 * How ztunnel treats requests of a caller. `refused`: all are denied; `open`: no policy distinguishes callers of the
 * mesh, so that all of them are allowed.
 */
export type Answer = "refused" | "let in" | "open";

/** The effect of some of the policies of a workload on one caller. */
interface Saying {
  readonly denies: boolean;
  readonly allowsSome: boolean;
  /** Some ALLOW policy does not distinguish callers. */
  readonly isOpen: boolean;
  readonly letsIn: boolean;
}

/** The policies that ztunnel enforces on a workload, in lists that workloads share. */
export type Attached = readonly (readonly AuthorizationPolicy[])[];

/**
 * How ztunnel treats requests to workloads of a namespace (zt:src/rbac.rs; the policies are those of the namespace and
 * the mesh-wide ones). Each policy is evaluated once for each caller.
 */
export class ZtunnelAnswers {
  readonly #sets: readonly PolicySet[];
  readonly #settings: MeshSettings;
  readonly #attached: Interned = new Map();
  readonly #known = new Map<string, Map<readonly AuthorizationPolicy[], Saying>>();

  constructor(sets: readonly PolicySet[], settings: MeshSettings) {
    this.#sets = sets;
    this.#settings = settings;
  }

  /** The same value for all labels to which the same policies apply. */
  attachedTo(labels: Readonly<Record<string, string>>): Attached {
    const groups = this.#sets.map((set) => set.groups.selecting(labels));
    const [first = noGroups, second = noGroups] = groups;
    const known = this.#attached.get(first) ?? new Map<Groups, Attached>();
    this.#attached.set(first, known);
    let found = known.get(second);
    if (found === undefined) {
      const wide = this.#sets.map((set) => set.wideAtZtunnel);
      known.set(second, (found = [...wide, ...groups.flat().map(({ members }) => members)]));
    }
    return found;
  }

  /** To a workload with these policies. */
  to(caller: Caller, attached: Attached): Answer {
    let [allowsSome, isOpen, letsIn] = [false, false, false];
    for (const policies of attached) {
      if (policies.length === 0) continue;
      const said = this.#saidBy(policies, caller);
      if (said.denies) return "refused";
      allowsSome ||= said.allowsSome;
      isOpen ||= said.isOpen;
      letsIn ||= said.letsIn;
    }
    if (!allowsSome || isOpen) return "open";
    return letsIn ? "let in" : "refused";
  }

  #saidBy(policies: readonly AuthorizationPolicy[], caller: Caller): Saying {
    const name = formatCaller(caller, this.#settings);
    let known = this.#known.get(name);
    if (known === undefined) this.#known.set(name, (known = new Map()));
    let said = known.get(policies);
    if (said === undefined) known.set(policies, (said = sayingOf(policies, caller, this.#settings)));
    return said;
  }
}

type Groups = readonly SelectorGroup<AuthorizationPolicy>[];
type Interned = Map<Groups, Map<Groups, Attached>>;
const noGroups: Groups = [];

function sayingOf(policies: readonly AuthorizationPolicy[], caller: Caller, settings: MeshSettings): Saying {
  const principal = formatCaller(caller, settings);
  const matched = ({ metadata, spec }: AuthorizationPolicy, action: string): Share => {
    const judged = { ...caller, principal, policyNamespace: metadata.namespace };
    return any(spec.rules, (rule) => shareOf(rule, judged, action));
  };
  const [denying, allowing] = [policies.filter(isDeny), policies.filter((policy) => !isDeny(policy))];
  const isOpen = allowing.some((policy) => isSameForMesh(policy, "ztunnel", settings));
  return {
    denies: denying.some((policy) => matched(policy, "DENY") === all),
    allowsSome: allowing.length > 0,
    isOpen,
    letsIn: isOpen || allowing.some((policy) => matched(policy, "ALLOW") !== none),
  };
}

/** Whether a rule of a DENY policy matches no request of a caller at ztunnel. */
export function passesDenyRule(rule: Rule, caller: Caller, policyNamespace: string, settings: MeshSettings): boolean {
  const judged = { ...caller, principal: formatCaller(caller, settings), policyNamespace };
  return shareOf(rule, judged, "DENY") === none;
}

const isDeny = (policy: AuthorizationPolicy): boolean => actionOf(policy) === "DENY";

function shareOf(rule: Rule, caller: Judged, action: string): Share {
  const left = atZtunnel(rule, action);
  if (left === "dropped" || left === "never") return none;
  const callers = rule.from.length === 0 ? all : any(rule.from, ({ source }) => shareOfSource(source, caller));
  const operations = rule.to.length === 0 ? all : some;
  const conditions = every(rule.when, (condition) => shareOfCondition(condition, caller));
  return every([callers, operations, conditions], (share) => share);
}

/** ztunnel skips a source without fields that it supports. */
function shareOfSource(source: Source, caller: Judged): Share {
  const shares = [
    listed(source.principals, source.notPrincipals, (pattern) => fits(pattern, caller.principal)),
    listed(source.namespaces, source.notNamespaces, (pattern) => fits(pattern, caller.namespace)),
    listed(source.serviceAccounts, source.notServiceAccounts, (account) => isAccount(account, caller)),
    source.ipBlocks.length + source.notIpBlocks.length > 0 ? some : undefined,
  ].filter((share) => share !== undefined);
  return shares.length === 0 ? none : every(shares, (share) => share);
}

/** Undefined: both lists are empty. */
function listed(
  values: readonly string[],
  notValues: readonly string[],
  isMeant: (value: string) => boolean,
): Share | undefined {
  if (values.length + notValues.length === 0) return undefined;
  return whether((values.length === 0 || values.some(isMeant)) && !notValues.some(isMeant));
}

function isAccount(account: string, { namespace, serviceAccount, policyNamespace }: Judged): boolean {
  const slash = account.indexOf("/");
  const where = slash < 0 ? policyNamespace : account.slice(0, slash);
  return where === namespace && account.slice(slash + 1) === serviceAccount;
}

function shareOfCondition({ key, values, notValues }: Condition, caller: Judged): Share {
  if (key === "source.principal")
    return listed(values, notValues, (pattern) => fits(pattern, caller.principal)) ?? none;
  if (key === "source.namespace")
    return listed(values, notValues, (pattern) => fits(pattern, caller.namespace)) ?? none;
  return values.length + notValues.length > 0 ? some : none;
}

/** Compares exactly, or with a `*` at one end (ambient/authorization.go stringToMatch). */
function fits(pattern: string, value: string): boolean {
  if (pattern.startsWith("*")) return value.endsWith(pattern.slice(1));
  return pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : pattern === value;
}
