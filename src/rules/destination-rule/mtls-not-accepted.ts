import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import type { AnyObject, Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { type Arrival, type ServedHost, Servers } from "../../mesh/client-tls/arrivals.ts";
import { tlsModeOf } from "../../mesh/client-tls/client-tls.ts";
import { portsOf } from "../../mesh/client-tls/destinations.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { injectedProxy } from "../../mesh/membership/injection-templates.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService, podsNearService, type Service } from "../../mesh/membership/services.ts";
import { isProxy, type Workload } from "../../mesh/membership/workloads.ts";
import { mtlsOf, peerAuthenticationsOfNamespace } from "../../mesh/mtls/effective-mtls.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import { servicesOfDestinationRule } from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  servicesOfDestinationRule,
  podsNearService,
  namespaceOfService,
  peerAuthenticationsOfNamespace,
  readers,
  sidecarsOfPassing,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleMtlsNotAccepted = defineRule({
  id: "destination-rule-mtls-not-accepted",
  subject: "DestinationRule",
  reads,
  worksWithout: ["PeerAuthentication", "Sidecar", "Workload"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls"],
  summary: "A DestinationRule sets ISTIO_MUTUAL, and workloads of its host have no sidecar that accepts it.",
  why: "With ISTIO_MUTUAL, clients start the mesh's mTLS for every endpoint of the host, while auto mTLS leaves it out for endpoints without a proxy (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings, pilot/pkg/xds/endpoints/mtls_checker.go). The application gets a TLS handshake that it does not expect. For ambient workloads, HBONE takes precedence.",
  fix: "Remove `tls` from the DestinationRule, so that auto mTLS applies to each workload, or set it for a subset that selects only workloads with a sidecar.",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients get 503, and their access logs have the flag UF with a TLS error such as WRONG_VERSION_NUMBER, or UC.",
    wayOut: "Remove `tls` from the DestinationRule: clients send plaintext to these workloads within seconds.",
    silentWhen:
      "The host is a wildcard or outside the mesh, no workload of it is known, it is not known whether they have a sidecar, their pods run a proxy of their own, or a subset with TLS settings of its own selects them.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(rule, mesh) {
    if (!isServed(rule, mesh.settings)) return;
    const places = [...placesOf(rule)];
    if (places.length === 0) return;
    for (const service of mesh.related(servicesOfDestinationRule, rule)) {
      const [namespace] = mesh.related(namespaceOfService, service);
      if (namespace === undefined) continue;
      const refusals = refusalsAt(service, namespace, mesh);
      for (const place of places) {
        yield;
        for (const refusal of refusals(place)) yield problemOf(refusal, { place, service, rule, namespace }, mesh);
      }
    }
  },
});

/** A field with ISTIO_MUTUAL, and the requests for which it is. */
interface Place {
  readonly at: Path;
  /** Undefined: all ports but those in `except`. */
  readonly port: number | undefined;
  readonly except: ReadonlySet<number | undefined>;
  /** Undefined: all workloads but those that the subsets in `apart` select. */
  readonly subset: Labels | undefined;
  readonly apart: readonly Labels[];
}

/** An entry for a port replaces the other settings, also without tls (clientTlsOf). */
function* placesOf({ spec: { trafficPolicy, subsets } }: DestinationRule): Iterable<Place> {
  const apart = subsets.flatMap(({ trafficPolicy: own, labels }) => (setsTls(own) ? [labels] : []));
  yield* placesIn(trafficPolicy, ["spec", "trafficPolicy"], { subset: undefined, apart });
  for (const [i, { trafficPolicy: own, labels }] of subsets.entries())
    yield* placesIn(own, ["spec", "subsets", i, "trafficPolicy"], { subset: labels, apart: [] });
}

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

const setsTls = (policy: TrafficPolicy): boolean =>
  policy?.tls !== undefined || policy?.portLevelSettings.some(({ tls }) => tls !== undefined) === true;

function* placesIn(policy: TrafficPolicy, at: Path, of: Pick<Place, "subset" | "apart">): Iterable<Place> {
  if (policy === undefined) return;
  const except = new Set(policy.portLevelSettings.map(({ port }) => port?.number));
  if (isMutual(policy.tls)) yield { at: [...at, "tls", "mode"], port: undefined, except, ...of };
  for (const [i, { port, tls }] of policy.portLevelSettings.entries())
    if (isMutual(tls) && port?.number !== undefined)
      yield { at: [...at, "portLevelSettings", i, "tls", "mode"], port: port.number, except: new Set(), ...of };
}

const isMutual = (tls: NonNullable<TrafficPolicy>["tls"]): boolean =>
  tls !== undefined && tlsModeOf(tls) === "ISTIO_MUTUAL";

/** Workloads that do not accept mTLS for the same reason. */
interface Refusal {
  readonly why: "no sidecar" | "bypassed" | "DISABLE";
  readonly by: AnyObject | undefined;
  readonly workloads: readonly Workload[];
}

function refusalsAt(service: Service, namespace: Namespace, mesh: View): (place: Place) => readonly Refusal[] {
  const pods = mesh.get(podsNearService, service)?.among(service.spec.selector);
  const { ports, workloadPort } = portsOf(service);
  const servers = new Servers<ServedHost>(namespace, mtlsOf(namespace, mesh), mesh);
  // Many places can have the same workloads.
  const hosts = new Map<readonly Workload[], ServedHost>();
  return ({ port, except, subset, apart }) => {
    const workloads = pods?.selected(subset ?? {}) ?? [];
    const asked = ports.filter((one) => (port === undefined ? !except.has(one) : one === port));
    if (workloads.length === 0 || asked.length === 0) return [];
    let host = hosts.get(workloads);
    if (host === undefined) hosts.set(workloads, (host = { labels: {}, workloads, workloadPort }));
    const isApart = (workload: Workload) => apart.some((labels) => selects(labels, workload.pod.labels));
    return servers.arrivals(host, () => asked, undefined).flatMap((arrival) => refusalOf(arrival, isApart));
  };
}

function refusalOf(
  { capture, server, workloads }: Arrival<ServedHost>,
  isApart: (workload: Workload) => boolean,
): readonly Refusal[] {
  const of = (why: Refusal["why"], by: AnyObject | undefined, refusing: readonly Workload[]) =>
    refusing.length === 0 ? [] : [{ why, by, workloads: refusing.toSorted(byId) }];
  if (capture === "none")
    return of(
      "no sidecar",
      undefined,
      workloads.filter((one) => !mayRunProxy(one) && !isApart(one)),
    );
  if (capture !== "sidecar") return [];
  const spoken = workloads.filter((one) => !isApart(one));
  if (server === undefined) return of("bypassed", undefined, spoken);
  return server.mode === "DISABLE" ? of("DISABLE", server.by, spoken) : [];
}

/** A gateway, an agent for gRPC or a proxy that was not injected can terminate the mesh's mTLS. */
const mayRunProxy = (workload: Workload): boolean =>
  isProxy(workload) || workload.pod.hasProxyContainer || injectedProxy(workload.pod) !== "sidecar";

interface Where {
  readonly place: Place;
  readonly service: Service;
  readonly rule: DestinationRule;
  readonly namespace: Namespace;
}

function problemOf({ why, by, workloads }: Refusal, { place, service, rule, namespace }: Where, mesh: View): Problem {
  const [first] = workloads;
  const reason = {
    "no sidecar": "it has no sidecar",
    bypassed: "the port bypasses its sidecar",
    DISABLE: `${by === undefined ? "a PeerAuthentication" : idOf(by)} sets mode DISABLE`,
  }[why];
  const name = first === undefined ? "a workload" : idOf(first);
  return {
    at: place.at,
    message: `Clients of "${hostOfRule(rule, mesh.settings)}" use mTLS, which ${name} does not accept: ${reason}`,
    key: JSON.stringify([place.at, why, by === undefined ? "" : idOf(by)]),
    evidence: [
      service,
      ...(namespace.implied ? [] : [namespace]),
      ...(by === undefined ? [] : [by]),
      ...workloads.slice(0, 1),
    ],
    related: [...(by === undefined ? [] : [by]), ...workloads],
  };
}
