import { absentHere, type Evidence, present } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isHeadless, podsNearService, type Service } from "../../mesh/membership/services.ts";
import { mayGetRole, type Workload } from "../../mesh/membership/workloads.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { givenLabels } from "../../mesh/objects/labels.ts";
import { areMisspelt } from "../../mesh/objects/misspelt-labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import { entriesOfDestinationRule, servicesOfDestinationRule } from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { hostKey, isWildcard } from "../../mesh/traffic/hosts.ts";
import { entriesOfSubsets, servicesOfSubsets } from "../../mesh/traffic/subset-policies.ts";
import {
  aliasedToSubsets,
  delegatedToSubsets,
  delegatesToSubsets,
  type RoutedRequests,
  subsetKey,
  virtualServicesToSubsets,
  virtualServicesToWildcardSubsets,
} from "../../mesh/traffic/subset-use.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { waysToWildcardSubsets, wildcardSubsetName, wildcardSubsets } from "../../mesh/traffic/wildcard-subsets.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type Subset = DestinationRule["spec"]["subsets"][number];
type Identity = ReturnType<typeof present> | VirtualService | Service;

const uses = [virtualServicesToSubsets, delegatesToSubsets, delegatedToSubsets, aliasedToSubsets] as const;
type Uses = (typeof uses)[number];
const subsetsAt = reachedBy(wildcardSubsets, waysToWildcardSubsets);
const ofWildcards = [virtualServicesToWildcardSubsets, subsetsAt, servicesOfSubsets, entriesOfSubsets] as const;
type OfWildcards = (typeof ofWildcards)[number];

export const destinationRuleSubsetEmpty = defineRule({
  id: "destination-rule-subset-empty",
  subject: "DestinationRule",
  reads: [servicesOfDestinationRule, podsNearService, entriesOfDestinationRule, ...uses, ...ofWildcards],
  mode: "warn",
  since: "0.1.0",
  tags: ["canary"],
  summary:
    "Requests are routed to a subset whose labels no workload of the Service and no endpoint of the ServiceEntry has.",
  why: "The subset is a cluster without endpoints, and Envoy answers 503 (Istio pilot/pkg/xds/endpoints/endpoint_builder.go). Sidecars have a cluster without endpoints of its own for a headless Service and with the load balancer PASSTHROUGH, where subsets make no difference (pilot/pkg/networking/core/cluster.go convertResolution). For a ServiceEntry with DNS, there is no cluster at all (pilot/pkg/networking/core/cluster_builder.go buildSubsetCluster). Labels of pod templates count, also of workloads that are scaled to zero. Where no workload of the service has such a label, or one with nearly the same name, the versions are not deployed yet, unless a route sends all its requests there. Subsets that Argo Rollouts manages, or that select by the place of a pod, are left alone.",
  fix: "Correct the labels of the subset, deploy the workload first, or route no requests to the subset.",
  incident: {
    symptoms: ["no-endpoints"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Only the share of the requests that goes to this subset fails.",
    wayOut:
      "Set the weight of the subset to 0, or remove the route to it. Requests that are already routed elsewhere are not touched.",
    silentWhen:
      "No request is routed to the subset, the DestinationRule is for a wildcard and there is a rule or a BackendTLSPolicy for the host itself, or a rule for a narrower wildcard, a route names an ExternalName for a host of a wildcard, a delegate names an ExternalName, no workload of the Service has such a label at all and it gets only a share or some of the requests, the subset is managed by Argo Rollouts, it selects by the place of a pod or by the role that an operator or Patroni gives to pods, the Service is headless and only sidecars follow the route, the load balancer is PASSTHROUGH, or not all workloads are known. Of a ServiceEntry, one with a workloadSelector or without a fixed list of endpoints (resolution NONE).",
    page: "https://istio.io/latest/docs/reference/config/networking/destination-rule/",
  },

  *check(rule, mesh) {
    if (!isServed(rule, mesh.settings) || isLeftAlone(rule)) return;
    const host = hostOfRule(rule, mesh.settings);
    if (isWildcard(host)) {
      yield* amongCovered(rule, host, mesh);
      return;
    }
    const services = mesh.related(servicesOfDestinationRule, rule);
    const entries = mesh.related(entriesOfDestinationRule, rule);
    const usersOf = (subset: string, requests: RoutedRequests) => usersOfHost(rule, [host, subset, requests], mesh);
    yield* atHost({ rule, host, subsets: [...rule.spec.subsets.keys()], services, entries, usersOf }, mesh);
  },
});

/** A host that a DestinationRule is used for, and what defines it. */
interface Target {
  readonly rule: DestinationRule;
  readonly host: string;
  /** The positions of the subsets. */
  readonly subsets: readonly number[];
  readonly services: readonly Service[];
  readonly entries: readonly ServiceEntry[];
  /** Who sends these requests to a subset of the host; empty: nobody. */
  readonly usersOf: (subset: string, requests: RoutedRequests) => Generator<undefined, readonly Identity[]>;
}

/** Each subset of a rule for a wildcard is one of every host for which no rule is more specific. */
function* amongCovered(
  rule: DestinationRule,
  wildcard: string,
  mesh: MeshView<OfWildcards | typeof podsNearService>,
): Iterable<Problem | undefined> {
  // Without a VirtualService, the key of the rule leads to nothing.
  if (mesh.related(virtualServicesToWildcardSubsets, rule).length === 0) return;
  const known = yield* mesh.get(subsetsAt, hostKey(wildcard)).subsets();
  for (const [i, { name }] of rule.spec.subsets.entries()) {
    const subset = known.get(wildcardSubsetName(wildcard, name));
    if (subset?.definedBy.has(rule) !== true) continue;
    for (const [host, users] of subset.hosts) {
      yield;
      const services = mesh.under(servicesOfSubsets, [host]);
      const entries = mesh.under(entriesOfSubsets, [host]);
      const usersOf: Target["usersOf"] = function* (_subset, requests) {
        const found = users.get(subsetKey(host, name, requests));
        if (found === undefined) return [];
        yield undefined;
        const [user, root] = found;
        return user === root ? [present(user)] : [user, root];
      };
      yield* atHost({ rule, host, subsets: [i], services, entries, usersOf }, mesh);
    }
  }
}

function* atHost(target: Target, mesh: MeshView<typeof podsNearService>): Iterable<Problem | undefined> {
  if (target.services.length === 0) yield* amongEndpoints(target);
  if (!mesh.knowsAll("Workload")) return;
  for (const service of target.services) {
    const pods = mesh.get(podsNearService, service)?.among(service.spec.selector);
    // They are elsewhere, or do not run yet.
    if (pods === undefined || pods.all.length === 0) continue;
    yield* amongPods(target, podsWithNames(pods), service, mesh);
  }
}

/** Subsets without a pod of a Service. */
function* amongPods(
  target: Target,
  known: PodsOfService,
  service: Service,
  mesh: MeshView,
): Iterable<Problem | undefined> {
  const evidence = absentHere("Workload", service.metadata.namespace);
  const atGatewaysOnly = isHeadless(service);
  for (const i of target.subsets) {
    yield;
    const subset = target.rule.spec.subsets[i] as Subset;
    if (isPlaced(subset) || known.pods.selected(subset.labels).length > 0) continue;
    if (mayGetRole(subset.labels, (some) => known.pods.selected(some), mesh)) continue;
    const isWhole = !areVersions(subset, known, mesh);
    yield* problemOf(target, { i, of: "workload", evidence, isWhole, atGatewaysOnly });
  }
}

/** Subsets of a host that only ServiceEntries define, which list all of its endpoints. */
function* amongEndpoints(target: Target): Iterable<Problem | undefined> {
  const { rule, subsets, entries } = target;
  const [entry] = entries;
  if (entry === undefined || !entries.every(listsEndpoints)) return;
  const endpoints = new Labelled(
    entries.flatMap(({ spec }) => spec.endpoints),
    ({ labels }) => labels,
  );
  for (const i of subsets) {
    yield;
    const subset = rule.spec.subsets[i] as Subset;
    // Without labels, all endpoints are its own, also the host that DNS resolves.
    const isPart = Object.keys(subset.labels).length > 0 && !isPlaced(subset);
    if (isPart && endpoints.selected(subset.labels).length === 0)
      yield* problemOf(target, { i, of: "endpoint", evidence: entry });
  }
}

/** Without endpoints, DNS has the host itself as its only one, which has no labels. */
const listsEndpoints = ({ spec: { resolution, workloadSelector } }: ServiceEntry): boolean =>
  workloadSelector === undefined && (resolution === "STATIC" || resolution?.startsWith("DNS") === true);

/** Whether pods of the Service have these labels with other values, or misspelt. Otherwise the versions are not deployed yet. */
function areVersions(subset: Subset, { pods, names }: PodsOfService, mesh: MeshView): boolean {
  const keys = Object.keys(subset.labels);
  mesh.visited(pods.all.length);
  const areAll = pods.all.some(({ pod }) => keys.every((key) => pod.labels[key] !== undefined));
  return areAll || areMisspelt(keys, names());
}

interface PodsOfService {
  readonly pods: Labelled<Workload>;
  /** The names of their labels, each once. */
  readonly names: () => ReadonlySet<string>;
}

function podsWithNames(pods: Labelled<Workload>): PodsOfService {
  let names: ReadonlySet<string> | undefined;
  return { pods, names: () => (names ??= new Set(pods.all.flatMap(({ pod }) => Object.keys(pod.labels)))) };
}

interface Empty {
  /** The position of the subset. */
  readonly i: number;
  readonly of: "workload" | "endpoint";
  /** That there is none. */
  readonly evidence: Evidence;
  /** Only routes count that send all their requests there: nobody does that before the version is deployed. */
  readonly isWhole?: boolean;
  /** Sidecars send requests for a headless Service to the address that the application has chosen, whatever the subset is. */
  readonly atGatewaysOnly?: boolean;
}

/** Only if requests are routed there. */
function* problemOf(
  { rule, host, usersOf }: Target,
  { i, of, evidence, isWhole = false, atGatewaysOnly = false }: Empty,
): Iterable<Problem | undefined> {
  if (keepsAddress(rule, i)) return;
  const { name = "", labels = {} } = rule.spec.subsets[i] ?? {};
  const requests = isWhole ? "all" : "some";
  const users = yield* usersOf(name, atGatewaysOnly ? `${requests} at gateways` : requests);
  const [user] = users;
  if (user === undefined) return;
  yield {
    at: ["spec", "subsets", i, "labels"],
    message: `No ${of} of "${host}" has ${formatLabels(labels)}, and ${idOf(user)} routes requests to subset "${name}"`,
    key: JSON.stringify([host, name, labels]),
    related: users,
    evidence: [...users, evidence],
  };
}

/** A VirtualService that sends these requests to a subset, with the one that delegates to it or another name for the host, if there is one. */
function* usersOfHost(
  rule: DestinationRule,
  [host, subset, requests]: Parameters<typeof subsetKey>,
  mesh: MeshView<Uses>,
): Generator<undefined, readonly Identity[]> {
  const key = subsetKey(host, subset, requests);
  const [found] = mesh.under(virtualServicesToSubsets, [key]);
  if (found !== undefined) return [present(found)];
  for (const delegate of mesh.under(delegatesToSubsets, [subsetKey(host, subset, "some")])) {
    yield undefined;
    const root = mesh.get(delegatedToSubsets, delegate).get(key);
    if (root !== undefined) return [delegate, root];
  }
  const aliased = mesh.get(aliasedToSubsets, rule).get(key);
  return aliased === undefined ? [] : [aliased.user, aliased.alias];
}

/** Whether Envoy sends requests to the address that the client has chosen (pilot/pkg/networking/core/cluster_traffic_policy.go). */
const keepsAddress = ({ spec: { trafficPolicy, subsets } }: DestinationRule, i: number): boolean =>
  [trafficPolicy, subsets[i]?.trafficPolicy].some((policy) => policy?.loadBalancer?.simple === "PASSTHROUGH");

/** Whether controllers set the labels of all its subsets. */
const isLeftAlone = ({ metadata, spec }: DestinationRule): boolean =>
  spec.subsets.every(isPlaced) || Object.keys(metadata.annotations).some((key) => key.startsWith(rollouts));
const rollouts = "argo-rollouts.argoproj.io/";

/** Labels that istiod, a controller or an operator adds to pods. */
const isPlaced = ({ labels }: Subset): boolean =>
  Object.keys(labels).some(
    (key) =>
      givenLabels.has(key) ||
      key.startsWith("topology.") ||
      key.startsWith("statefulset.kubernetes.io/") ||
      key.startsWith("apps.kubernetes.io/"),
  );
