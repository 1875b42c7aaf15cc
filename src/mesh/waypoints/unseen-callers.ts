import { fact, index, relation } from "../../view/view.ts";
import { callersNamed } from "../authorization/named-callers.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../authorization/policies.ts";
import { passesDenyRule } from "../authorization/ztunnel-callers.ts";
import { atZtunnel } from "../authorization/ztunnel-rules.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { captured } from "../membership/captured.ts";
import { gatewaysOfNamespace, isForIngress } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { identityOfWaypoint, waypointBinding, type WaypointName } from "./bindings.ts";
import { serviceCanaryReads } from "./canaries.ts";
import { frontsOf, podsByWay } from "./guards.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** How many callers a source lists, and none of them except others. */
const callersIn = ({ source }: Rule["from"][number]): number => {
  const { notPrincipals, notNamespaces, notServiceAccounts } = source;
  const excepted = notPrincipals.length + notNamespaces.length + notServiceAccounts.length;
  return excepted > 0 ? 0 : source.principals.length + source.namespaces.length + source.serviceAccounts.length;
};
/** Whether each source of a rule lists callers of the mesh. One that excepts some can be for everybody else, so it is left alone. */
const namesCallers = ({ from }: Rule): boolean => from.length > 0 && from.every((one) => callersIn(one) > 0);

const isAtPods = (policy: AuthorizationPolicy): boolean =>
  actionOf(policy) === "DENY" && targetRefsOf(policy).length === 0 && policy.spec.rules.some(namesCallers);

/** A DENY policy that names callers, for pods of its namespace, and the namespace. */
const namespaceOfDenied = relation(
  "namespaceOfDenied",
  index("AuthorizationPolicy", (policy, settings) =>
    isAtPods(policy) && isEnforced(policy, settings) && policy.metadata.namespace !== settings.rootNamespace
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByName,
);
/** Such a policy and the namespaces of the callers. */
const namespacesOfDeniedCallers = relation(
  "namespacesOfDeniedCallers",
  index("AuthorizationPolicy", (policy, settings) =>
    isAtPods(policy) ? new Set(callersNamed(policy, settings).map(({ namespace }) => namespace)) : [],
  ),
  namespaceByName,
);

const sourcesKey = ({ metadata }: AuthorizationPolicy, { from }: Rule): string =>
  `${metadata.namespace}/${JSON.stringify(from)}`;
const bySources = (isMeant: (policy: AuthorizationPolicy) => boolean) =>
  index("AuthorizationPolicy", (policy) =>
    isMeant(policy) ? new Set(policy.spec.rules.filter(namesCallers).map((rule) => sourcesKey(policy, rule))) : [],
  );
/** Such a policy and the DENY policies for waypoints in its namespace that have a rule with the same callers. */
const deniedAtWaypoints = relation(
  "deniedAtWaypoints",
  bySources(isAtPods),
  bySources((policy) => actionOf(policy) === "DENY" && targetRefsOf(policy).length > 0),
  "identity",
);

export interface UnseenCallers {
  /** The places of the rules. */
  readonly rules: readonly number[];
  readonly waypoint: WaypointName;
  readonly namespace: Namespace;
}

/**
 * The rules of a DENY policy that name callers whose requests come to the pods through a waypoint, so that ztunnel sees the identity of
 * that one and the rules match nothing (ztunnel src/rbac.rs; Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForService).
 * Undefined where another way leads to a pod: a Service with another waypoint or none, or no Service at all; where the callers may not
 * use waypoints, as ingress gateways do not and workloads outside ambient mode may not; and where a policy at a waypoint denies the same callers.
 */
export const unseenCallers = fact(
  "unseenCallers",
  "AuthorizationPolicy",
  [
    namespaceOfDenied,
    namespacesOfDeniedCallers,
    deniedAtWaypoints,
    gatewaysOfNamespace,
    waypointBinding,
    ...serviceCanaryReads,
    podsByWay,
    captured,
  ],
  (policy, mesh): UnseenCallers | undefined => {
    const [namespace] = mesh.related(namespaceOfDenied, policy);
    if (namespace === undefined || !mesh.knowsAll("Service") || !mesh.knowsAll("Workload")) return undefined;
    const fronts = frontsOf(undefined, namespace, mesh.get(waypointBinding, namespace), mesh);
    const [first] = fronts;
    if (first === undefined) return undefined;
    const pods = mesh.get(captured, namespace).ambient.selected(policy.spec.selector?.matchLabels ?? {});
    const { through } = mesh.get(podsByWay, namespace);
    mesh.visited(pods.length);
    if (pods.length === 0 || !pods.every((pod) => through.has(pod))) return undefined;
    const ambient = new Set(
      mesh
        .related(namespacesOfDeniedCallers, policy)
        .filter((one) => enrollmentOf(one, mesh.settings) === "ambient")
        .filter((one) => !mesh.related(gatewaysOfNamespace, one).some((one) => isForIngress(one, mesh.settings)))
        .map(({ metadata }) => metadata.name),
    );
    const named = Map.groupBy(
      callersNamed(policy, mesh.settings).filter(({ namespace: of, at }) => at[3] === "from" && ambient.has(of)),
      ({ at }) => at[2],
    );
    const identities = fronts.map(({ waypoint, gateway }) => identityOfWaypoint(waypoint, gateway));
    const passes = (rule: Rule): boolean =>
      identities.every((one) => passesDenyRule(rule, one, namespace.metadata.name, mesh.settings));
    const rules = policy.spec.rules.flatMap((rule, i) => {
      const left = atZtunnel(rule, "DENY");
      const areAmbient = named.get(i)?.length === rule.from.reduce((sum, one) => sum + callersIn(one), 0);
      const isUnseen = namesCallers(rule) && areAmbient && left !== "never" && left !== "dropped" && passes(rule);
      return isUnseen && !mesh.hasUnder(deniedAtWaypoints, sourcesKey(policy, rule)) ? [i] : [];
    });
    return rules.length === 0 ? undefined : { rules, waypoint: first.waypoint, namespace };
  },
);
