import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { actionOf, attachesToLabels, type AuthorizationPolicy, reachOf } from "./policies.ts";
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
const every = (shares: readonly Share[]): Share => Math.min(all, ...shares) as Share;
const any = (shares: readonly Share[]): Share => Math.max(none, ...shares) as Share;
const whether = (is: boolean): Share => (is ? all : none);

interface Judged extends Caller {
  readonly principals: readonly string[];
  /** Service accounts without a namespace belong to the policy's namespace. */
  readonly policyNamespace: string;
}

/**
 * How ztunnel treats requests of a caller to a workload with these labels (zt:src/rbac.rs; the policies are those of
 * its namespace and the mesh-wide ones). `refused`: all are denied; `open`: no policy distinguishes callers of the mesh,
 * so that all of them are allowed.
 */
export function answerTo(
  caller: Caller,
  labels: Readonly<Record<string, string>>,
  policies: readonly AuthorizationPolicy[],
  settings: MeshSettings,
): "refused" | "let in" | "open" {
  const attached = policies.filter((policy) => attachesToLabels(policy, labels, "ztunnel"));
  const matched = (policy: AuthorizationPolicy) =>
    any(policy.spec.rules.map((rule) => shareOf(rule, judged(caller, policy, settings), actionOf(policy))));
  if (attached.some((policy) => actionOf(policy) === "DENY" && matched(policy) === all)) return "refused";
  const allowing = attached.filter((policy) => actionOf(policy) === "ALLOW");
  if (allowing.length === 0 || allowing.some((policy) => reachOf(policy, "ztunnel", settings) !== "some"))
    return "open";
  return allowing.some((policy) => matched(policy) !== none) ? "let in" : "refused";
}

/** `cluster.local` stands for the trust domain of any name. */
function judged(caller: Caller, { metadata }: AuthorizationPolicy, settings: MeshSettings): Judged {
  const domains = new Set([settings.trustDomain, "cluster.local", ...settings.trustDomainAliases]);
  const principals = [...domains].map((trustDomain) => formatCaller(caller, { ...settings, trustDomain }));
  return { ...caller, principals, policyNamespace: metadata.namespace };
}

function shareOf(rule: Rule, caller: Judged, action: string): Share {
  const left = atZtunnel(rule, action);
  if (left === "dropped" || left === "never") return none;
  return every([
    rule.from.length === 0 ? all : any(rule.from.map(({ source }) => shareOfSource(source, caller))),
    rule.to.length === 0 ? all : some,
    ...rule.when.map((condition) => shareOfCondition(condition, caller)),
  ]);
}

/** ztunnel skips a source without fields that it supports. */
function shareOfSource(source: Source, caller: Judged): Share {
  const shares = [
    listed(source.principals, source.notPrincipals, (pattern) => caller.principals.some((one) => fits(pattern, one))),
    listed(source.namespaces, source.notNamespaces, (pattern) => fits(pattern, caller.namespace)),
    listed(source.serviceAccounts, source.notServiceAccounts, (account) => isAccount(account, caller)),
    source.ipBlocks.length + source.notIpBlocks.length > 0 ? some : undefined,
  ].filter((share) => share !== undefined);
  return shares.length === 0 ? none : every(shares);
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
    return listed(values, notValues, (pattern) => caller.principals.some((one) => fits(pattern, one))) ?? none;
  if (key === "source.namespace")
    return listed(values, notValues, (pattern) => fits(pattern, caller.namespace)) ?? none;
  return values.length + notValues.length > 0 ? some : none;
}

/** Compares exactly, or with a `*` at one end (ambient/authorization.go stringToMatch). */
function fits(pattern: string, value: string): boolean {
  if (pattern.startsWith("*")) return value.endsWith(pattern.slice(1));
  return pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : pattern === value;
}
