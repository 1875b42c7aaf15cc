import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { type RoutePorts, type RouteUse, routePortsOf } from "../../mesh/gateways/route-ports.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import {
  fullGatewayName,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { Protocol, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [routePortsOf, registeredHost, gatewaysOfVirtualService] as const;

export const virtualServiceProtocolMismatch = defineRule({
  id: "virtual-service-protocol-mismatch",
  subject: "VirtualService",
  reads,
  worksWithout: ["Gateway", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  // A Sidecar can give clients another port than that of the Service.
  stage: "trial",
  tags: ["canary"],
  summary:
    "Routes are for a protocol or a port that no port of the hosts has, so that requests to the hosts do not use them.",
  why: "A sidecar uses `http` routes only at ports that are HTTP, or whose protocol it detects, `tcp` routes only at ports that are neither HTTP nor TLS, and `tls` routes only at ports for TLS or HTTPS (Istio pilot/pkg/networking/core/listener.go buildSidecarOutboundListener; pilot/pkg/networking/core/tls.go buildSidecarOutboundTCPFilterChainOpts, buildSidecarOutboundTLSFilterChainOpts). The protocol of a port is its appProtocol, or the first part of its name (pkg/config/kube/conversion.go ConvertProtocol). The port of a match is that of the Service or of the server of a Gateway, not that of the pods. A server with `httpsRedirect` redirects every request before it looks at routes (pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig). Other requests go to the host itself, without the timeouts, retries and shares of the routes.",
  fix: "Declare the protocol of the port, by appProtocol or by its name, or write routes of its protocol. In a match, name the port of the Service.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway"],
    seen: "The routes have no effect: a canary gets no share or a random one, and faults, timeouts and retries do not happen. `istioctl proxy-config routes` does not show them for the port.",
    wayOut:
      "Set appProtocol of the port of the Service. Proxies have the routes within seconds, and pods need no restart.",
    silentWhen:
      "A host is a wildcard or is not known, the port of a match is 80, at which sidecars use http routes of every host, a port has no declared protocol, or a Gateway that the VirtualService names is not known.",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
  },

  *check(virtualService, mesh) {
    if (isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
    const ports = mesh.get(routePortsOf, virtualService);
    let known: Known | undefined;
    for (const problem of problemsOf(virtualService, ports)) {
      known ??= evidenceOf(virtualService, mesh);
      yield { ...problem, ...known };
    }
  },
});

function* problemsOf(virtualService: VirtualService, ports: Ports): Iterable<Problem> {
  for (const protocol of ["http", "tcp", "tls"] as const) {
    if (virtualService.spec[protocol].length === 0) continue;
    const mismatch = wholeMismatch(protocol, ports);
    if (mismatch !== undefined) yield { at: ["spec", protocol], message: mismatch, key: protocol };
    else yield* matchesOfNoPort(virtualService, protocol, ports);
  }
}

type Known = Pick<Problem, "evidence" | "related">;

/** What decides about the ports. */
function evidenceOf(virtualService: VirtualService, mesh: MeshView<(typeof reads)[number]>): Known {
  const { metadata, spec } = virtualService;
  const found: ObjectOf<"Service" | "ServiceEntry" | "Gateway">[] = [
    ...mesh.related(gatewaysOfVirtualService, virtualService),
  ];
  for (const host of spec.hosts)
    found.push(
      ...mesh.get(registeredHost, fullHost(host, metadata.namespace, mesh.settings.domain).toLowerCase()).definitions,
    );
  return { evidence: found, related: found.slice(0, 4) };
}

type Ports = ReadonlyMap<string, RoutePorts | undefined>;

const used: Readonly<Record<Protocol, string>> = {
  http: "HTTP or without a declared protocol",
  tcp: "TCP or without a declared protocol",
  tls: "TLS or HTTPS",
};

/** Where only Gateways use the routes, virtual-service-gateway-host-mismatch compares the protocols. */
function wholeMismatch(protocol: Protocol, ports: Ports): string | undefined {
  if (!ports.has(meshGateway)) return undefined;
  const all = [...ports.values()];
  const isUsable = (one: RoutePorts | undefined) =>
    one === undefined || [...one.values()].some((protocols) => protocols.has(protocol));
  return all.some(isUsable) ? undefined : `No port of the hosts uses the ${protocol} routes: none is ${used[protocol]}`;
}

function* matchesOfNoPort({ metadata, spec }: VirtualService, protocol: Protocol, ports: Ports): Iterable<Problem> {
  for (const [i, route] of spec[protocol].entries())
    for (const [j, { port, gateways }] of route.match.entries()) {
      if (!port) continue;
      // At port 80, sidecars have http routes for hosts without this port too, if another service has it.
      if (port === 80 && protocol === "http" && ports.has(meshGateway)) continue;
      const names = gateways.map((one) => fullGatewayName(one, metadata.namespace));
      const mismatch = portMismatch(port, protocol, portsAt(names, ports));
      // The server does already what such a route would do.
      if (mismatch === undefined || (mismatch.fix === fixOfRedirect && redirectsToHttps(route))) continue;
      yield {
        at: ["spec", protocol, i, "match", j, "port"],
        ...mismatch,
        key: JSON.stringify([protocol, port, gateways]),
      };
    }
}

/** The ports at some gateways; no names stand for all gateways. Empty: they are not known, or the VirtualService is not for them. */
function portsAt(names: readonly string[], ports: Ports): readonly RoutePorts[] {
  const asked = [...(names.length === 0 ? ports.keys() : names)].filter((name) => ports.has(name));
  const known = asked.flatMap((name) => ports.get(name) ?? []);
  return known.length === asked.length ? known : [];
}

const fixOfRedirect =
  "Remove `httpsRedirect` from the server, and redirect with a last route for this port: `redirect: { scheme: https }`. Or remove the match for the port, so that the route answers at the port for HTTPS.";

const redirectsToHttps = (route: VirtualService["spec"][Protocol][number]): boolean =>
  "redirect" in route && route.redirect?.scheme?.toLowerCase() === "https";

function portMismatch(
  port: number,
  protocol: Protocol,
  asked: readonly RoutePorts[],
): Pick<Problem, "message" | "fix"> | undefined {
  if (asked.length === 0) return undefined;
  const uses = asked.flatMap((one) => one.get(port) ?? []);
  if (uses.some((one) => one.has(protocol)) || asked.every(offersNothing)) return undefined;
  if (uses.length === 0) return { message: `This match is never used: no host and no Gateway has port ${port}` };
  if (uses.some((one) => one.has("redirect")))
    return {
      message: `This match is never used: every request to port ${port} of the Gateway is redirected to HTTPS first (httpsRedirect)`,
      fix: fixOfRedirect,
    };
  if (uses.every(isNotOffered))
    return {
      message: `This match is never used: no server at port ${port} of the Gateway offers a host of the VirtualService to its namespace`,
      fix: "In the match, name the port of a server that offers the host, or add the host to the server of the Gateway.",
    };
  return { message: `This match is never used: port ${port} is not ${used[protocol]}` };
}

const isNotOffered = (uses: ReadonlySet<RouteUse>): boolean => uses.size === 1 && uses.has("not offered");
/** virtual-service-gateway-host-mismatch says so. */
const offersNothing = (ports: RoutePorts): boolean => [...ports.values()].every(isNotOffered);
