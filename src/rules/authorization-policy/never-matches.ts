import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import { formatWaypoint } from "../../mesh/waypoints/bindings.ts";
import { type UnseenCallers, unseenCallers } from "../../mesh/waypoints/unseen-callers.ts";

type Operation = AuthorizationPolicy["spec"]["rules"][number]["to"][number]["operation"];

/** What is wrong with a value, as the end of a sentence about it; undefined: requests can have it. */
type Doubt = (value: string) => string | undefined;

const never = (reason: string): string => `matches no request: ${reason}`;

const methods: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];

/** Methods are compared with case (pilot/pkg/security/authz/matcher/header.go HeaderMatcher); others than these may exist. */
const ofMethod: Doubt = (value) => {
  const upper = value.toUpperCase();
  const own = upper.replaceAll("*", "");
  const isKnown = upper.includes("*")
    ? own !== "" && methods.some((one) => one.includes(own))
    : methods.includes(upper);
  return isKnown && upper !== value
    ? never(`methods are written in capital letters, as ${JSON.stringify(upper)}`)
    : undefined;
};

/** Characters that a path contains only as %xx, and what a regular expression begins or repeats with. */
const ofRegularExpression = /[[\]^|\\]|\.\+|\.\*.|\)[*+]/;

/**
 * A path begins with "/" and is compared without its query; a `*` is a wildcard at one end, and `{*}` and `{**}` stand for
 * segments (pilot/pkg/security/authz/matcher/header.go PathMatcher, template.go; Envoy path_matcher).
 */
const ofPath: Doubt = (value) => {
  if (/[?#]/.test(value)) return never("a path is compared without its query");
  if (ofRegularExpression.test(value)) return never("regular expressions are not supported");
  // The end of a name of a file can follow, as in /index.*
  if (value.endsWith("/.*"))
    return `matches only paths that begin with ${JSON.stringify(value.slice(0, -1))}: regular expressions are not supported`;
  if (/\{\*\*?\}/.test(value)) return undefined;
  if (/^[^/*]/.test(value)) return never('a path begins with "/"');
  // The only wildcard is a * at the beginning, or else at the end.
  return /^.+\*.|^\*.*\*/s.test(value)
    ? never("a * is a wildcard at one end only; {*} stands for one segment")
    : undefined;
};

/** The only wildcard is a `*` at the beginning, or else at the end, and no host has one (pilot/pkg/security/authz/matcher). */
const ofWildcard: Doubt = (value) =>
  /^.+\*.|^\*.*\*/s.test(value) ? never("a * is a wildcard at one end only") : undefined;

const ofHost: Doubt = (value) =>
  value.includes("/") ? never("a host has neither a scheme nor a path") : ofWildcard(value);

/** Envoy converts server names to lower case. */
const ofServerName: Doubt = (value) =>
  value === value.toLowerCase() ? ofWildcard(value) : never("server names are compared in lower case");

const fields = [
  ["methods", "Method", ofMethod],
  ["notMethods", "Method", ofMethod],
  ["paths", "Path", ofPath],
  ["notPaths", "Path", ofPath],
  ["hosts", "Host", ofHost],
  ["notHosts", "Host", ofHost],
] as const satisfies readonly (readonly [keyof Operation, string, Doubt])[];

export const authorizationPolicyNeverMatches = defineRule({
  id: "authorization-policy-never-matches",
  subject: "AuthorizationPolicy",
  reads: [unseenCallers],
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A rule names a method, a path or a host that no request has, or callers whom ztunnel does not see.",
  why: "Values are compared as text: methods with their case, paths from the first slash to the query, and a `*` only at one end (Istio pilot/pkg/security/authz/model/generator.go, pilot/pkg/security/authz/matcher/string.go). A value that is written differently matches no request. Then an ALLOW rule allows nothing by it, a DENY rule denies nothing, and `notPaths` excludes nothing. ztunnel at pods behind a waypoint sees the identity of the waypoint, not that of the caller (pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForService), so that a DENY rule for callers denies nothing that comes through it.",
  fix: "Write the value as requests have it: `GET`, `/orders/*`, `shop.example.com`. A `*` is allowed at one end; in a path, `{*}` stands for one segment and `{**}` for any number at the end.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "With an ALLOW rule, requests that the policy seems to allow get 403 `RBAC: access denied`. With a DENY rule, nothing is denied.",
    wayOut:
      "Apply the previous version of the policy, or write the value as the access log of the server's proxy shows it.",
    silentWhen:
      "Values of headers and claims, methods that no standard has, and paths that the application does not serve. Callers at ztunnel, if some are not known to be ambient, if a pod is reached past the waypoint of its namespace as well, or if a policy at a waypoint denies the same ones.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const { spec } = policy;
    const unseen = mesh.get(unseenCallers, policy);
    if (unseen !== undefined) yield* notSeen(unseen, policy);
    for (const [i, { to, when }] of spec.rules.entries()) {
      for (const [j, { operation }] of to.entries())
        for (const [field, what, doubt] of fields)
          yield* doubtful(operation[field], what, doubt, ["spec", "rules", i, "to", j, "operation", field]);
      for (const [j, { key, values, notValues }] of when.entries()) {
        if (key !== "connection.sni") continue;
        const at = ["spec", "rules", i, "when", j];
        yield* doubtful(values, "Server name", ofServerName, [...at, "values"]);
        yield* doubtful(notValues, "Server name", ofServerName, [...at, "notValues"]);
      }
    }
  },
});

function* notSeen(
  { rules, waypoint, namespace }: UnseenCallers,
  { spec: { selector } }: AuthorizationPolicy,
): Iterable<Problem> {
  const labels = formatLabels(selector?.matchLabels ?? {});
  const behind = labels === "" ? `the workloads of ${namespace.metadata.name}` : labels.replaceAll(", ", ",");
  for (const i of rules)
    yield {
      at: ["spec", "rules", i, "from"],
      message: `Requests to ${behind} come through waypoint ${formatWaypoint(waypoint)}, whose identity ztunnel sees in place of these callers, so this rule does not deny them`,
      fix: "Attach a DENY policy with this rule to the Service or to the waypoint with `targetRefs`. This one counts only for connections to the addresses of the pods.",
      evidence: [namespace],
    };
}

function* doubtful(values: readonly string[], what: string, doubt: Doubt, at: Path): Iterable<Problem> {
  for (const [i, value] of values.entries()) {
    const problem = doubt(value);
    if (problem !== undefined) yield { at: [...at, i], message: `${what} ${JSON.stringify(value)} ${problem}` };
  }
}
