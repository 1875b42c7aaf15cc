import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { formatRule } from "../../mesh/authorization/gain-wording.ts";
import { converted } from "../../mesh/gateways/converted-rules.ts";
import {
  formatSenders,
  readsSenders,
  type Sender,
  sentByRoute,
  servicesSentByVirtualService,
} from "../../mesh/gateways/gateway-senders.ts";
import { routeAcceptances } from "../../mesh/gateways/route-acceptance.ts";
import { isOfRequests, type KubernetesRoute, servicesOfRoute } from "../../mesh/gateways/routes.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import {
  type GatewayRefusals,
  readsGatewayRefusals,
  RefusalsByNamespace,
} from "../../mesh/requests/gateway-refusals.ts";
import { changesOfHosts, type HostChange, hostWritten } from "../../mesh/requests/hidden-hosts.ts";
import { destinationRulesOfVirtualService, SubsetsOfHosts } from "../../mesh/traffic/destination-rules.ts";
import { fullHost, hostOfService } from "../../mesh/traffic/hosts.ts";
import { servicesOfVirtualService } from "../../mesh/traffic/registry.ts";
import { isDelegate } from "../../mesh/traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  ...readsSenders,
  ...readsGatewayRefusals,
  servicesOfRoute,
  servicesOfVirtualService,
  destinationRulesOfVirtualService,
  namespaceOfService,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesHideDeniedHost = defineRule({
  id: "routes-hide-denied-host",
  subject: ["KubernetesRoute", "VirtualService"],
  reads,
  onlyWith: "AuthorizationPolicy",
  onlyWithFields: [
    "spec.http.rewrite",
    "spec.http.headers",
    "spec.http.route.headers",
    "spec.rules.filters",
    "spec.rules.backendRefs.filters",
  ],
  worksWithout: ["DestinationRule", "Sidecar"],
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary: "A route at an ingress gateway writes another host into requests that a DENY policy denies by their host.",
  why: "The router of the gateway writes the host (Istio pilot/pkg/networking/core/route/route.go TranslateRoute, HostRewriteLiteral) before the request gets to the destination, whose policies compare `:authority` with their `hosts` (pilot/pkg/security/authz/model/generator.go hostGenerator). A DENY rule for the host that clients use never matches there, and what an ALLOW policy lets the gateway send gets through.",
  fix: "Do not rewrite the host, or add the host that the gateway writes to the DENY policy.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: "Requests to the host get answers of the application instead of 403. Its access log shows the host that the gateway has written.",
    wayOut: "Apply the previous version of the route.",
    silentWhen:
      "The policy changes and not the route; the policy denies all hosts but some (`notHosts`); the VirtualService has conditions on the gateway, the port, the scheme or the labels of clients, or is a delegate; a header with a part of the request in it (`%REQ(...)%`) sets the host; a pod of the destination is not in the mesh; or it takes too much work to know. Rewritten paths and headers are not examined: state as an intent what must become of the requests.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(route, mesh) {
    const refusals = new RefusalsByNamespace(mesh);
    const judged = new Set<string>();
    for (const written of route.kind === "VirtualService"
      ? writtenByVirtualService(route, mesh)
      : writtenByRoute(route, mesh)) {
      yield;
      const { name, service, change } = written;
      const key = JSON.stringify([name, change.to]);
      if (judged.has(key)) continue;
      const problem = problemOf(written, refusals.of(service));
      if (problem === undefined) continue;
      judged.add(key);
      yield { ...problem, key };
    }
  },
});

/** What one of the gateways lets through. */
function problemOf(
  { at, name, service, labels, senders, change }: Written,
  refusals: GatewayRefusals | undefined,
): Problem | undefined {
  for (const sender of senders) {
    const by = refusals?.escape(service, sender, labels, change)?.by;
    if (by !== undefined)
      return {
        at,
        message: `${formatRule(by)} does not deny requests of ${formatSenders([sender])} to ${name} by their host: it is ${JSON.stringify(change.to)} there, which the route writes, instead of the host that clients send`,
        related: [by.policy, service],
        evidence: [by.policy, service],
      };
  }
  return undefined;
}

/** Requests of gateways to a destination, into which a route writes a host. */
interface Written {
  readonly at: Path;
  readonly name: string;
  readonly service: Service;
  /** Those of the subset. */
  readonly labels: Labels;
  readonly senders: readonly Sender[];
  readonly change: HostChange;
}

function* writtenByVirtualService(virtualService: VirtualService, mesh: View): Iterable<Written> {
  const { hosts } = virtualService.spec;
  const changeOf = changesOfHosts(virtualService, hosts);
  if (changeOf === undefined || isDelegate(virtualService)) return;
  const subsets = new SubsetsOfHosts(mesh);
  for (const { at, to, service, senders } of servicesSentByVirtualService(virtualService, mesh)) {
    const written = hostAt(virtualService, at);
    const labels = written && subsets.labelsOf(to);
    if (written === undefined || labels === undefined) continue;
    const change = changeOf(Number(at[2]), written.host);
    yield { at: written.at, name: to.host, service, labels, senders, change };
  }
}

/** The host that is written into requests to the destination at this path, and where. */
function hostAt({ spec }: VirtualService, [, protocol, i, , j]: Path) {
  const route = protocol === "http" ? spec.http[Number(i)] : undefined;
  const host = route && hostWritten(route, route.route[Number(j)]);
  if (host === undefined) return undefined;
  const at: Path = ["spec", "http", Number(i)];
  return { host, at: route?.rewrite?.authority ? [...at, "rewrite"] : at };
}

/** Its rules as istiod converts them, so that both kinds of routes are read alike. */
function* writtenByRoute(route: KubernetesRoute, mesh: View): Iterable<Written> {
  if (!isOfRequests(route)) return;
  const hosts = [...new Set(mesh.get(routeAcceptances, route).flatMap(({ offered }) => [...offered.keys()]))];
  const { domain } = mesh.settings;
  const { virtualService, origins } = converted([route], { hosts, domain });
  const changeOf = changesOfHosts(virtualService, hosts);
  if (hosts.length === 0 || changeOf === undefined) return;
  const services = new Map(mesh.related(servicesOfRoute, route).map((one) => [hostOfService(one, domain), one]));
  const senders = new Map([...sentByRoute(route, mesh)].map((one) => [one.to, one.senders]));
  for (const { index, to, host } of hostsWrittenBy(virtualService)) {
    const service = services.get(fullHost(to, route.metadata.namespace, domain));
    if (service === undefined) continue;
    const { namespace, name } = service.metadata;
    const origin = origins.get(virtualService.spec.http[index] as HttpRoute);
    yield {
      at: ["spec", "rules", origin?.i ?? 0],
      name: idOf(service),
      service,
      labels: {},
      senders: senders.get(`${namespace}/${name}`) ?? [],
      change: changeOf(index, host),
    };
  }
}

interface WrittenHost {
  readonly index: number;
  readonly to: string;
  readonly host: string;
}

const hostsWrittenBy = ({ spec }: VirtualService): readonly WrittenHost[] =>
  spec.http.flatMap((route, index) =>
    route.route.flatMap((destination) => {
      const host = hostWritten(route, destination);
      return host === undefined ? [] : [{ index, to: destination.destination.host, host }];
    }),
  );
