import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { NamespaceAuthorization, thereOf } from "../../mesh/authorization/effective-authorization.ts";
import { enforcerOf, enforcerOfNamespace } from "../../mesh/authorization/enforcement.ts";
import {
  actionOf,
  type AuthorizationPolicy,
  entriesTargeted,
  servicesTargeted,
} from "../../mesh/authorization/policies.ts";
import { NamespacePolicies } from "../../mesh/authorization/policy-levels.ts";
import { policySetOf } from "../../mesh/authorization/policy-set.ts";
import type { NamedList } from "../../mesh/authorization/requests/applied.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { gatewaysOfNamespace } from "../../mesh/membership/gateways.ts";
import { type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { oldestFirst } from "../../mesh/objects/creation-order.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { readsServedPolicies, ServedPolicies } from "../../mesh/waypoints/served-places.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

/** Dry runs count: istiod has the providers of all CUSTOM policies of a proxy in one list. */
const asksProvider = index("AuthorizationPolicy", (policy, settings) =>
  actionOf(policy) === "CUSTOM" && isServed(policy, settings) ? [policy.metadata.namespace] : [],
);

/** A namespace and its policies that name a provider. */
const policiesWithProvider = relation("policiesWithProvider", namespaceByName, asksProvider);
/** A policy that names a provider, and its namespace. */
const namespaceOfProvider = relation("namespaceOfProvider", asksProvider, namespaceByName);

/** The policies of a namespace that name a provider. */
const withProvider = fact("withProvider", "Namespace", [policiesWithProvider], (namespace, mesh) =>
  policySetOf(mesh.related(policiesWithProvider, namespace), mesh.settings),
);

interface Conflict {
  /** The policy whose provider is another one. */
  readonly first: AuthorizationPolicy;
  /** Where both apply, to be read after "at". */
  readonly place: string;
}
type Conflicts = ReadonlyMap<AuthorizationPolicy, Conflict>;

/** The policies of a namespace that name another provider than the first one at the same proxy, mesh-wide policies first, then the oldest. */
const providerConflicts = fact(
  "providerConflicts",
  "Namespace",
  [withProvider, rootOfNamespace, readers, gatewaysOfNamespace, workloadsOfNamespace, ...readsServedPolicies],
  (namespace, mesh): Conflicts => {
    if (mesh.get(withProvider, namespace).policies.length === 0) return new Map();
    const served = new ServedPolicies(namespace, mesh, (one) => levelsIn(one, mesh));
    const { own, meshWide } = served.levels.served;
    const isOne = new Set([...own.policies, ...(meshWide?.policies ?? [])].map(providerOf)).size < 2;
    if (isOne && served.areNone) return new Map();
    const found = new NamespaceAuthorization(namespace, served.levels, thereOf(namespace, mesh));
    return conflictsIn(namespace, [...(isOne ? [] : placesOf(namespace, found)), ...targetsOf(found, served)]);
  },
);

function levelsIn(
  namespace: Namespace,
  mesh: MeshView<typeof withProvider | typeof rootOfNamespace | typeof readers>,
): NamespacePolicies {
  const [root] = mesh.related(rootOfNamespace, namespace);
  const isRoot = root === undefined || root.metadata.name === namespace.metadata.name;
  const own = mesh.get(withProvider, namespace);
  const meshWide = isRoot ? undefined : mesh.get(withProvider, root);
  const of = {
    readers: mesh.get(readers, namespace),
    enforcer: enforcerOfNamespace(namespace, mesh.settings),
    settings: mesh.settings,
  };
  return new NamespacePolicies({ own, meshWide }, of);
}

export const authorizationPolicyProvidersConflict = defineRule({
  id: "authorization-policy-providers-conflict",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfProvider, providerConflicts],
  worksWithout: ["Service", "ServiceEntry", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  // Istiod can be started with PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS, which no manifest of the mesh shows.
  stage: "trial",
  tags: ["authorization"],
  summary: "CUSTOM policies name different providers for the same workload, so Istio denies what they match.",
  why: "A proxy has one provider: if CUSTOM policies name several, dry runs included, istiod asks none of them and denies every request that the rules of any of them match (Istio pilot/pkg/security/authz/builder/builder.go buildHTTP, getBadCustomDenyRules). The first policy worked until the second one came. Istio 1.29 and later ask several if istiod has the variable PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS, which is off by default.",
  fix: "Use one provider for all CUSTOM policies of the workload, and let it tell the requests apart; or select other workloads, such as a gateway of its own. If istiod has PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS, turn the rule off.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: 'Every request that a CUSTOM policy matches gets 403 since another CUSTOM policy was applied, also for hosts of other teams, and the providers are not called. The log of istiod has "multiple CUSTOM authorization providers per workload" or "only 1 provider can be used per workload".',
    wayOut:
      "Delete the policy that was applied last, or let it name the provider of the others: they work again at once.",
    silentWhen:
      "The policies have different selectors and no known workload has the labels of both, or two policies of the root namespace meet only in another namespace.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-custom/",
  },

  *check(policy, mesh) {
    for (const namespace of mesh.related(namespaceOfProvider, policy)) {
      const conflict = mesh.get(providerConflicts, namespace).get(policy);
      if (conflict === undefined) continue;
      const { first, place } = conflict;
      const [ours, theirs] = [policy, first].map((one) => JSON.stringify(providerOf(one)));
      yield {
        at: ["spec", "provider", "name"],
        message: `This policy names provider ${ours} and ${idOf(first)} names ${theirs} for ${place}: Istio asks neither and denies what their rules match`,
        key: JSON.stringify([providerOf(policy), providerOf(first)]),
        related: [first],
        evidence: [first],
      };
    }
  },
});

const providerOf = ({ spec }: AuthorizationPolicy): string => spec.provider?.name ?? "";

function conflictsIn(namespace: Namespace, places: readonly Place[]): Conflicts {
  const conflicts = new Map<AuthorizationPolicy, Conflict>();
  const isOwn = ({ metadata }: AuthorizationPolicy) => metadata.namespace === namespace.metadata.name;
  const judged = new Set<readonly NamedList[]>();
  for (const [place, lists] of places) {
    if (judged.has(lists)) continue;
    judged.add(lists);
    const policies = [...new Set(lists.flatMap((list) => list.policies))];
    const [first] = policies.sort((a, b) => Number(isOwn(a)) - Number(isOwn(b)) || oldestFirst(a, b));
    if (first === undefined) continue;
    for (const policy of policies)
      if (isOwn(policy) && providerOf(policy) !== providerOf(first) && !conflicts.has(policy))
        conflicts.set(policy, { first, place });
  }
  return conflicts;
}

type Place = readonly [place: string, lists: readonly NamedList[]];

/** Where policies are enforced together: proxies that are known, and those that a selector is for. ztunnel asks no provider. */
function* placesOf(namespace: Namespace, found: NamespaceAuthorization): Generator<Place, undefined> {
  if (found.enforcer === "proxy") {
    yield ["the workloads of the namespace", found.applied.toLabels({}, "proxy").lists];
    for (const { spec } of found.own.policies)
      if (spec.selector?.matchLabels !== undefined)
        yield ["the same workloads", found.applied.toLabels(spec.selector.matchLabels, "proxy").lists];
  }
  for (const workload of found.workloadsAndProxies)
    if (enforcerOf(workload, namespace, found.settings) === "proxy")
      yield [idOf(workload), found.applied.toWorkload(workload).lists];
  for (const gateway of found.gateways) yield [gateway.id, found.applied.toGateway(gateway).lists];
}

/** A Service or a ServiceEntry at its waypoints, in whichever namespace. */
function* targetsOf(found: NamespaceAuthorization, served: ServedPolicies): Generator<Place, undefined> {
  const { policies } = found.own;
  for (const name of new Set(policies.flatMap(servicesTargeted)))
    for (const lists of listsAt("Service", name, { found, served })) yield [`Service ${name}`, lists];
  for (const name of new Set(policies.flatMap(entriesTargeted)))
    for (const lists of listsAt("ServiceEntry", name, { found, served })) yield [`ServiceEntry ${name}`, lists];
}

/** Without a waypoint, the policies that target an object are read together as soon as it has one. */
function listsAt(
  kind: "Service" | "ServiceEntry",
  name: string,
  { found, served }: { readonly found: NamespaceAuthorization; readonly served: ServedPolicies },
): readonly (readonly NamedList[])[] {
  const applied = [...served.ofTarget(kind, name, true)].map((one) => one.applied.lists);
  if (applied.length > 0) return applied;
  // A Service that is not known is assumed to use the only waypoint of its namespace.
  const isOneWaypoint = found.gateways.filter(({ isWaypoint }) => isWaypoint).length === 1;
  if (kind === "Service" && isOneWaypoint && !served.isThere(kind, name)) return [found.applied.toService(name).lists];
  return [found.applied.targeting({ kind, metadata: { name } }, found.controlPlaneOfWaypoint)];
}
