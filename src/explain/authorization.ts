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
  openedBy,
} from "../mesh/authorization/effective-authorization.ts";
import type { AuthorizationPolicy } from "../mesh/authorization/policies.ts";
import type { Enforcer } from "../mesh/authorization/rules.ts";
import { authorizationOfWorkload, defaultAnswer } from "../mesh/authorization/workload-authorization.ts";
import { isEnrolled } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import type { WaypointBinding } from "../mesh/waypoints/bindings.ts";
import { coverageAt, waypointAt } from "../mesh/waypoints/shared-waypoints.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** The effect of the policies on a workload without labels, and every policy for the namespace. */
export function namespaceAuthorizationLine(namespace: Namespace, mesh: Mesh): ExplanationLine {
  const authorization = authorizationOf(namespace, mesh);
  const what =
    isEnrolled(namespace, mesh.settings) === false ? "Authorization, for future captured workloads" : "Authorization";
  return {
    key: "authorization",
    ...decision(authorization.ofLabels({}), authorization.enforcer, {
      what,
      who: "workloads that no policy selects are ",
    }),
    lines: authorizationChoicesOfNamespace(namespace, mesh).map(policyLine),
  };
}

/** The same for one workload, with only the policies that apply to it. */
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
      text: "Authorization: open: its pods are not captured, so no policy is enforced there",
      value: answer,
      lines,
    };
  return { key: "authorization", ...decision(coverage, enforcer, { what: "Authorization", who: "" }), lines };
}

/** The policies that a waypoint enforces for a Service: those of the Service's namespace, of its own, and of the root namespace. */
export function waypointAuthorizationLine(
  service: string,
  namespace: Namespace,
  binding: WaypointBinding,
  mesh: Mesh,
): ExplanationLine | undefined {
  const at = waypointAt(binding, namespace, mesh);
  if (at === undefined) return undefined;
  return {
    key: "authorization.waypoint",
    ...decision(coverageAt({ kind: "Service", metadata: { name: service } }, namespace, at, mesh), "proxy", {
      what: "Authorization at the waypoint",
      who: "",
    }),
    lines: authorizationChoicesOfService(service, namespace, at, mesh).map(policyLine),
  };
}

/** A summary in a few words, for a line about another object. */
export function shownCoverage(workload: Workload, namespace: Namespace, authorization: NamespaceAuthorization): string {
  const { answer } = authorizationOfWorkload(workload, namespace, authorization);
  return answer === "open" ? "open" : "denied by default";
}

function decision(
  coverage: Coverage,
  enforcer: Enforcer,
  { what, who }: { readonly what: string; readonly who: string },
): Pick<ExplanationLine, "text" | "value" | "objects"> {
  const start = `${what} (${enforcer === "ztunnel" ? "ztunnel enforces" : "proxies enforce"} it): ${who}`;
  const value = defaultAnswer(coverage);
  const { text, by } = value === "open" ? whyOpen(coverage) : whyDenied(coverage);
  return { text: `${start}${text}`, value, ...(by === undefined ? {} : { objects: [by] }) };
}

interface Why {
  readonly text: string;
  readonly by?: AuthorizationPolicy;
}

function whyDenied(coverage: Coverage): Why {
  const { sealedBy, closedBy, deniedBy } = coverage;
  if (sealedBy !== undefined) return { text: `all requests are denied by ${idOf(sealedBy)}`, by: sealedBy };
  if (closedBy !== undefined && openedBy(coverage) === undefined)
    return {
      text: `denied by default by ${idOf(closedBy)}: requests that no ALLOW policy matches are denied`,
      by: closedBy,
    };
  if (deniedBy === undefined) return { text: "denied by default by several policies together" };
  return {
    text: `denied by default by ${idOf(deniedBy)}: it denies everything but the callers and requests that it names`,
    by: deniedBy,
  };
}

function whyOpen(coverage: Coverage): Why {
  const by = openedBy(coverage);
  if (by === undefined) return { text: "open: no ALLOW policy is in force, so there is no default deny" };
  const others = coverage.openedAloneBy === undefined ? ", together with other policies" : "";
  return { text: `open: ${idOf(by)} allows everyone${others}`, by };
}

function policyLine(choice: AuthorizationChoice): ExplanationLine {
  const { policy, action, outcome } = choice;
  const name = `${action} ${idOf(policy)} (${scope(choice)})`;
  const because = reasons[outcome];
  const text = because === undefined ? `${name}: ${effect(choice)}` : `${name} has no effect: ${because}`;
  return objectLine("authorization.policy", policy, text, {
    value: because === undefined ? action : "disarmed",
    counts: outcome === "counts",
    lines: ztunnelLines(choice),
  });
}

/** Why a policy is not in force although it seems to be; undefined: its line shows its effect. */
const reasons: Readonly<Record<AuthorizationOutcome, string | undefined>> = {
  counts: undefined,
  "nothing-captures": undefined,
  "not-read":
    "the control plane of these proxies does not read it (label istio.io/rev, or discoverySelectors), or it is being deleted",
  "dry-run": "it is a dry run (annotation istio.io/dry-run)",
  "audit-only": "AUDIT only logs",
  "unknown-action": "Istio does not support this action",
  "custom-at-ztunnel": "ztunnel does not support CUSTOM",
  "empty-selector-at-ztunnel": "for ztunnel, an empty selector selects nothing",
};

/** The rules with another effect at ztunnel than written, because ztunnel knows neither HTTP nor the trust domains of sources. */
function ztunnelLines({ atZtunnel }: AuthorizationChoice): readonly ExplanationLine[] {
  const outcomes = {
    dropped: "allows nobody",
    wider: "allows more than written",
    never: "never matches",
    part: "denies more than written",
  } as const;
  return atZtunnel.map(({ index, outcome, unseen }) => ({
    key: "authorization.rule",
    of: `rules[${index}]`,
    text: `rules[${index}] ${outcomes[outcome]}: ztunnel does not support ${unseen.join(", ")}`,
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
  if (action === "CUSTOM") return `calls the provider ${policy.spec.provider?.name || "(not set)"}`;
  const verb = action === "ALLOW" ? "allows" : "denies";
  if (reach === "nobody") return `${verb} nobody: it has no rules`;
  if (reach === "everyone") return `${verb} everyone`;
  return reach === "authenticated" ? `${verb} every caller that has an identity` : `${verb} ${callers(policy)}`;
}

const mostCallers = 4;

/** The callers that the rules name, abbreviated. */
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
