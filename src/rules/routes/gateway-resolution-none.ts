import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import {
  anyNamespace,
  definitionsOfBackendHost,
  gatewaysGeneratingForHostname,
  hostnameBackendsOf,
} from "../../mesh/gateways/hostname-backends.ts";
import { gatewaysOfRoute, type KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { isIstiosIngress } from "../../mesh/membership/gateways.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { isLookedUp } from "../../mesh/traffic/missing-host.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import { clientsMatching, clientsOf, isDelegate, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [registeredHost, definitionsOfBackendHost, gatewaysGeneratingForHostname, gatewaysOfRoute] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesGatewayResolutionNone = defineRule({
  id: "routes-gateway-resolution-none",
  subject: ["VirtualService", "KubernetesRoute"],
  reads,
  onlyWith: "ServiceEntry",
  worksWithout: ["KubernetesGateway", "Service"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary:
    "A route of a gateway leads to a ServiceEntry with resolution NONE, of which a gateway knows no address, so that every request fails.",
  why: "With resolution NONE, which is the default, a sidecar sends a request on to the address that the client asked for. The address that a client of a gateway asks for is that of the gateway. So gateways have a cluster with the endpoints of the ServiceEntry instead, of which there are none (Istio pilot/pkg/networking/core/cluster.go convertResolution). The same ServiceEntry works for sidecars and for waypoints, until its requests are led through an egress gateway.",
  fix: "Set `resolution: DNS` in the ServiceEntry, or list the addresses of the host as endpoints with `resolution: STATIC`. For a wildcard, use `resolution: DYNAMIC_DNS`.",
  incident: {
    symptoms: ["no-endpoints"],
    proxies: ["gateway"],
    seen: "Requests through the gateway get 503 with the flag UH, or their connections are closed, while clients that call the host without the gateway are answered.",
    wayOut:
      "Apply the previous version of the route or of the ServiceEntry, or set the resolution of the ServiceEntry to DNS.",
    silentWhen:
      "A ServiceEntry or a Service with the host has endpoints, another resolution or a workloadSelector, or the VirtualService is a delegate, or the destination is a wildcard itself.",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(route, mesh) {
    yield* route.kind === "VirtualService" ? ofVirtualService(route, mesh) : ofRoute(route, mesh);
  },
});

type ServiceEntry = ObjectOf<"ServiceEntry">;

function* ofVirtualService(virtualService: VirtualService, mesh: View): Iterable<Problem> {
  if (isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
  const { namespace } = virtualService.metadata;
  const clients = clientsOf(virtualService, mesh.settings);
  if ([...clients.keys()].every((name) => name === meshGateway)) return;
  const isOfGateway = ({ route, protocol }: Traffic): boolean =>
    [...clientsMatching(clients, route.match, protocol, namespace)].some(([name]) => name !== meshGateway);
  const known = new Map<string, readonly ServiceEntry[]>();
  for (const traffic of trafficOf(virtualService)) {
    const host = fullHost(traffic.destination.host, namespace, mesh.settings.domain);
    if (!isLookedUp(host)) continue;
    let entries = known.get(host);
    if (entries === undefined) known.set(host, (entries = unresolved(mesh.get(registeredHost, host).definitions)));
    if (entries.length > 0 && isOfGateway(traffic)) yield problemOf([...traffic.at, "host"], host, entries);
  }
}

function* ofRoute(route: KubernetesRoute, mesh: View): Iterable<Problem> {
  const backends = hostnameBackendsOf(route);
  if (backends.length === 0) return;
  if (!mesh.related(gatewaysOfRoute, route).some((gateway) => isIstiosIngress(gateway, mesh.settings))) return;
  for (const { at, host } of backends) {
    if (mesh.hasUnder(gatewaysGeneratingForHostname, host)) continue;
    const defined = mesh.get(definitionsOfBackendHost, host).get(anyNamespace);
    const entries = unresolved(defined?.definitions ?? []);
    if (entries.length > 0) yield problemOf([...at, "name"], host, entries);
  }
}

/** What defines a host, if all of it is ServiceEntries of which a gateway knows no endpoint. */
function unresolved(definitions: readonly Definition[]): readonly ServiceEntry[] {
  const entries = definitions.filter((one) => one.kind === "ServiceEntry" && isWithoutEndpoints(one));
  return entries.length === definitions.length ? (entries as readonly ServiceEntry[]) : [];
}

const isWithoutEndpoints = ({ spec }: ServiceEntry): boolean =>
  (spec.resolution || "NONE") === "NONE" && spec.endpoints.length === 0 && spec.workloadSelector === undefined;

function problemOf(at: Path, host: string, entries: readonly ServiceEntry[]): Problem {
  const [first] = entries as readonly [ServiceEntry];
  return {
    at,
    message: `Gateways have no endpoint of "${host}", so that all requests which they send there fail: ${idOf(first)} has resolution NONE`,
    key: host,
    related: entries.slice(0, mostShown),
    evidence: entries.slice(0, mostShown),
  };
}
const mostShown = 3;
