import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { clientProxies } from "../../mesh/membership/clients.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { type DestinationRule, virtualServicesOfDestinationRule } from "../../mesh/traffic/destination-rules.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { type Callers, routing } from "../../mesh/traffic/subset-clients.ts";
import { aliasesOfDestinationRule, subsetUsersOfAlias } from "../../mesh/traffic/subset-aliases.ts";
import { hostOfSubsets, subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import type { SubsetsOfHost } from "../../mesh/traffic/subsets.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { SmallMap } from "../../view/small-map.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A DestinationRule and its namespace. */
const namespaceOfDestinationRule = relation(
  "namespaceOfDestinationRule",
  index("DestinationRule", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

const reads = [
  virtualServicesOfDestinationRule,
  aliasesOfDestinationRule,
  subsetUsersOfAlias,
  namespaceOfDestinationRule,
  clientProxies,
  routing,
  hostOfSubsets,
  subsetsOfHost,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleHidesSubset = defineRule({
  id: "destination-rule-hides-subset",
  subject: "DestinationRule",
  reads,
  worksWithout: ["Gateway", "Service", "ServiceEntry", "Workload", "Sidecar"],
  onlyOwnChanges: true,
  mode: "deny",
  since: "0.1.0",
  tags: ["canary"],
  summary:
    "A DestinationRule for clients replaces the one of the service, without the subsets that they are routed to.",
  why: "A client uses the DestinationRule of its own namespace instead of that of the service; they are not merged (Istio pilot/pkg/model/push_context.go destinationRule). If a VirtualService routes its requests to a subset that only the other one defines, Envoy has no cluster for it and answers 503.",
  fix: "Define the subsets in this DestinationRule as well, or change the DestinationRule of the service instead.",
  incident: {
    symptoms: ["no-cluster"],
    proxies: ["sidecar"],
    seen: "Only clients in the namespace of this DestinationRule get 503, and clients in other namespaces none.",
    wayOut: "Delete this DestinationRule: its clients then use that of the service, which has the subset.",
    silentWhen:
      "The rule is in the root namespace or in that of the service, where virtual-service-subset-not-found reports the missing subset, or no client in its namespace has a sidecar.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(rule, mesh) {
    const { namespace } = rule.metadata;
    if (namespace === mesh.settings.rootNamespace) return;
    const [home] = mesh.related(namespaceOfDestinationRule, rule);
    const hasProxies = home === undefined ? undefined : mesh.get(clientProxies, home);
    if (hasProxies === false) return;
    const reported = new Set<string>();
    const asked: Asked = { mesh, changes: new Map(), sets: new SmallMap() };
    for (const virtualService of usersOf(rule, mesh)) {
      yield;
      for (const { host, subset, instead } of hiddenBy(rule, virtualService, asked)) {
        const key = JSON.stringify([host, subset]);
        if (reported.has(key)) continue;
        reported.add(key);
        yield {
          at: ["spec"],
          message: () =>
            `Subset "${subset}" of "${host}" does not exist for clients in "${namespace}": they use this rule instead of ${idOf(instead)}, which defines it, and ${idOf(virtualService)} routes to it`,
          key,
          evidence: [virtualService, instead],
          ...(hasProxies === undefined ? { onlyWarns: "it is not known whether the namespace has proxies" } : {}),
        };
      }
    }
  },
});

/** The VirtualServices that name subsets of a host which the rule can match, also by another name for the host. */
const usersOf = (rule: DestinationRule, mesh: View): ReadonlySet<VirtualService> =>
  new Set([
    ...mesh.related(virtualServicesOfDestinationRule, rule),
    ...mesh.related(aliasesOfDestinationRule, rule).flatMap((alias) => mesh.related(subsetUsersOfAlias, alias)),
  ]);

interface Asked {
  readonly mesh: View;
  /** By host; undefined: clients do not use the rule. */
  readonly changes: Map<string, HostChange | undefined>;
  /** Of lists of subsets: many hosts have the same. */
  readonly sets: SmallMap<readonly string[], ReadonlySet<string>>;
}

/** What the rule changes for clients of its namespace that send requests to a host. */
interface HostChange {
  /** The subsets that they have by it. */
  readonly left: ReadonlySet<string>;
  /** The rules of other namespaces that they would use otherwise; undefined: any. */
  readonly otherwise: ReadonlySet<DestinationRule> | undefined;
}

interface Hidden {
  readonly host: string;
  readonly subset: string;
  /** The DestinationRule of another namespace that defines the subset, and that clients would use. */
  readonly instead: DestinationRule;
}

function changeOf(rule: DestinationRule, subsets: SubsetsOfHost, { sets }: Asked): HostChange | undefined {
  const { namespace } = rule.metadata;
  const { used, subsets: names } = subsets.lookUp(namespace, "");
  if (!used.includes(rule)) return undefined;
  let left = sets.get(names);
  if (left === undefined) sets.set(names, (left = new Set(names)));
  return { left, otherwise: subsets.otherwiseUsedBy(namespace) };
}

/** The subsets that a VirtualService routes clients in the namespace of the rule to, and that they lack because of it. */
function* hiddenBy(rule: DestinationRule, virtualService: VirtualService, asked: Asked): Iterable<Hidden> {
  const { mesh, changes } = asked;
  const { namespace } = rule.metadata;
  for (const traffic of trafficOf(virtualService)) {
    const { host: said, subset } = traffic.destination;
    if (!subset) continue;
    const named = fullHost(said, virtualService.metadata.namespace, mesh.settings.domain);
    const { host } = mesh.get(hostOfSubsets, named);
    const subsets = mesh.get(subsetsOfHost, named);
    // The owner of a service decides about its subsets, and virtual-service-subset-not-found reports what is missing.
    if (subsets.serviceNamespaces.has(namespace)) continue;
    if (!changes.has(host)) changes.set(host, changeOf(rule, subsets, asked));
    const change = changes.get(host);
    if (change === undefined || change.left.has(subset)) continue;
    const instead = subsets.rules
      .defining(subset)
      .find((one) => one.metadata.namespace !== namespace && change.otherwise?.has(one) !== false);
    if (instead === undefined) continue;
    if (mesh.get(routing, virtualService).callersOf(traffic).some(isFollowedIn(namespace, traffic)))
      yield { host, subset, instead };
  }
}

/** Whether sidecars in a namespace follow the VirtualService. */
const isFollowedIn =
  (namespace: string, { protocol }: Traffic) =>
  ({ root, inOrder, followers, scopes }: Callers): boolean =>
    followers.include(namespace, protocol) &&
    !scopes.hides(root, namespace) &&
    inOrder.some((some) => "sidecars" in some && includesNamespace(some.sidecars, namespace));
