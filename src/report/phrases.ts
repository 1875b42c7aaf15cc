import { listed } from "../text/phrases.ts";
import {
  type AcceptedFinding,
  type Basis,
  type Report,
  type ReportedFinding,
  type ReportedObject,
  withoutObjects,
} from "./report.ts";

// The sentences that several formats share.

/** `VirtualService payments/api`. */
export const shownObject = ({ kind, namespace, name }: ReportedObject): string =>
  `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;

/** Why a finding that would deny does not; undefined: it denies, or never would. */
export function loweredBecause({ mode, lowered }: ReportedFinding): string | undefined {
  const last = lowered.findLast(({ from }) => from === "deny");
  return last === undefined ? undefined : `only ${mode === "warn" ? "a warning" : "recorded"} because ${last.reason}`;
}

/** What a reader should know of a finding besides. */
export const additionsOf = ({ note, runbook, firstSeen, renderedFrom }: ReportedFinding): readonly string[] => [
  ...(renderedFrom === undefined ? [] : [`Rendered from: ${renderedFrom}`]),
  ...(firstSeen === undefined ? [] : [`First seen: ${firstSeen}`]),
  ...(note === undefined ? [] : [`Note: ${note}`]),
  ...(runbook === undefined ? [] : [`Runbook: ${runbook}`]),
];

/** `MeshwardException payments/legacy accepts the finding on VirtualService payments/api until 2027-01-01: a reason`. */
export function acceptance({ exception, object }: AcceptedFinding): string {
  const { namespace, name, expiresAt, reason } = exception;
  return `MeshwardException ${namespace}/${name} accepts the finding on ${shownObject(object)} until ${expiresAt}: ${reason}`;
}

/** `3 objects checked (2 VirtualService, 1 Service): 1 deny, 0 warn`. */
export function countsOf({ summary, errors, basis }: Report): string {
  const { objects, deny, warn, audit } = summary;
  const counts = [`${deny} deny`, `${warn} warn`, ...(audit > 0 ? [`${audit} audit`] : [])].join(", ");
  const unread = errors.length > 0 ? `; ${plural(errors.length, "error")}` : "";
  return `${plural(objects, "object")} checked${byKind(basis)}: ${counts}${unread}`;
}

function byKind({ objects }: Basis): string {
  const counts = Object.entries(objects).map(([kind, count]) => `${count} ${kind}`);
  return counts.length === 0 ? "" : ` (${counts.join(", ")})`;
}

/** `profile baseline, 2 policies; 1 protected namespace: payments`. */
export function policiesOf({ profile, settingsFile, policies, exceptions, protectedNamespaces }: Basis): string {
  const names = protectedNamespaces.slice(0, mostNames).join(", ");
  const more = protectedNamespaces.length > mostNames ? ` and ${protectedNamespaces.length - mostNames} more` : "";
  const protection =
    protectedNamespaces.length === 0
      ? "no namespace is protected"
      : `${plural(protectedNamespaces.length, "protected namespace")}: ${names}${more}`;
  const documents = [
    policies.length === 0 ? "no policies" : policies.length === 1 ? "1 policy" : `${policies.length} policies`,
    ...(exceptions > 0 ? [plural(exceptions, "exception")] : []),
  ];
  const settings = settingsFile === undefined ? "" : ` (settings of ${settingsFile})`;
  return `profile ${profile}, ${documents.join(", ")}${settings}; ${protection}`;
}
const mostNames = 15;

/**
 * `6 rules had nothing to check (only for protected namespaces): first-rule, second-rule and 4 more`. Rules without an object
 * of their kind are only counted; the JSON report has all.
 */
export function idleOf({ idle }: Basis): readonly string[] {
  const byReason = Map.groupBy(idle, ({ reason }) => reason);
  return [...byReason].map(([reason, members]) => {
    const ids = reason === withoutObjects ? "" : `: ${firstRules(members)}`;
    return `${plural(members.length, "rule")} had nothing to check (${reason})${ids}`;
  });
}

/** What a report is limited to; empty if it has all findings. */
export function filterOf({ filter }: Basis): readonly string[] {
  if (filter === undefined) return [];
  const { namespaces, rules, tags, minMode, hidden } = filter;
  const limits = [
    ...(namespaces.length > 0 ? [`in namespace ${listed(namespaces, "or")}`] : []),
    ...(rules.length > 0 ? [`of rule ${listed(rules, "or")}`] : []),
    ...(tags.length > 0 ? [`with tag ${listed(tags, "or")}`] : []),
    ...(minMode === "audit" ? [] : [minMode === "warn" ? "that warn or deny" : "that deny"]),
  ];
  return [`shown are only findings ${limits.join(", ")}; ${plural(hidden, "other finding")} not shown`];
}

/** Skipped rules, a text for each reason: `first-rule, second-rule and 3 more (needs ...)`. The JSON report has all. */
export function skippedByReason({ skipped }: Pick<Report, "skipped">): readonly string[] {
  const byReason = Map.groupBy(skipped, ({ reason }) => reason);
  return [...byReason].map(([reason, members]) => `${firstRules(members)} (${reason})`);
}

/** Those of policies come first, because their authors look for them. */
function firstRules(members: readonly { readonly rule: string }[]): string {
  const isBuiltIn = (rule: string) => Number(!rule.includes("/"));
  const rules = members.map(({ rule }) => rule).sort((a, b) => isBuiltIn(a) - isBuiltIn(b));
  const more = rules.length > mostRules + 1 ? rules.splice(mostRules).length : 0;
  return `${rules.join(", ")}${more === 0 ? "" : ` and ${more} more`}`;
}
const mostRules = 5;

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;
