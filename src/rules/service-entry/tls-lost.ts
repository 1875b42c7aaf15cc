import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { clientTlsOf } from "../../mesh/client-tls/client-tls.ts";
import {
  isOriginating,
  keysOfHosts,
  originates,
  originatingRuleByHost,
} from "../../mesh/client-tls/originating-rules.ts";
import { hasSidecars } from "../../mesh/membership/clients.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { namespaceOfEntry, serviceVisibleTo } from "../../mesh/traffic/definition-choice.ts";
import { DestinationRulesByHost } from "../../mesh/traffic/destination-rule-lookup.ts";
import { namespaceOfClientRule } from "../../mesh/traffic/destination-rule-services.ts";
import {
  type RulesOverHost,
  unusedDestinationRules,
  type UsedDestinationRules,
} from "../../mesh/traffic/destination-rules-of-host.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import { policyRulesOfEntry } from "../../mesh/traffic/policy-rules.ts";
import { isExternal, isTcpProtocol, isTlsProtocol, portsBehind } from "../../mesh/traffic/service-entry-hosts.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A ServiceEntry and the DestinationRules, of any namespace, that decide about TLS to its hosts. */
const rulesOfEntryHosts = relation(
  "rulesOfEntryHosts",
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) && isExternal(entry) ? keysOfHosts(entry.spec.hosts, entry.metadata.namespace) : [],
  ),
  originatingRuleByHost,
);

const reads = [rulesOfEntryHosts, policyRulesOfEntry, namespaceOfEntry, namespaceOfClientRule, hasSidecars] as const;
interface Side {
  readonly object: ServiceEntry;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const serviceEntryTlsLost = defineRule({
  id: "service-entry-tls-lost",
  subject: "ServiceEntry",
  reads,
  worksWithout: ["BackendTLSPolicy", "Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  // The server may accept plaintext too.
  stage: "trial",
  tags: ["mtls"],
  summary: "Clients send plaintext to a host outside the mesh, for which a DestinationRule makes or made TLS.",
  why: "Clients use one DestinationRule, first their own namespace's (Istio pilot/pkg/model/push_context.go destinationRule), and a port in portLevelSettings inherits no tls (pilot/pkg/networking/util/util.go GetPortLevelTrafficPolicy). Sidecars make no TLS of one with credentialName and without workloadSelector (pilot/pkg/networking/core/cluster_tls.go buildUpstreamClusterTLSContext).",
  fix: "Set tls in the DestinationRule that these clients use, also in portLevelSettings for the port. Sidecars need a workloadSelector beside credentialName.",
  incident: {
    symptoms: ["plaintext", "reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests leave the mesh unencrypted. The server answers 400 or resets them.",
    wayOut: "Apply the previous DestinationRule: clients use TLS again within seconds.",
    silentWhen:
      "The protocol of the port is HTTPS or TLS, it leads to port 80, it is TCP without targetPort, unless there are only such ports and the DestinationRule stays without TLS, a subset sets TLS, only some pods lose it, or no DestinationRule set it before.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-tls-origination/",
  },

  *check(object, mesh) {
    yield* lossesIn({ object, mesh });
  },

  *compare(before, after) {
    yield* lossesIn(after, before);
  },
});

function* lossesIn({ object: entry, mesh }: Side, before?: Side): Iterable<Problem | undefined> {
  const ports = isServed(entry, mesh.settings) && isExternal(entry) ? portsOf(entry, before !== undefined) : [];
  if (ports.length === 0) return;
  const rules = rulesOf({ object: entry, mesh });
  const rulesBefore = before && rulesOf(before);
  for (const host of entry.spec.hosts) {
    yield;
    const groups = groupsOf(entry, rules.over(host), rulesBefore?.over(host), mesh);
    mesh.visited(groups.length * ports.length);
    for (const { i, port, isSure } of ports) {
      const lost = lossAmong(isSure ? groups : groups.filter(usesRule), port, { object: entry, mesh });
      if (lost !== undefined) yield { ...problemOf(lost, `port ${port} of "${host}"`), at: ["spec", "ports", i] };
    }
  }
}

/**
 * The ports at which TLS is the proxy's to make, with their positions: no server expects it at port 80, and at a port for TCP that leads
 * to no other port, the application may speak TLS itself. If there is no other port, it did not where a proxy has made TLS before; whoever
 * deletes the DestinationRule may have changed that.
 */
function portsOf({ spec }: ServiceEntry, isCompared: boolean): readonly Port[] {
  const all = [...spec.ports.entries()].filter(
    ([, port]) => !isTlsProtocol(port.protocol) && !portsBehind(spec, port).every((behind) => behind === 80),
  );
  const sure = all.filter(
    ([, port]) =>
      !isTcpProtocol(port.protocol) ||
      portsBehind(spec, port).some((behind) => behind !== port.number && behind !== 80),
  );
  const isSure = sure.length > 0 || !isCompared;
  return (isSure ? sure : all).map(([i, { number = 0 }]) => ({ i, port: number, isSure }));
}

interface Port {
  /** Its position. */
  readonly i: number;
  readonly port: number;
  /** Not so if it counts only for clients that still have a DestinationRule. */
  readonly isSure: boolean;
}

const rulesOf = ({ object, mesh }: Side): DestinationRulesByHost =>
  new DestinationRulesByHost(
    [...mesh.get(policyRulesOfEntry, object).values(), ...mesh.related(rulesOfEntryHosts, object)],
    mesh.settings,
  );

/**
 * Clients that use the same DestinationRules as each other, before the change and after it, with the first of their namespaces; `""`:
 * those that are not named.
 */
type Group = readonly [client: string, after: UsedDestinationRules, before: UsedDestinationRules];

const usesRule = ([, after]: Group): boolean => after.some((merged) => merged !== undefined);

/** The groups that get the ServiceEntry, that of its own namespace first. */
function groupsOf(
  entry: ServiceEntry,
  after: RulesOverHost,
  before: RulesOverHost | undefined,
  mesh: Side["mesh"],
): readonly Group[] {
  const rules = [...after.rules, ...(before?.rules ?? [])];
  const owner = entry.metadata.namespace;
  const named = rules.flatMap(({ metadata, spec }) => [metadata.namespace, ...spec.exportTo]);
  const clients = new Set([owner, "", ...named.sort()]);
  mesh.visited(clients.size);
  const seen = serviceVisibleTo(entry, mesh.settings);
  // Of exportTo, "*" and the like are no namespaces.
  const all = [...clients].filter((client) => !/[*.~]/.test(client) && includesNamespace(seen, client));
  const groups = all.map(
    (client): Group => [client, after.usedBy(client, owner), before?.usedBy(client, owner) ?? unusedDestinationRules],
  );
  const alike = Map.groupBy(groups, ([, used]) => used);
  return [...alike.values()].flatMap((some) =>
    [...Map.groupBy(some, ([, , used]) => used).values()].flatMap((same) => same.slice(0, 1)),
  );
}

/**
 * Whether no client of a group makes TLS any more, or settings for the port hide now what is meant for all. `isGateway`: of the clients
 * that may read credentials, as opposed to sidecars.
 */
function isLost([, after, before]: Group, port: number, isGateway: boolean): boolean {
  const sends = (used: UsedDestinationRules, what: "tls" | "mtls") =>
    used.some((merged) => clientTlsOf(merged, port, undefined, isGateway).tls === what);
  const isOfSubset = after.some((merged) => merged?.subsets.some(({ trafficPolicy }) => originates(trafficPolicy)));
  if (isOfSubset || sends(after, "tls") || sends(after, "mtls")) return false;
  return sends(before, "tls") || (hides(after, port, isGateway) && !hides(before, port, isGateway));
}

const hides = (used: UsedDestinationRules, port: number, isGateway: boolean): boolean =>
  used.some(
    (merged) =>
      isOriginating(merged?.trafficPolicy?.tls) && clientTlsOf(merged, port, undefined, isGateway).lost !== undefined,
  );

interface Loss {
  readonly group: Group;
  readonly why: string;
}

/** The first group that loses TLS: all its clients, or else its sidecars. */
function lossAmong(groups: readonly Group[], port: number, side: Side): Loss | undefined {
  const all = groups.find((group) => isLost(group, port, true));
  if (all !== undefined) return { group: all, why: "sets no TLS for it" };
  const sidecars = groups.find((group) => isLost(group, port, false) && isOfSidecars(group, side));
  const why = "has credentialName and no workloadSelector, which has no effect at sidecars";
  return sidecars && { group: sidecars, why };
}

/** Whether clients of a group certainly have sidecars, in the namespace of the ServiceEntry or of a DestinationRule that they use. */
function isOfSidecars([client, after]: Group, { object: entry, mesh }: Side): boolean {
  const own = after.flatMap((merged) => merged?.from ?? []).find(({ metadata }) => metadata.namespace === client);
  const [namespace] =
    client === entry.metadata.namespace
      ? mesh.related(namespaceOfEntry, entry)
      : own === undefined
        ? []
        : mesh.related(namespaceOfClientRule, own);
  return namespace !== undefined && mesh.get(hasSidecars, namespace);
}

function problemOf({ group: [client, after], why }: Loss, where: string): Omit<Problem, "at"> {
  const used = after.flatMap((merged) => merged?.from.slice(0, 1) ?? []);
  return {
    message: `Clients in ${client === "" ? "other namespaces" : `"${client}"`} send plaintext to ${where}, which is outside the mesh: ${used[0] === undefined ? "no DestinationRule sets TLS for it" : `${idOf(used[0])} ${why}`}`,
    key: where,
    related: used,
    evidence: used,
  };
}
