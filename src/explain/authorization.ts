import { idOf } from "../kube/identity.ts";
import { everyAuthorizationPolicyOfNamespace } from "../mesh/authorization/choices.ts";
import {
  authorizationOf,
  type Coverage,
  enforcerOf,
  isDeniedByDefault,
  type NamespaceAuthorization,
} from "../mesh/authorization/effective-authorization.ts";
import {
  actionOf,
  attachesToGateway,
  attachesToLabels,
  type AuthorizationPolicy,
  isDryRun,
  reachOf,
  servicesTargeted,
  targetRefsOf,
} from "../mesh/authorization/policies.ts";
import type { Enforcer } from "../mesh/authorization/rules.ts";
import { atZtunnel, httpAttributesOf } from "../mesh/authorization/ztunnel-rules.ts";
import { captureOf, enrollmentOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload } from "../mesh/membership/workloads.ts";
import { oldestFirst } from "../mesh/objects/creation-order.ts";
import { gatewayNameLabel } from "../mesh/objects/labels.ts";
import { isServed } from "../mesh/objects/revision.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { MeshSettings } from "../view/settings.ts";
import type { Inquiry } from "./inquiry.ts";

/** What the policies do to a workload without labels of its own, and every policy that speaks of the namespace. */
export function namespaceAuthorizationLine(namespace: Namespace, { mesh }: Inquiry): ExplanationLine {
  const authorization = authorizationOf(namespace, mesh);
  const { enforcer } = authorization;
  const policies = everyPolicy(namespace, mesh).filter((policy) => isOfNamespace(policy, namespace));
  const decided = decision(authorization.ofLabels({}), enforcer, "workloads that no policy selects are");
  const isOut = ["none", "opted-out"].includes(enrollmentOf(namespace));
  return {
    key: "authorization",
    ...decided,
    text: isOut ? decided.text.replace("Authorization", "Authorization, for what will be captured") : decided.text,
    lines: policies.map((policy) => policyLine(policy, enforcer, mesh.settings)),
  };
}

/** The same for one workload: only what is for it. */
export function workloadAuthorizationLine(
  workload: Workload,
  namespace: Namespace,
  { mesh }: Inquiry,
): ExplanationLine {
  const authorization = authorizationOf(namespace, mesh);
  const enforcer = enforcerOf(workload, namespace);
  const gateway = gatewayOf(workload, authorization);
  const policies = everyPolicy(namespace, mesh).filter((policy) =>
    gateway === undefined
      ? attachesToLabels(policy, workload.pod.labels, "proxy")
      : attachesToGateway(policy, gateway, mesh.settings),
  );
  if (gateway !== undefined)
    return {
      key: "authorization",
      ...decision(authorization.ofGateway(gateway), "proxy", ""),
      lines: policies.map((policy) => policyLine(policy, "proxy", mesh.settings)),
    };
  const lines = policies.map((policy) => policyLine(policy, enforcer, mesh.settings));
  if (isUnguarded(workload, namespace))
    return {
      key: "authorization",
      text: "Authorization: open: nothing captures its pods, so that nothing enforces policies there",
      value: "open",
      lines: lines.map((line) => ({ ...line, counts: false })),
    };
  return { key: "authorization", ...decision(authorization.ofWorkload(workload), enforcer, ""), lines };
}

const gatewayOf = ({ pod }: Workload, { gateways }: NamespaceAuthorization) =>
  gateways.find(({ name }) => name === pod.labels[gatewayNameLabel]);

/** What the waypoint of a Service enforces: policies reach it through targetRefs only. */
export function waypointAuthorizationLine(service: string, namespace: Namespace, { mesh }: Inquiry): ExplanationLine {
  const authorization = authorizationOf(namespace, mesh);
  const policies = everyPolicy(namespace, mesh).filter((policy) => servicesTargeted(policy).includes(service));
  const lines = policies.map((policy) => policyLine(policy, "proxy", mesh.settings));
  const { text, ...rest } = decision(authorization.ofService(service), "proxy", "");
  return {
    key: "authorization.waypoint",
    ...rest,
    text: text.replace("Authorization", "Authorization at the waypoint"),
    lines,
  };
}

/** In a few words, for a line about something else. */
export function shownCoverage(workload: Workload, namespace: Namespace, authorization: NamespaceAuthorization): string {
  if (isUnguarded(workload, namespace)) return "open";
  const gateway = gatewayOf(workload, authorization);
  const coverage = gateway === undefined ? authorization.ofWorkload(workload) : authorization.ofGateway(gateway);
  return isDeniedByDefault(coverage) ? "denied by default" : "open";
}

/** No proxy and no ztunnel stands before its pods. */
const isUnguarded = (workload: Workload, namespace: Namespace): boolean =>
  !isProxy(workload) && captureOf(workload, namespace) === "none";

const everyPolicy = (namespace: Namespace, mesh: Inquiry["mesh"]): readonly AuthorizationPolicy[] =>
  mesh.related(everyAuthorizationPolicyOfNamespace, namespace).toSorted(oldestFirst);

/** Of the root namespace, what has targets is for gateways: of other namespaces, or of all. */
const isOfNamespace = (policy: AuthorizationPolicy, namespace: Namespace): boolean =>
  policy.metadata.namespace === namespace.metadata.name || targetRefsOf(policy).length === 0;

function decision(
  coverage: Coverage,
  enforcer: Enforcer,
  who: string,
): Pick<ExplanationLine, "text" | "value" | "objects"> {
  const { sealedBy, closedBy, openedBy } = coverage;
  const by = enforcer === "ztunnel" ? "ztunnel" : "proxies";
  const start = `Authorization (${by} enforce${enforcer === "ztunnel" ? "s" : ""} it): ${who === "" ? "" : `${who} `}`;
  if (sealedBy !== undefined)
    return { text: `${start}closed: ${idOf(sealedBy)} denies everything`, value: "sealed", objects: [sealedBy] };
  if (closedBy !== undefined && openedBy === undefined)
    return {
      text: `${start}denied by default, by ${idOf(closedBy)}: what no ALLOW names is refused`,
      value: "denied-by-default",
      objects: [closedBy],
    };
  if (openedBy !== undefined)
    return { text: `${start}open: ${idOf(openedBy)} allows everyone`, value: "open", objects: [openedBy] };
  return { text: `${start}open: no ALLOW policy is in force, so that nothing is denied by default`, value: "open" };
}

function policyLine(policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): ExplanationLine {
  const disarmed = disarmedBy(policy, enforcer, settings);
  const name = `${actionOf(policy)} ${idOf(policy)} (${scope(policy, settings)})`;
  const text =
    disarmed === undefined ? `${name}: ${effect(policy, enforcer, settings)}` : `${name} does not count: ${disarmed}`;
  const isForZtunnel = enforcer === "ztunnel" && targetRefsOf(policy).length === 0;
  return objectLine("authorization.policy", policy, text, {
    value: disarmed === undefined ? actionOf(policy) : "disarmed",
    counts: disarmed === undefined,
    lines: disarmed === undefined && isForZtunnel ? ztunnelLines(policy) : [],
  });
}

/** The rules that ztunnel takes otherwise than they are written, because it sees no HTTP. */
function ztunnelLines(policy: AuthorizationPolicy): readonly ExplanationLine[] {
  const outcomes = {
    dropped: "lets nobody in",
    never: "never fires",
    part: "denies more than it says",
  } as const;
  return policy.spec.rules.flatMap((rule, i) => {
    const outcome = atZtunnel(rule, actionOf(policy));
    if (outcome === "whole") return [];
    const unseen = httpAttributesOf(rule).join(", ");
    const text = `rules[${i}] ${outcomes[outcome]}: ztunnel does not see ${unseen}`;
    return [{ key: "authorization.rule", of: `rules[${i}]`, text, value: outcome }];
  });
}

/** Why a policy that looks as if it were in force is not. */
function disarmedBy(policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): string | undefined {
  const action = actionOf(policy);
  if (!isServed(policy, settings)) return "no control plane serves its istio.io/rev";
  if (isDryRun(policy)) return "it is a dry run (annotation istio.io/dry-run)";
  if (action === "AUDIT") return "AUDIT only records";
  if (enforcer === "proxy" || targetRefsOf(policy).length > 0) return undefined;
  if (action === "CUSTOM") return "ztunnel knows no CUSTOM";
  const { selector } = policy.spec;
  return selector !== undefined && selector.matchLabels === undefined
    ? "ztunnel takes an empty selector for one that selects nothing"
    : undefined;
}

function scope(policy: AuthorizationPolicy, { rootNamespace }: MeshSettings): string {
  const targets = targetRefsOf(policy);
  if (targets.length > 0) return `at ${targets.map(({ kind, name }) => `${kind} ${name}`).join(", ")}`;
  const isRoot = policy.metadata.namespace === rootNamespace;
  const labels = formatLabels(policy.spec.selector?.matchLabels ?? {});
  if (labels !== "") return `workloads with ${labels}${isRoot ? " in every namespace" : ""}`;
  return isRoot ? "the whole mesh" : "the whole namespace";
}

function effect(policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): string {
  const action = actionOf(policy);
  const verb = { ALLOW: "allows", DENY: "denies", CUSTOM: "asks about" }[action] ?? action;
  const by = targetRefsOf(policy).length > 0 ? "proxy" : enforcer;
  if (action === "CUSTOM") return `asks ${policy.spec.provider?.name || "a provider that it does not name"}`;
  if (policy.spec.rules.length === 0) return `${verb} nobody: it has no rules`;
  const reach = reachOf(policy, by, settings);
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
