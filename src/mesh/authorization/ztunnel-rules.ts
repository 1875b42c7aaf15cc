import type { ObjectOf } from "../../kube/object.ts";
import {
  asksForHttp,
  asksForTrustDomain,
  httpFields,
  httpSources,
  trustDomainFields,
  ztunnelConditions,
} from "./rules.ts";

type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];
type Source = Rule["from"][number]["source"];
type Operation = Rule["to"][number]["operation"];

/**
 * How ztunnel interprets a rule.
 * - `whole`: all attributes are supported.
 * - `dropped`: an ALLOW rule with HTTP attributes is dropped and allows nobody; one with sources of which nothing is left, too.
 * - `wider`: an ALLOW rule loses the trust domains of its sources, and allows callers of all of them.
 * - `never`: a DENY rule with a part of only HTTP attributes never matches.
 * - `part`: a DENY rule is reduced to its ports and identities.
 */
export type ZtunnelRule = "whole" | "dropped" | "wider" | "never" | "part";

/**
 * Istio pilot/pkg/serviceregistry/ambient/authorization.go handleRule: a DENY rule keeps the attributes that ztunnel
 * supports, an ALLOW rule loses trust domains, and ztunnel skips a match that becomes empty. If all matches of one part (`from`, `to`, a condition) are
 * empty, the rule does not match (hasEffectiveRules).
 */
export function atZtunnel(rule: Rule, action: string): ZtunnelRule {
  if (!needsMoreThanZtunnel(rule)) return "whole";
  if (action === "ALLOW") return asksForHttp(rule) || seesNoSource(rule) ? "dropped" : "wider";
  const isDead =
    (rule.to.length > 0 && rule.to.every(({ operation }) => !seesOperation(operation))) ||
    seesNoSource(rule) ||
    rule.when.some(({ key }) => !ztunnelConditions.has(key));
  return isDead ? "never" : "part";
}

/** Whether a rule has attributes that ztunnel does not know. */
export const needsMoreThanZtunnel = (rule: Rule): boolean => asksForHttp(rule) || asksForTrustDomain(rule);

const isPort = (port: string): boolean => /^\d+$/.test(port) && Number(port) <= 65535;
const seesOperation = ({ ports, notPorts }: Operation): boolean => ports.some(isPort) || notPorts.some(isPort);

const seenSources = [
  "principals",
  "notPrincipals",
  "namespaces",
  "notNamespaces",
  "serviceAccounts",
  "notServiceAccounts",
  "ipBlocks",
  "notIpBlocks",
] as const;
const seesSource = (source: Source): boolean => seenSources.some((field) => source[field].length > 0);

const seesNoSource = ({ from }: Rule): boolean => from.length > 0 && from.every(({ source }) => !seesSource(source));

const unseenSources = [...httpSources, ...trustDomainFields];

/** The names of a rule's attributes that ztunnel does not support: `methods`, `request.headers[x-user]`. */
export function unseenAttributesOf({ from, to, when }: Rule): readonly string[] {
  const ofSources = from.flatMap(({ source }) => unseenSources.filter((field) => source[field].length > 0));
  const ofOperations = to.flatMap(({ operation }) => httpFields.filter((field) => operation[field].length > 0));
  const ofConditions = when.flatMap(({ key }) => (ztunnelConditions.has(key) ? [] : [key]));
  return [...new Set([...ofOperations, ...ofSources, ...ofConditions])];
}
