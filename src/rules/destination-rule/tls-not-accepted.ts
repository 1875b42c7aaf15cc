import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { type Arrival, type ServedHost, Servers } from "../../mesh/client-tls/arrivals.ts";
import {
  type GatewayRefusal,
  readsRefusedAtGateways,
  refusalsAtGateways,
} from "../../mesh/client-tls/refused-at-gateways.ts";
import { portsRefusing, type Refusal, refusalOf, type SetTls, tlsSetBy } from "../../mesh/client-tls/refused-tls.ts";
import { refusedByWildcards } from "../../mesh/client-tls/wildcard-tls.ts";
import { portsOf } from "../../mesh/membership/target-ports.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { podsNearService, type Service } from "../../mesh/membership/services.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { disabledAutoMtls, mtlsOf, peerAuthenticationsOfNamespace } from "../../mesh/mtls/effective-mtls.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import type { Labelled } from "../../mesh/objects/labelled.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import { servicesOfDestinationRule } from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { index, type MeshView, relation, setting } from "../../view/view.ts";

/** A DestinationRule that sets TLS, and the namespace of its host: over the Services, a change would reach all of them. */
const namespaceOfTlsHost = relation(
  "namespaceOfTlsHost",
  index("DestinationRule", (rule, settings) => {
    const namespace = namespaceOfHost(hostOfRule(rule, settings), settings.domain);
    return namespace !== undefined && hasPlaces(rule) && isServed(rule, settings) ? [namespace] : [];
  }),
  namespaceByName,
);

const reads = [
  servicesOfDestinationRule,
  podsNearService,
  namespaceOfTlsHost,
  peerAuthenticationsOfNamespace,
  readers,
  sidecarsOfPassing,
  refusedByWildcards,
  ...readsRefusedAtGateways,
  setting("autoMtls"),
] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleTlsNotAccepted = defineRule({
  id: "destination-rule-tls-not-accepted",
  subject: ["DestinationRule", "Namespace"],
  reads,
  worksWithout: [
    "BackendTLSPolicy",
    "Gateway",
    "PeerAuthentication",
    "ServiceEntry",
    "Sidecar",
    "VirtualService",
    "Workload",
  ],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls"],
  summary:
    "A DestinationRule sets ISTIO_MUTUAL for workloads without a sidecar that accepts it, or SIMPLE or MUTUAL TLS for HTTP ports behind a sidecar, or TLS that the gateway to which a route leads does not take.",
  why: "With ISTIO_MUTUAL, clients start the mesh's mTLS for every endpoint of the host, while auto mTLS leaves it out for endpoints without a proxy (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings, pilot/pkg/xds/endpoints/mtls_checker.go). The application gets a TLS handshake that it does not expect. For ambient workloads, HBONE takes precedence. A sidecar that is not STRICT accepts plaintext and the mesh's own mTLS at a port that is declared as HTTP, and no other TLS (pilot/pkg/networking/core/filterchain_options.go); destination-rule-tls-breaks-strict reports those that are STRICT. A gateway takes a connection by the name that TLS asks for, which is `sni`, or for ISTIO_MUTUAL the name of the cluster (buildUpstreamTLSSettings, pilot/pkg/model/gateway.go GetSNIHostsForServer): no server has that one among its hosts. A server with mode ISTIO_MUTUAL asks for a certificate of the mesh, which SIMPLE does not send, and ISTIO_MUTUAL accepts no other.",
  fix: "Remove `tls` from the DestinationRule, so that auto mTLS applies to each workload, or set it for a subset that selects only workloads that accept it. Towards a gateway, set `sni` to a host of its server, and ISTIO_MUTUAL on both sides.",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients get 503, and their access logs have the flag UF with a TLS error such as WRONG_VERSION_NUMBER, or UC.",
    wayOut:
      "Remove `tls` from the DestinationRule: within seconds, clients send plaintext to workloads without a sidecar, and mTLS to the others.",
    silentWhen:
      "The host is outside the mesh, no workload of it is known, it is not known whether they have a sidecar, their pods run a proxy of their own, or a subset with TLS settings of its own selects them. Of a DestinationRule for a wildcard, the settings of subsets are not followed. Of gateways, it follows the routes of VirtualServices for sidecars that name a port, to servers of which none passes TLS on; whose clients use the DestinationRule is not asked.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(object, mesh) {
    if (object.kind === "Namespace") yield* refusedUnderWildcards(object, mesh);
    else yield* refusedBy(object, mesh);
  },
});

/** Of a DestinationRule for one Service. Those for wildcards are reported by the namespaces of the services. */
function* refusedBy(rule: DestinationRule, mesh: View): Iterable<Problem | undefined> {
  const [namespace] = mesh.related(namespaceOfTlsHost, rule);
  if (namespace === undefined) return;
  const isAuto = mesh.settings.autoMtls && disabledAutoMtls(namespace, mesh) === undefined;
  const places = [...placesOf(rule, isAuto)];
  const host = hostOfRule(rule, mesh.settings);
  const named = new Set<Refusal>();
  for (const service of mesh.related(servicesOfDestinationRule, rule)) {
    const refusals = refusalsAt(service, namespace, mesh);
    const atGateways = refusalsAtGateways(rule, service, mesh);
    for (const place of places) {
      yield undefined;
      for (const refusal of atGateways({ ...place, tls: place.said })) yield gatewayProblem(refusal, place, service);
      for (const refusal of refusals(place)) {
        const { at, tls } = place;
        const problem = problemOf(refusal, { at, tls, service, rule, namespace }, { hosts: [host], from: "" });
        yield { at, ...problem, ...alsoFor(refusal, named) };
      }
    }
  }
}

/** A Namespace with services for which the DestinationRule for a wildcard sets TLS. */
function* refusedUnderWildcards(namespace: Namespace, mesh: View): Iterable<Problem | undefined> {
  const named = new Set<Refusal>();
  for (const { rule, at, tls, refused } of mesh.get(refusedByWildcards, namespace)) {
    yield undefined;
    const from = ` (${idOf(rule)} for "${hostOfRule(rule, mesh.settings)}")`;
    for (const { refusal, service, hosts } of refused) {
      const problem = problemOf(refusal, { at, tls, service, rule, namespace }, { hosts, from });
      const key = JSON.stringify([idOf(rule), problem.key]);
      const also = alsoFor(refusal, named, hosts);
      yield { ...problem, at: [], key, ...also, related: [rule, ...problem.related] };
    }
  }
}

/**
 * A further workload is refused anew, and so is one by a further host, although others are refused already. Each refusal is named once,
 * because many fields can share it.
 */
function alsoFor(refusal: Refusal, named: Set<Refusal>, hosts: readonly string[] = []): Pick<Problem, "alsoFor"> {
  if (named.has(refusal)) return {};
  named.add(refusal);
  return { alsoFor: [...refusal.workloads.map(idOf), ...hosts].map((one) => JSON.stringify([refusal.why, one])) };
}

/** A field that sets TLS, and the requests for which it is. */
interface Place {
  readonly at: Path;
  readonly tls: SetTls;
  readonly said: TlsSettings;
  readonly name: string | undefined;
  /** Undefined: all ports but those in `except`. */
  readonly port: number | undefined;
  readonly except: ReadonlySet<number | undefined>;
  /** Undefined: all workloads but those that the subsets in `apart` select. */
  readonly subset: Labels | undefined;
  readonly apart: readonly Labels[];
}

type TlsSettings = NonNullable<NonNullable<TrafficPolicy>["tls"]>;

/**
 * An entry for a port replaces the other settings, also without tls, but with auto mTLS, ISTIO_MUTUAL still marks all workloads as such that
 * support it at the port (clientTlsOf).
 */
function* placesOf({ spec: { trafficPolicy, subsets } }: DestinationRule, isAuto: boolean): Generator<Place, void> {
  const apart = subsets.flatMap(({ trafficPolicy: own, labels }) => (setsTls(own) ? [labels] : []));
  yield* placesIn(trafficPolicy, ["spec", "trafficPolicy"], { name: undefined, subset: undefined, apart }, isAuto);
  for (const [i, { name, trafficPolicy: own, labels }] of subsets.entries())
    yield* placesIn(own, ["spec", "subsets", i, "trafficPolicy"], { name, subset: labels, apart: [] }, isAuto);
}
const none: ReadonlySet<never> = new Set();
const hasPlaces = (rule: DestinationRule): boolean => placesOf(rule, false).next().done === false;

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

const setsTls = (policy: TrafficPolicy): boolean =>
  policy?.tls !== undefined || policy?.portLevelSettings.some(({ tls }) => tls !== undefined) === true;

function* placesIn(
  policy: TrafficPolicy,
  at: Path,
  of: Pick<Place, "name" | "subset" | "apart">,
  isAuto: boolean,
): Iterable<Place> {
  if (policy === undefined) return;
  const set = tlsSetBy(policy.tls);
  const replacing = policy.portLevelSettings.filter(({ tls }) => tls !== undefined || set !== "mTLS" || !isAuto);
  const except = new Set(replacing.map(({ port }) => port?.number));
  if (set !== undefined && policy.tls !== undefined)
    yield { at: [...at, "tls", "mode"], tls: set, said: policy.tls, port: undefined, except, ...of };
  for (const [i, { port, tls }] of policy.portLevelSettings.entries()) {
    const own = tlsSetBy(tls);
    if (own !== undefined && tls !== undefined && port?.number !== undefined)
      yield {
        at: [...at, "portLevelSettings", i, "tls", "mode"],
        tls: own,
        said: tls,
        port: port.number,
        except: none,
        ...of,
      };
  }
}

function refusalsAt(service: Service, namespace: Namespace, mesh: View): (place: Place) => readonly Refusal[] {
  const pods = mesh.get(podsNearService, service)?.among(service.spec.selector);
  if (pods === undefined) return () => [];
  const { workloadPort } = portsOf(service);
  const portsFor = { mTLS: portsAmong(portsRefusing(service, "mTLS")), TLS: portsAmong(portsRefusing(service, "TLS")) };
  const servers = new Servers<ServedHost>(namespace, mtlsOf(namespace, mesh), mesh);
  // Many places can have the same workloads, and the same subsets apart.
  const hostOf = remembered((workloads: readonly Workload[]): ServedHost => ({ labels: {}, workloads, workloadPort }));
  const refusalsOf = remembered((apart: readonly Labels[]) => {
    const spared = selectedByAny(apart, pods);
    const among = (tls: SetTls) =>
      remembered((arrivals: readonly Arrival<ServedHost>[]) =>
        arrivals.flatMap((arrival) => refusalOf(arrival, tls, spared) ?? []),
      );
    return { mTLS: among("mTLS"), TLS: among("TLS") };
  });
  return (place) => {
    const workloads = pods.selected(place.subset ?? {});
    const asked = portsFor[place.tls](place);
    if (workloads.length === 0 || asked === undefined) return [];
    return refusalsOf(place.apart)[place.tls](servers.arrivals(hostOf(workloads), asked, undefined));
  };
}

/** The ports of a Service for which a place is, as a list that is made when it is needed; undefined: none. */
function portsAmong(ports: readonly number[]): (place: Place) => (() => readonly number[]) | undefined {
  const known = new Set(ports);
  return ({ port, except }) => {
    if (port !== undefined) return known.has(port) ? () => [port] : undefined;
    const others = () => ports.filter((one) => !except.has(one));
    return except.size < known.size || others().length > 0 ? others : undefined;
  };
}

function remembered<K extends object, V>(make: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    let value = known.get(key);
    if (value === undefined) known.set(key, (value = make(key)));
    return value;
  };
}

function selectedByAny(all: readonly Labels[], pods: Labelled<Workload>): ReadonlySet<Workload> {
  const found = new Set<Workload>();
  for (const list of new Set(all.map((labels) => pods.selected(labels)))) {
    if (found.size === pods.all.length) break;
    for (const one of list) found.add(one);
  }
  return found;
}

interface Where extends Pick<Place, "at" | "tls"> {
  readonly service: Service;
  readonly rule: DestinationRule;
  readonly namespace: Namespace;
}

/** `from`: where the setting is, if it is in another object than the one that has the problem. */
function problemOf(
  { why, by, workloads: [workload, ...others] }: Refusal,
  { at, tls, service, namespace }: Where,
  { hosts: [host, ...more], from }: { readonly hosts: readonly [string, ...string[]]; readonly from: string },
) {
  const isOne = others.length === 0;
  const reason = {
    "no sidecar": isOne ? "it has no sidecar" : "they have no sidecar",
    bypassed: `the port bypasses ${isOne ? "its sidecar" : "their sidecars"}`,
    DISABLE: `${by === undefined ? "a PeerAuthentication" : idOf(by)} sets mode DISABLE`,
    HTTP: `at HTTP ports, ${isOne ? "its sidecar accepts" : "their sidecars accept"} plaintext and the mesh's own mTLS`,
  }[why];
  const policies = by === undefined || why === "HTTP" ? [] : [by];
  return {
    message: `Clients of "${host}"${more.length === 0 ? "" : ` and ${more.length} more`} use ${tls}${from}, which ${idOf(workload)}${isOne ? " does" : ` and ${others.length} more do`} not accept: ${reason}`,
    key: JSON.stringify([at, why, ...policies.map(idOf)]),
    evidence: [service, ...(namespace.implied ? [] : [namespace]), ...policies, workload],
    related: [...policies, workload],
  };
}

function gatewayProblem(
  { gateway, workload, virtualService, port, because, why }: GatewayRefusal,
  { at, said }: Place,
  service: Service,
): Problem {
  return {
    at: why === "name" && said.sni ? [...at.slice(0, -1), "sni"] : at,
    message: `${idOf(gateway)} refuses what ${idOf(virtualService)} sends to port ${port}: clients ${because}`,
    key: JSON.stringify([at, "gateway", why, port]),
    related: [gateway, virtualService],
    evidence: [service, gateway, virtualService, workload],
  };
}
