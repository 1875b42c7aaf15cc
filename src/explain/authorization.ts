import { idOf } from "../kube/identity.ts";
import {
  type AuthorizationChoice,
  authorizationChoicesOfNamespace,
  authorizationChoicesOfService,
  authorizationChoicesOfWorkload,
  type AuthorizationOutcome,
} from "../mesh/authorization/choices.ts";
import {
  authorizationOf,
  type Coverage,
  type NamespaceAuthorization,
} from "../mesh/authorization/effective-authorization.ts";
import type { AuthorizationPolicy } from "../mesh/authorization/policies.ts";
import type { Enforcer } from "../mesh/authorization/rules.ts";
import { authorizationOfWorkload, defaultAnswer } from "../mesh/authorization/workload-authorization.ts";
import { isEnrolled } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** What the policies do to a workload without labels of its own, and every policy that speaks of the namespace. */
export function namespaceAuthorizationLine(namespace: Namespace, mesh: Mesh): ExplanationLine {
  const authorization = authorizationOf(namespace, mesh);
  const what = isEnrolled(namespace) === false ? "Authorization, for what will be captured" : "Authorization";
  return {
    key: "authorization",
    ...decision(authorization.ofLabels({}), authorization.enforcer, {
      what,
      who: "workloads that no policy selects are ",
    }),
    lines: authorizationChoicesOfNamespace(namespace, mesh).map(policyLine),
  };
}

/** The same for one workload: only what is for it. */
export function workloadAuthorizationLine(workload: Workload, namespace: Namespace, mesh: Mesh): ExplanationLine {
  const { enforcer, coverage, isEnforced, answer } = authorizationOfWorkload(
    workload,
    namespace,
    authorizationOf(namespace, mesh),
  );
  const lines = authorizationChoicesOfWorkload(workload, namespace, mesh).map(policyLine);
  if (!isEnforced)
    return {
      key: "authorization",
      text: "Authorization: open: nothing captures its pods, so that nothing enforces policies there",
      value: answer,
      lines,
    };
  return { key: "authorization", ...decision(coverage, enforcer, { what: "Authorization", who: "" }), lines };
}

/** What the waypoint of a Service enforces. */
export function waypointAuthorizationLine(service: string, namespace: Namespace, mesh: Mesh): ExplanationLine {
  const coverage = authorizationOf(namespace, mesh).ofService(service);
  return {
    key: "authorization.waypoint",
    ...decision(coverage, "proxy", { what: "Authorization at the waypoint", who: "" }),
    lines: authorizationChoicesOfService(service, namespace, mesh).map(policyLine),
  };
}

/** In a few words, for a line about something else. */
export function shownCoverage(workload: Workload, namespace: Namespace, authorization: NamespaceAuthorization): string {
  const { answer } = authorizationOfWorkload(workload, namespace, authorization);
  return answer === "open" ? "open" : "denied by default";
}

function decision(
  coverage: Coverage,
  enforcer: Enforcer,
  { what, who }: { readonly what: string; readonly who: string },
): Pick<ExplanationLine, "text" | "value" | "objects"> {
  const { sealedBy, closedBy, openedBy } = coverage;
  const start = `${what} (${enforcer === "ztunnel" ? "ztunnel enforces" : "proxies enforce"} it): ${who}`;
  const value = defaultAnswer(coverage);
  if (value === "sealed" && sealedBy !== undefined)
    return { text: `${start}closed: ${idOf(sealedBy)} denies everything`, value, objects: [sealedBy] };
  if (value === "denied-by-default" && closedBy !== undefined)
    return {
      text: `${start}denied by default, by ${idOf(closedBy)}: what no ALLOW names is refused`,
      value,
      objects: [closedBy],
    };
  if (openedBy !== undefined)
    return { text: `${start}open: ${idOf(openedBy)} allows everyone`, value, objects: [openedBy] };
  return { text: `${start}open: no ALLOW policy is in force, so that nothing is denied by default`, value };
}

function policyLine(choice: AuthorizationChoice): ExplanationLine {
  const { policy, action, outcome } = choice;
  const name = `${action} ${idOf(policy)} (${scope(choice)})`;
  const because = reasons[outcome];
  const text = because === undefined ? `${name}: ${effect(choice)}` : `${name} does not count: ${because}`;
  return objectLine("authorization.policy", policy, text, {
    value: because === undefined ? action : "disarmed",
    counts: outcome === "counts",
    lines: ztunnelLines(choice),
  });
}

/** Why a policy that looks as if it were in force is not; undefined: its line says what it does, or would. */
const reasons: Readonly<Record<AuthorizationOutcome, string | undefined>> = {
  counts: undefined,
  "nothing-captures": undefined,
  "not-read": "no control plane serves its istio.io/rev",
  "dry-run": "it is a dry run (annotation istio.io/dry-run)",
  "audit-only": "AUDIT only records",
  "unknown-action": "Istio knows no such action",
  "custom-at-ztunnel": "ztunnel knows no CUSTOM",
  "empty-selector-at-ztunnel": "ztunnel takes an empty selector for one that selects nothing",
};

/** The rules that ztunnel takes otherwise than they are written, because it sees no HTTP. */
function ztunnelLines({ atZtunnel }: AuthorizationChoice): readonly ExplanationLine[] {
  const outcomes = {
    dropped: "lets nobody in",
    never: "never fires",
    part: "denies more than it says",
  } as const;
  return atZtunnel.map(({ index, outcome, unseen }) => ({
    key: "authorization.rule",
    of: `rules[${index}]`,
    text: `rules[${index}] ${outcomes[outcome]}: ztunnel does not see ${unseen.join(", ")}`,
    value: outcome,
  }));
}

function scope({ targets, labels, isMeshWide }: AuthorizationChoice): string {
  if (targets.length > 0) return `at ${targets.map(({ kind, name }) => `${kind} ${name}`).join(", ")}`;
  const shown = formatLabels(labels);
  if (shown !== "") return `workloads with ${shown}${isMeshWide ? " in every namespace" : ""}`;
  return isMeshWide ? "the whole mesh" : "the whole namespace";
}

function effect({ policy, action, reach }: AuthorizationChoice): string {
  if (action === "CUSTOM") return `asks ${policy.spec.provider?.name || "a provider that it does not name"}`;
  const verb = action === "ALLOW" ? "allows" : "denies";
  if (reach === "nobody") return `${verb} nobody: it has no rules`;
  if (reach === "everyone") return `${verb} everyone`;
  return reach === "authenticated" ? `${verb} every caller that has an identity` : `${verb} ${callers(policy)}`;
}

const mostCallers = 4;

/** Whom the rules name, in short. */
function callers({ spec }: AuthorizationPolicy): string {
  const named = new Set(
    spec.rules.flatMap(({ from }) =>
      from.flatMap(({ source }) => [
        ...source.principals,
        ...source.serviceAccounts.map((account) => `service account ${account}`),
        ...source.namespaces.map((namespace) => `namespace ${namespace}`),
        ...source.ipBlocks,
        ...source.requestPrincipals.map((principal) => `token ${principal}`),
      ]),
    ),
  );
  if (named.size === 0) return "some requests";
  const more = named.size - mostCallers;
  return `${[...named].slice(0, mostCallers).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
