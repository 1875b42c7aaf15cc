import { keyOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation, setting } from "../../view/view.ts";
import { clientProxies } from "../membership/clients.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { workloadsByLabels } from "../membership/captured.ts";
import type { Workload } from "../membership/workloads.ts";
import { disabledAutoMtls, mtlsOf, peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { sidecarsOfPassing } from "../traffic/bound-ports.ts";
import { rulesReadByEach } from "../traffic/destination-rule-lookup.ts";
import type { RulesOverHost } from "../traffic/destination-rules-of-host.ts";
import { hasOwnClients, namespaceOfClientRule } from "../traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../traffic/destination-rules.ts";
import { isWildcard } from "../traffic/hosts.ts";
import { Servers } from "./arrivals.ts";
import { clientTlsOf, portsApart, withAutoMtls } from "./client-tls.ts";
import {
  type Destination,
  namespaceAndAll,
  namespacesOfRule,
  ofServices,
  selecting,
  serviceDestinationReads,
} from "./destinations.ts";
import { otherThan, type Use, usesOf } from "./paths.ts";
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

/** A field of a DestinationRule for a wildcard that makes clients use TLS which workloads do not accept. */
export interface RefusedByWildcard {
  readonly rule: DestinationRule;
  /** The path of the field in the DestinationRule. */
  readonly at: Path;
  readonly tls: SetTls;
  /** By the reason. Fields for the same ports share the list. */
  readonly refused: readonly RefusedAtHosts[];
}

/** Workloads that refuse TLS for one reason, and the first of the Services that lead to them. */
export interface RefusedAtHosts {
  readonly refusal: Refusal;
  readonly service: ObjectOf<"Service">;
  /** At least one, the first one that of the Service. */
  readonly hosts: readonly [string, ...string[]];
}

const reads = [
  tlsWildcardsOfNamespace,
  ...serviceDestinationReads,
  workloadsByLabels,
  peerAuthenticationsOfNamespace,
  sidecarsOfPassing,
  readers,
  clientProxies,
  namespaceOfClientRule,
  setting("autoMtls"),
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
    const isWide: Parameters<typeof ofServices>[3] = ({ rules }) =>
      rules.some((rule) => setsTlsForMany(rule, settings));
    const all = [...ofServices(namespace, mesh, selecting(namespace, mesh), isWide)];
    return alike(all.filter(({ workloads }) => workloads.length > 0)).flatMap(([rules, some]) => {
      const [first] = some as [Destination];
      const refusing = new Refusing(some, servers, mesh);
      if (refusing.areNone) return [];
      return [...rulesReadByEach(rules, first.host, settings)].flatMap((read) =>
        usesOf(read, namespace.metadata.name, first, settings).flatMap((use) => [
          ...refusedBy(use, refusing, { namespace, mesh }),
        ]),
      );
    });
  },
);

/** Services whose clients use the same DestinationRules; each alone whose host other objects define too. */
function alike(all: readonly Destination[]): readonly (readonly [RulesOverHost, readonly Destination[]])[] {
  const together = Map.groupBy(
    all.filter(({ definitions }) => definitions === undefined),
    ({ rules }) => rules,
  );
  const alone = all.filter(({ definitions }) => definitions !== undefined);
  return [...together, ...alone.map((one) => [one.rules, [one]] as const)];
}

const kinds = ["mTLS", "TLS"] as const;

/** The Services of which workloads refuse TLS. Very many DestinationRules can be for the same ones. */
class Refusing {
  readonly #servers: Servers;
  readonly #mesh: View;
  /** Those that refuse it at some port. Most refuse none. */
  readonly #candidates: Readonly<Record<SetTls, readonly Destination[]>>;
  readonly #known = new Map<string, readonly RefusedAtHosts[]>();

  constructor(all: readonly Destination[], servers: Servers, mesh: View) {
    this.#servers = servers;
    this.#mesh = mesh;
    const among = (tls: SetTls) => all.filter((one) => this.#refusals(one, tls, () => true).length > 0);
    this.#candidates = { mTLS: among("mTLS"), TLS: among("TLS") };
  }

  get areNone(): boolean {
    return kinds.every((tls) => this.#candidates[tls].length === 0);
  }

  /** `key`: stands for the ports. */
  at(tls: SetTls, key: string, isAsked: (port: number) => boolean): readonly RefusedAtHosts[] {
    const name = `${tls} ${key}`;
    let found = this.#known.get(name);
    if (found === undefined) this.#known.set(name, (found = [...this.#find(tls, isAsked)]));
    return found;
  }

  *#find(tls: SetTls, isAsked: (port: number) => boolean): Iterable<RefusedAtHosts> {
    const found = this.#candidates[tls].flatMap((destination) =>
      this.#refusals(destination, tls, isAsked).map((refusal) => ({ destination, refusal })),
    );
    const byReason = Map.groupBy(found, ({ refusal: { why, by } }) => `${why} ${by === undefined ? "" : keyOf(by)}`);
    for (const same of byReason.values()) {
      const [{ destination, refusal }] = same as [(typeof same)[number]];
      const workloads = [...new Set(same.flatMap((one) => one.refusal.workloads))] as [Workload, ...Workload[]];
      const hosts = same.map((one) => one.destination.host) as [string, ...string[]];
      if (destination.object?.kind === "Service")
        yield { refusal: { ...refusal, workloads }, service: destination.object, hosts };
    }
  }

  #refusals(destination: Destination, tls: SetTls, isAsked: (port: number) => boolean): readonly Refusal[] {
    if (destination.object?.kind !== "Service") return [];
    const ports = portsRefusing(destination.object, tls).filter(isAsked);
    this.#mesh.visited(1 + ports.length);
    if (ports.length === 0) return [];
    const arrivals = this.#servers.arrivals(destination, () => ports, undefined);
    return arrivals.flatMap((arrival) => refusalOf(arrival, tls, nobody) ?? []);
  }
}
const nobody: ReadonlySet<never> = new Set();

function* refusedBy(
  use: Use,
  refusing: Refusing,
  side: { readonly namespace: Namespace; readonly mesh: View },
): Iterable<RefusedByWildcard> {
  const { used } = use;
  if (!setsTls(used.trafficPolicy)) return;
  const named = portsApart(used.trafficPolicy);
  side.mesh.visited(1 + named.size);
  const isAuto = side.mesh.settings.autoMtls && disabledAutoMtls(side.namespace, side.mesh) === undefined;
  for (const { port, key, isAsked } of portsIn(named)) {
    const { rule, at, tls: sent } = withAutoMtls(clientTlsOf(used, port), isAuto);
    const tls = kinds.find((kind) => sentFor[kind] === sent);
    if (tls === undefined || rule === undefined || at === undefined || !isUsed(use, rule, side)) continue;
    const refused = isWildcard(hostOfRule(rule, side.mesh.settings)) ? refusing.at(tls, key, isAsked) : [];
    if (refused.length > 0) yield { rule, at, tls, refused };
  }
}

const sentFor = { mTLS: "mtls", TLS: "tls" } as const;

/** Each port with an entry of its own, and one that stands for all others. */
function* portsIn(named: ReadonlySet<number | undefined>) {
  const isNamed = (port: number) => named.has(port);
  const numbers = [...named].filter((port) => port !== undefined);
  const others = numbers.toSorted((a, b) => a - b).join();
  yield { port: otherThan(named), key: `but ${others}`, isAsked: (port: number) => !isNamed(port) };
  for (const number of numbers) yield { port: number, key: String(number), isAsked: (port: number) => port === number };
}

/** Whether some client's proxy may use the rule. */
const isUsed = (
  { clients }: Use,
  rule: DestinationRule,
  { namespace, mesh }: { readonly namespace: Namespace; readonly mesh: View },
): boolean =>
  clients.flat().some((client) => {
    if (client === namespace.metadata.name) return mesh.get(clientProxies, namespace) !== false;
    return client !== rule.metadata.namespace || hasOwnClients(rule, mesh) !== false;
  });
