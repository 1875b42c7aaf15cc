import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { clientTlsOf } from "../../mesh/client-tls/client-tls.ts";
import {
  isOriginating,
  keysOfHosts,
  originates,
  originatesTls,
  originatingRuleByHost,
} from "../../mesh/client-tls/originating-rules.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { serviceVisibleTo } from "../../mesh/traffic/definition-choice.ts";
import { DestinationRulesByHost } from "../../mesh/traffic/destination-rule-lookup.ts";
import type { RulesOverHost, UsedDestinationRules } from "../../mesh/traffic/destination-rules-of-host.ts";
import type { DestinationRule } from "../../mesh/traffic/destination-rules.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import { policyRulesOfEntry } from "../../mesh/traffic/policy-rules.ts";
import { isExternal, isTlsProtocol, portsBehind } from "../../mesh/traffic/service-entry-hosts.ts";
import type { MeshSettings } from "../../view/settings.ts";
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

const reads = [rulesOfEntryHosts, policyRulesOfEntry] as const;
interface Side {
  readonly object: ServiceEntry;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const serviceEntryTlsLost = defineRule({
  id: "service-entry-tls-lost",
  subject: "ServiceEntry",
  reads,
  worksWithout: ["BackendTLSPolicy", "Service"],
  mode: "warn",
  since: "0.1.0",
  // The server may accept plaintext too, and the application may speak TLS itself at a port for TCP.
  stage: "trial",
  tags: ["mtls"],
  summary: "Clients send plaintext to a host outside the mesh, for which a DestinationRule makes or made TLS.",
  why: "Where the proxy adds TLS, as for port 80 with targetPort 443, nothing else protects requests outside the mesh. Clients use one DestinationRule, their own namespace's first (Istio pilot/pkg/model/push_context.go destinationRule), and a port in portLevelSettings inherits no tls (pilot/pkg/networking/util/util.go GetPortLevelTrafficPolicy). Auto mTLS does not apply to hosts outside (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings).",
  fix: "Set tls with mode SIMPLE or MUTUAL in the DestinationRule that these clients use, also in its portLevelSettings for the port.",
  incident: {
    symptoms: ["plaintext", "reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests and their tokens leave the mesh unencrypted. The server answers 400, as to HTTP at an HTTPS port, or resets connections.",
    wayOut: "Apply the previous DestinationRule: clients use TLS again within seconds.",
    silentWhen:
      "The protocol of the port is HTTPS or TLS (virtual-service-http-to-tls-port), the port leads to port 80, a subset sets TLS, only some pods of a namespace lose it, or no DestinationRule ever set TLS for these clients.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-tls-origination/",
  },

  *check(object, mesh) {
    yield* lossesIn({ object, mesh });
  },

  *compare(before, after) {
    yield* lossesIn(after, before);
  },
});

function* lossesIn(after: Side, before?: Side): Iterable<Problem | undefined> {
  const { object: entry, mesh } = after;
  const ports = portsOf(entry, mesh.settings);
  const rules = { after: rulesOf(after), before: before === undefined ? [] : rulesOf(before) };
  if (ports.length === 0 || ![...rules.after, ...rules.before].some(originatesTls)) return;
  const by = new DestinationRulesByHost(rules.after, mesh.settings);
  const byBefore = before && new DestinationRulesByHost(rules.before, before.mesh.settings);
  const portsBefore = new Set(before && portsOf(before.object, before.mesh.settings).map(([, number]) => number));
  for (const host of entry.spec.hosts) {
    yield;
    const groups = groupsOf(entry, { after: by.over(host), before: byBefore?.over(host) }, mesh);
    for (const [i, number] of ports) {
      mesh.visited(groups.length);
      const lost = groups.flatMap((group) => lossOf(group, number, portsBefore.has(number)) ?? []);
      yield* problemsOf(lost, groups, { host, number, i });
    }
  }
}

/** The ports to which the application sends plaintext, with their positions: at port 80, no server expects TLS. */
function portsOf(entry: ServiceEntry, settings: MeshSettings): readonly (readonly [i: number, number: number])[] {
  if (!isServed(entry, settings) || !isExternal(entry)) return [];
  return entry.spec.ports.flatMap((port, i) => {
    const isPlain = !isTlsProtocol(port.protocol) && portsBehind(entry.spec, port).some((behind) => behind !== 80);
    return port.number === undefined || !isPlain ? [] : [[i, port.number] as const];
  });
}

const rulesOf = ({ object, mesh }: Side): readonly DestinationRule[] => [
  ...mesh.get(policyRulesOfEntry, object).values(),
  ...mesh.related(rulesOfEntryHosts, object),
];

/** Clients that use the same DestinationRules as each other, before the change and after it. */
interface Group {
  /** `""`: those of all namespaces that are not named. */
  readonly client: string;
  readonly after: UsedDestinationRules;
  readonly before: UsedDestinationRules | undefined;
}

/** The groups that get the ServiceEntry; of some, one namespace stands for all. */
function groupsOf(
  entry: ServiceEntry,
  { after, before }: { readonly after: RulesOverHost; readonly before: RulesOverHost | undefined },
  mesh: Side["mesh"],
): readonly Group[] {
  const rules = [...after.rules, ...(before?.rules ?? [])];
  if (!rules.some(originatesTls)) return [];
  const owner = entry.metadata.namespace;
  const named = rules.flatMap(({ metadata, spec }) => [metadata.namespace, ...spec.exportTo]);
  const seen = serviceVisibleTo(entry, mesh.settings);
  const found = new Map<UsedDestinationRules, Map<UsedDestinationRules | undefined, Group>>();
  const clients = new Set(["", owner, ...named]);
  mesh.visited(clients.size);
  for (const client of clients) {
    if (["*", ".", "~"].includes(client) || !includesNamespace(seen, client)) continue;
    const group = { client, after: after.usedBy(client, owner), before: before?.usedBy(client, owner) };
    const alike = found.get(group.after) ?? new Map();
    found.set(group.after, alike);
    if (!alike.has(group.before)) alike.set(group.before, group);
  }
  return [...found.values()].flatMap((alike) => [...alike.values()]);
}

interface Loss {
  readonly group: Group;
  readonly existed: boolean;
}

/** Undefined: these clients use TLS, or never did. */
function lossOf(group: Group, port: number, wasThere: boolean): Loss | undefined {
  const after = sentBy(group.after, port);
  const before = sentBy((wasThere && group.before) || [], port);
  if (after.isTls || after.isOfMesh || (!before.isTls && !after.isHidden)) return undefined;
  return { group, existed: !before.isTls && before.isHidden };
}

/**
 * `isTls`: some clients of a group originate TLS, or may; `isOfMesh`: with the certificates of the mesh; `isHidden`: settings for the port hide the TLS that is meant. Some proxies
 * may read credentials.
 */
function sentBy(
  used: UsedDestinationRules,
  port: number,
): { readonly isTls: boolean; readonly isOfMesh: boolean; readonly isHidden: boolean } {
  const choices = used.map((merged) => ({
    ...clientTlsOf(merged, port, undefined, true),
    meant: merged?.trafficPolicy?.tls,
  }));
  const isOfSubset = used.some((merged) => merged?.subsets.some(({ trafficPolicy }) => originates(trafficPolicy)));
  return {
    isTls: isOfSubset || choices.some(({ tls }) => tls === "tls"),
    isOfMesh: choices.some(({ tls }) => tls === "mtls"),
    isHidden: choices.some(({ lost, meant }) => lost !== undefined && isOriginating(meant)),
  };
}

function* problemsOf(
  lost: readonly Loss[],
  groups: readonly Group[],
  { host, number, i }: { readonly host: string; readonly number: number; readonly i: number },
): Iterable<Problem> {
  const [first] = lost;
  if (first === undefined) return;
  const [rule] = first.group.after.flatMap((merged) => merged?.from ?? []);
  yield {
    at: ["spec", "ports", i],
    message: `${lost.length === groups.length ? "Clients" : clientsOf(first.group)} send plaintext to port ${number} of "${host}", which is outside the mesh: ${rule === undefined ? "no DestinationRule that they use sets TLS" : `${idOf(rule)} sets no TLS for the port`}`,
    key: JSON.stringify([host, number]),
    related: rule === undefined ? [] : [rule],
    evidence: rule === undefined ? [] : [rule],
    ...(lost.every(({ existed }) => existed) ? { existed: true } : {}),
  };
}

const clientsOf = ({ client }: Group): string =>
  client === "" ? "Clients in other namespaces" : `Clients in "${client}"`;
