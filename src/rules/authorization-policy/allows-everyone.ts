import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { together } from "../../mesh/authorization/coverage.ts";
import {
  authorization,
  type Coverage,
  type NamespaceAuthorization,
} from "../../mesh/authorization/effective-authorization.ts";
import { enforcerOf } from "../../mesh/authorization/enforcement.ts";
import {
  actionOf,
  attachesToGateway,
  attachesToLabels,
  type AuthorizationPolicy,
  entriesTargeted,
  type GatewayTarget,
  podLabelsOf,
  isEnforced,
  scopeOf,
  servicesTargeted,
  targetRefsOf,
} from "../../mesh/authorization/policies.ts";
import {
  isSameForMesh,
  namesItsCallers,
  type Reach,
  reachesOfRules,
  reachOf,
  widest,
} from "../../mesh/authorization/reach.ts";
import { type Enforcer, enforcers } from "../../mesh/authorization/rules.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { CertainCallers, kindsOfCertainCallers, readsCertainCallers } from "../../mesh/mtls/certain-callers.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { type CoverageElsewhere, coverageElsewhere } from "../../mesh/waypoints/shared-waypoints.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

/** ALLOW policies that allow everyone in some data plane. Most policies do not. */
const openPolicies = index("AuthorizationPolicy", (policy, settings) => {
  const isOpen =
    actionOf(policy) === "ALLOW" &&
    !namesItsCallers(policy) &&
    enforcers.some((enforcer) => reachOf(policy, enforcer, settings) !== "some");
  return isOpen && isEnforced(policy, settings) ? [policy.metadata.namespace] : [];
});
/** The namespace of an open policy. */
const namespaceOfOpenPolicy = relation("namespaceOfOpenPolicy", openPolicies, namespaceByName);
/** The open policies of a namespace. */
const openPoliciesOfNamespace = relation("openPoliciesOfNamespace", namespaceByName, openPolicies);

/** The objects in a namespace to which open policies can apply, and whether these have a default deny. */
const openable = fact(
  "openable",
  "Namespace",
  [authorization, coverageElsewhere],
  (namespace, mesh) =>
    new Openable(namespace, mesh.get(authorization, namespace), {
      settings: mesh.settings,
      elsewhere: mesh.get(coverageElsewhere, namespace),
    }),
);

/** What the open policies of a namespace allow already, in the form of `grant`. */
const grantedToEveryone = fact(
  "grantedToEveryone",
  "Namespace",
  [openPoliciesOfNamespace, openable],
  (namespace, mesh) => {
    const known = new Set<string>();
    for (const policy of mesh.related(openPoliciesOfNamespace, namespace)) {
      const isEnforcedHere = mesh.get(openable, namespace).concernedBy(policy).enforcedBy.size > 0;
      if (!isEnforcedHere) continue;
      if (isWhole(policy)) known.add(grant(policy, "everyone"));
      if (enforcers.every((enforcer) => isSameForMesh(policy, enforcer, mesh.settings)))
        known.add(grant(policy, "authenticated"));
    }
    return known;
  },
);

/** Every request of these callers, at what the policy applies to. */
const grant = (policy: AuthorizationPolicy, reach: Reach): string =>
  JSON.stringify([scopeOf(policy), policy.metadata.labels[revisionLabel], reach]);

const reads = [namespaceOfOpenPolicy, openable, grantedToEveryone, authorization, ...readsCertainCallers] as const;

export const authorizationPolicyAllowsEveryone = defineRule({
  id: "authorization-policy-allows-everyone",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry", ...kindsOfCertainCallers],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["deny-all-gap"],
  summary: "The rules of an ALLOW policy restrict nobody who is not named, so they cancel every default deny.",
  why: 'ALLOW policies are additive: one matching rule allows a request (Istio pilot/pkg/security/authz/model/model.go New). A rule without values restricts nobody, and neither do negative values such as `notPaths` or `notNamespaces`, values that everybody meets such as `0.0.0.0/0` or a list of all methods, and rules that together leave nothing out. `principals: ["*"]` and `namespaces: ["*"]` require only that the caller has some identity of the mesh.',
  fix: "Name the callers in `from` (principals, namespaces, serviceAccounts or requestPrincipals). To deny everything by default, leave `rules` out.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Callers that no policy names get answers, and no request to these workloads gets 403 any more, unless a DENY policy matches it.",
    wayOut:
      "Delete the policy or apply its previous version: the default deny and the other ALLOW policies count again within seconds.",
    silentWhen:
      "The policy has another action than ALLOW or is a dry run. The rule only warns where the policy is for ingress gateways, which expect callers from outside the mesh, where nothing is denied by default, where another policy has the rule `{}` already, where mTLS is STRICT and another one allows each identity already, and where a DENY policy denies everything, so that an ALLOW policy cancels nothing.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    for (const namespace of mesh.related(namespaceOfOpenPolicy, policy)) {
      const concerns = mesh.get(openable, namespace);
      const { denied, inside } = concerns.concernedBy(policy);
      const [isDenied, isInside] = [cancelledBy(policy, denied), cancelledBy(policy, inside)];
      const keysAt = keysOf(policy);
      for (const { at, reach, isWhole } of openingsOf(policy, concerns, mesh.settings))
        yield problemOf(at, reach, keysAt(reach), { isDenied, isInside, isWhole });
    }
  },

  wasSo: (policy, _problem, before) =>
    before.related(namespaceOfOpenPolicy, policy).some((namespace) => allowed(policy, namespace, before)),
});

/** Whether everyone may send every request to the same objects, because of other policies. */
function allowed(policy: AuthorizationPolicy, namespace: Namespace, mesh: MeshView<(typeof reads)[number]>): boolean {
  const known = mesh.get(grantedToEveryone, namespace);
  if (known.has(grant(policy, "everyone"))) return true;
  if (targetRefsOf(policy).length > 0) return false;
  const { openedAloneBy } = mesh.get(authorization, namespace).ofLabels(policy.spec.selector?.matchLabels ?? noLabels);
  if (openedAloneBy !== undefined && isWhole(openedAloneBy)) return true;
  // Where mTLS is STRICT, everyone has an identity.
  const haveIdentity = () => new CertainCallers({ object: namespace, mesh }).ofUnselected.haveIdentity;
  return known.has(grant(policy, "authenticated")) && haveIdentity();
}

interface Opening {
  readonly at: Path;
  readonly reach: Reach;
  /** The rule matches every request. */
  readonly isWhole: boolean;
}

/** The rules that restrict nobody, or that do so together, where anything enforces the policy. */
function openingsOf(policy: AuthorizationPolicy, of: Openable, settings: MeshSettings): readonly Opening[] {
  const { enforcedBy } = of.concernedBy(policy);
  const byEnforcer = [...enforcedBy].map((enforcer) => reachesOfRules(policy, enforcer, settings));
  const reaches = policy.spec.rules.map((_, i) => widest(byEnforcer.flatMap((all) => all[i]?.reach ?? [])));
  const found = reaches.flatMap((reach, i): readonly Opening[] =>
    reach === "some"
      ? []
      : [{ at: ["spec", "rules", i], reach, isWhole: byEnforcer.some((all) => all[i]?.isWhole === true) }],
  );
  const together = widest([...enforcedBy].map((enforcer) => reachOf(policy, enforcer, settings)));
  return together === widest(reaches) ? found : [...found, { at: ["spec", "rules"], reach: together, isWhole: false }];
}

type Keys = Pick<Problem, "key" | "like" | "alsoFor">;

/**
 * A larger scope is a new problem; a default deny that is added later is none, and neither is what is left of a policy that applied to all
 * workloads of the namespace.
 */
function keysOf(policy: AuthorizationPolicy): (reach: Reach) => Keys {
  const scope = scopeOf(policy);
  const isOfWorkloads = targetRefsOf(policy).length === 0;
  const inside = (reach: Reach) => JSON.stringify(["some workloads", reach]);
  return (reach) => ({
    key: JSON.stringify([scope, reach]),
    ...(isOfWorkloads && policy.spec.selector !== undefined ? { like: inside(reach) } : {}),
    ...(isOfWorkloads && policy.spec.selector === undefined ? { alsoFor: withWeaker(reach).map(inside) } : {}),
  });
}

const withWeaker = (reach: Reach): readonly Reach[] => (reach === "everyone" ? [reach, "authenticated"] : [reach]);

function problemOf(at: Path, reach: Reach, keys: Keys, { isDenied, isInside, isWhole }: Finding): Problem {
  const what = at.length > 2 ? "This rule allows" : "Together, the rules of this policy allow";
  const everyone = isWhole
    ? "everyone: no from, to or when restricts it"
    : "everyone: no positive value restricts the callers";
  const who =
    reach === "everyone"
      ? `${what} ${everyone}`
      : `${what} every workload of the mesh: it accepts any identity, and no to restricts it`;
  return {
    at,
    message: isDenied ? `${who}; it cancels the default deny` : who,
    ...keys,
    ...(reach === "everyone" && isInside
      ? {}
      : {
          onlyWarns: reach === "everyone" ? whyHarmless(isDenied) : "callers need an identity of the mesh",
        }),
  };
}

const whyHarmless = (isDenied: boolean): string =>
  isDenied ? "gateways expect callers from outside the mesh" : "no default deny is there that it alone cancels";

interface Finding {
  /** It cancels a default deny. A DENY policy that matches everything cannot be cancelled, and what an older policy cancels already is open. */
  readonly isDenied: boolean;
  /** And one where no callers from outside the mesh are expected. */
  readonly isInside: boolean;
  /** The rule matches every request. */
  readonly isWhole: boolean;
}

/** The objects that a policy applies to. */
interface Concerned {
  readonly enforcedBy: ReadonlySet<Enforcer>;
  /** What leaves nothing to cancel of the default deny of those that have one: the oldest ALLOW policy, if it allows every request; undefined: none does. */
  readonly denied: ReadonlySet<AuthorizationPolicy | undefined>;
  /** The same without ingress gateways, which expect callers from outside the mesh. */
  readonly inside: Concerned["denied"];
}
const none: Concerned["denied"] = new Set();
const nothing: Concerned = { enforcedBy: new Set(), denied: none, inside: none };
const union = (all: readonly Concerned[]): Concerned => ({
  enforcedBy: new Set(all.flatMap(({ enforcedBy }) => [...enforcedBy])),
  denied: new Set(all.flatMap(({ denied }) => [...denied])),
  inside: new Set(all.flatMap(({ inside }) => [...inside])),
});
function concerned(enforcer: Enforcer, coverage: Coverage, isIngress = false): Concerned {
  const { closedBy, sealedBy, deniedBy, openedAloneBy } = coverage;
  const isDenied = closedBy !== undefined && sealedBy === undefined && deniedBy === undefined;
  const denied = isDenied ? new Set([openedAloneBy && isWhole(openedAloneBy) ? openedAloneBy : undefined]) : none;
  return { enforcedBy: new Set([enforcer]), denied, inside: isIngress ? none : denied };
}

const isWhole = ({ spec }: AuthorizationPolicy): boolean =>
  spec.rules.some(({ from, to, when }) => from.length + to.length + when.length === 0);

const cancelledBy = (policy: AuthorizationPolicy, denied: Concerned["denied"]): boolean =>
  denied.has(policy) || denied.has(undefined);

/** Several workloads: those with a proxy, and all of them. */
interface Fares {
  readonly atProxies: Concerned;
  readonly all: Concerned;
}

const noLabels: Readonly<Record<string, string>> = Object.freeze({});
const anyWaypoint: GatewayTarget = { name: "", namespace: "", isWaypoint: true };

/** Each selector and each gateway is evaluated once, regardless of the number of policies. */
class Openable {
  readonly #namespace: Namespace;
  readonly #authorization: NamespaceAuthorization;
  readonly #settings: MeshSettings;
  readonly #elsewhere: CoverageElsewhere;
  readonly #gateways: ReadonlyMap<string, GatewayTarget>;
  readonly #ingress: Labelled<GatewayTarget>;
  readonly #ofWorkloads = new Map<readonly Workload[], Fares>();
  readonly #ofIngress = new Map<readonly GatewayTarget[], Concerned>();
  #ofWaypoints: Concerned | undefined;
  #ofServices: Concerned | undefined;

  constructor(
    namespace: Namespace,
    of: NamespaceAuthorization,
    { settings, elsewhere }: { readonly settings: MeshSettings; readonly elsewhere: CoverageElsewhere },
  ) {
    this.#namespace = namespace;
    this.#authorization = of;
    this.#settings = settings;
    this.#elsewhere = elsewhere;
    this.#gateways = new Map(of.gateways.map((gateway) => [gateway.name, gateway]));
    const ingress: readonly GatewayTarget[] = of.gateways.filter(({ isWaypoint }) => !isWaypoint);
    this.#ingress = new Labelled(ingress, podLabelsOf);
  }

  /** Existing objects and future ones. */
  concernedBy(policy: AuthorizationPolicy): Concerned {
    if (!this.#authorization.isRead(policy)) return nothing;
    return targetRefsOf(policy).length > 0 ? this.#targetedBy(policy) : this.#selectedBy(policy);
  }

  /** Targets that the view does not contain are assumed to be waypoints. */
  #targetedBy(policy: AuthorizationPolicy): Concerned {
    const { namespace } = policy.metadata;
    const gateways = targetRefsOf(policy)
      .map(({ name }): GatewayTarget => this.#gateways.get(name) ?? { name, namespace, isWaypoint: true })
      .filter((gateway) => attachesToGateway(policy, gateway, this.#settings));
    return union([
      ...gateways.map((gateway) => concerned("proxy", this.#authorization.ofGateway(gateway), !gateway.isWaypoint)),
      gateways.some(({ isWaypoint }) => isWaypoint) ? this.#services() : nothing,
      ...servicesTargeted(policy).map((name) => this.#target("Service", name)),
      ...entriesTargeted(policy).map((name) => this.#target("ServiceEntry", name)),
      attachesToGateway(policy, anyWaypoint, this.#settings) ? this.#waypoints() : nothing,
    ]);
  }

  #selectedBy(policy: AuthorizationPolicy): Concerned {
    const labels = policy.spec.selector?.matchLabels ?? noLabels;
    const { enforcer, workloadsByLabel } = this.#authorization;
    const isComing = attachesToLabels(policy, labels, enforcer);
    // At ztunnel, a selector without matchLabels selects nothing.
    const isAtZtunnel = attachesToLabels(policy, labels, "ztunnel");
    const { all, atProxies } = this.#workloads(workloadsByLabel.selected(labels));
    const coming = isComing ? concerned(enforcer, this.#authorization.ofLabels(labels)) : nothing;
    return union([
      this.#authorization.hasOnlyGateways(labels) ? { ...coming, inside: none } : coming,
      isAtZtunnel ? all : atProxies,
      this.#ingressOf(this.#ingress.selected(labels)),
    ]);
  }

  #workloads(workloads: readonly Workload[]): Fares {
    let found = this.#ofWorkloads.get(workloads);
    if (found === undefined) {
      const by = Map.groupBy(workloads, (workload) =>
        enforcerOf(workload, this.#namespace, this.#authorization.settings),
      );
      const [atProxies, atZtunnel] = enforcers.map((enforcer) =>
        union((by.get(enforcer) ?? []).map((one) => concerned(enforcer, this.#authorization.ofWorkload(one)))),
      ) as [Concerned, Concerned];
      this.#ofWorkloads.set(workloads, (found = { atProxies, all: union([atProxies, atZtunnel]) }));
    }
    return found;
  }

  #ingressOf(gateways: readonly GatewayTarget[]): Concerned {
    let found = this.#ofIngress.get(gateways);
    if (found === undefined) {
      found = union(gateways.map((gateway) => concerned("proxy", this.#authorization.ofGateway(gateway), true)));
      this.#ofIngress.set(gateways, found);
    }
    return found;
  }

  /** A Service or a ServiceEntry at its waypoint, in whichever namespace. */
  #target(kind: "Service" | "ServiceEntry", name: string): Concerned {
    const target = { kind, metadata: { name } };
    const elsewhere = this.#elsewhere(kind, name);
    if (elsewhere === undefined) return concerned("proxy", this.#authorization.ofTarget(target));
    const own = this.#authorization.ofTargetAlone(target, this.#authorization.controlPlaneOfWaypoint);
    return union(elsewhere.map((there) => concerned("proxy", together(own, there))));
  }

  /**
   * The Services with policies of their own, without those whose waypoint is in another namespace. A waypoint enforces these together with its own ones (Istio
   * pilot/pkg/model/policyattachment.go ShouldAttachPolicy), so a policy for the waypoint opens them, too.
   */
  #services(): Concerned {
    return (this.#ofServices ??= union(
      [...this.#authorization.own.servicesTargeted]
        .filter((name) => this.#elsewhere("Service", name) === undefined)
        .map((name) => concerned("proxy", this.#authorization.own.ofService(name))),
    ));
  }

  #waypoints(): Concerned {
    return (this.#ofWaypoints ??= union(
      this.#authorization.gateways
        .filter(({ isWaypoint }) => isWaypoint)
        .map((gateway) => concerned("proxy", this.#authorization.ofGateway(gateway))),
    ));
  }
}
