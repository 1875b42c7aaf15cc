import { keyOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { clientProxies } from "../membership/clients.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { mtlsOf, peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { sidecarsOfPassing } from "../traffic/bound-ports.ts";
import { rulesReadByEach } from "../traffic/destination-rule-lookup.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import { hasOwnClients, namespaceOfClientRule } from "../traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../traffic/destination-rules.ts";
import { isWildcard } from "../traffic/hosts.ts";
import { type Arrival, Servers } from "./arrivals.ts";
import { clientTlsOf } from "./client-tls.ts";
import {
  type Destination,
  namespaceAndAll,
  namespacesOfRule,
  ofServices,
  selecting,
  serviceDestinationReads,
} from "./destinations.ts";
import { type Use, usesOf } from "./paths.ts";
import { portsRefusing, type Refusal, refusalOf, type SetTls, tlsSetBy } from "./refused-tls.ts";

/** Whether a DestinationRule for a wildcard makes its clients use TLS for every server. */
const setsTlsForMany = (rule: DestinationRule, settings: MeshSettings): boolean =>
  isWildcard(hostOfRule(rule, settings)) && setsTls(rule.spec.trafficPolicy);

const setsTls = (policy: DestinationRule["spec"]["trafficPolicy"]): boolean =>
  tlsSetBy(policy?.tls) !== undefined || policy?.portLevelSettings.some(({ tls }) => tlsSetBy(tls)) === true;

/** A namespace, and the DestinationRules for wildcards that make clients of its services use TLS. */
const tlsWildcardsOfNamespace = relation(
  "tlsWildcardsOfNamespace",
  namespaceAndAll,
  index("DestinationRule", (rule, settings) =>
    setsTlsForMany(rule, settings) ? namespacesOfRule(rule, settings) : [],
  ),
);

/** A Service with workloads that do not accept what a DestinationRule for a wildcard makes its clients use. */
export interface RefusedByWildcard {
  readonly rule: DestinationRule;
  /** The path of the field in the DestinationRule. */
  readonly at: Path;
  readonly tls: SetTls;
  readonly service: ObjectOf<"Service">;
  readonly host: string;
  readonly refusals: readonly Refusal[];
}

const reads = [
  tlsWildcardsOfNamespace,
  ...serviceDestinationReads,
  workloadsOfNamespace,
  peerAuthenticationsOfNamespace,
  sidecarsOfPassing,
  readers,
  clientProxies,
  namespaceOfClientRule,
] as const;
type View = MeshView<(typeof reads)[number]>;

/**
 * What clients of a namespace's Services get from DestinationRules for wildcards, and workloads do not accept. A more specific
 * DestinationRule in the same namespace takes precedence (Istio pilot/pkg/model/push_context.go destinationRule,
 * MostSpecificHostMatch). Without a subset in a route, clients use the settings for all of the host.
 */
export const refusedByWildcards = fact(
  "refusedByWildcards",
  "Namespace",
  reads,
  (namespace, mesh): readonly RefusedByWildcard[] => {
    if (mesh.related(tlsWildcardsOfNamespace, namespace).length === 0) return [];
    const { settings } = mesh;
    const servers = new Servers(namespace, mtlsOf(namespace, mesh), mesh);
    const at = { namespace, servers, refusalsOf: { mTLS: remembered("mTLS"), TLS: remembered("TLS") }, mesh };
    const found: RefusedByWildcard[] = [];
    const isWide: Parameters<typeof ofServices>[3] = ({ rules }) =>
      rules.some((rule) => setsTlsForMany(rule, settings));
    for (const destination of ofServices(namespace, mesh, selecting(namespace, mesh), isWide)) {
      if (destination.workloads.length === 0) continue;
      for (const rules of rulesReadByEach(destination.rules, destination.host, settings))
        for (const use of usesOf(rules, namespace.metadata.name, destination, settings))
          found.push(...refusedIn(use, destination, at));
    }
    return found;
  },
);

/** Services with the same selector share the list of their workloads. */
function remembered(tls: SetTls): (arrival: Arrival) => Refusal | undefined {
  const known = new Map<readonly Workload[], Refusal | undefined>();
  return (arrival) => {
    if (!known.has(arrival.workloads)) known.set(arrival.workloads, refusalOf(arrival, tls, nobody));
    return known.get(arrival.workloads);
  };
}
const nobody: ReadonlySet<never> = new Set();

interface At {
  readonly refusalsOf: Readonly<Record<SetTls, ReturnType<typeof remembered>>>;
  readonly namespace: Namespace;
  readonly servers: Servers;
  readonly mesh: View;
}

function* refusedIn(
  use: Use,
  destination: Destination,
  { namespace, servers, refusalsOf, mesh }: At,
): Iterable<RefusedByWildcard> {
  const { object: service, host } = destination;
  if (service?.kind !== "Service" || !setsTls(use.used.trafficPolicy)) return;
  for (const tls of ["mTLS", "TLS"] as const) {
    for (const { rule, at, ports } of fieldsFor(portsRefusing(service, tls), tls, use.used)) {
      mesh.visited(ports.length);
      if (!isWildcard(hostOfRule(rule, mesh.settings)) || !isUsed(use, rule, { namespace, mesh })) continue;
      const arrivals = servers.arrivals(destination, () => ports, undefined);
      const refusals = arrivals.flatMap((arrival) => refusalsOf[tls](arrival) ?? []);
      if (refusals.length > 0) yield { rule, at, tls, service, host, refusals };
    }
  }
}
/** A field that sets TLS, and the ports for which it does. */
interface Field extends Pick<RefusedByWildcard, "rule" | "at"> {
  readonly ports: number[];
}

function fieldsFor(ports: readonly number[], tls: SetTls, used: MergedDestinationRule): Iterable<Field> {
  const fields = new Map<string, Field>();
  for (const port of ports) {
    const { rule, at, tls: sent } = clientTlsOf(used, port);
    if (rule === undefined || at === undefined || sent !== (tls === "mTLS" ? "mtls" : "tls")) continue;
    const key = [keyOf(rule), ...at].join();
    const field = fields.get(key);
    if (field === undefined) fields.set(key, { rule, at, ports: [port] });
    else field.ports.push(port);
  }
  return fields.values();
}

/** Whether some client's proxy may use the rule. */
const isUsed = (
  { clients }: Use,
  rule: DestinationRule,
  { namespace, mesh }: Pick<At, "namespace" | "mesh">,
): boolean =>
  clients.flat().some((client) => {
    if (client === namespace.metadata.name) return mesh.get(clientProxies, namespace) !== false;
    return client !== rule.metadata.namespace || hasOwnClients(rule, mesh) !== false;
  });
