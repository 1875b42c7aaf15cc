import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { servicesBehind } from "../../mesh/gateways/server-claims.ts";
import { conflictsByServer, readsOfConflicts, type ServerConflict } from "../../mesh/gateways/server-conflicts.ts";
import { type Gateway, isPlainHttp, type Server } from "../../mesh/gateways/servers.ts";

export const gatewayConflict = defineRule({
  id: "gateway-conflict",
  subject: "Gateway",
  reads: readsOfConflicts,
  worksWithout: ["Workload", "Service"],
  mode: { protected: "deny", elsewhere: "warn" },
  since: "0.1.0",
  tags: ["gateway"],
  summary: "Two servers of Gateways for the same proxies exclude each other, so that one of them does not work.",
  why: "Istio merges all Gateways that select a proxy, from the oldest to the newest; one without a selector is for all of them. Servers share a port if it is the same at the pods (resolvePorts). It leaves out a server with settings of TLS if an older one with such settings has one of its hosts on the same port, also where they only redirect plain HTTP to HTTPS, and a server whose protocol cannot share the port with an older one (Istio pilot/pkg/model/gateway.go mergeGateways, CheckDuplicates). Two HTTPS servers with the same name for different namespaces, such as `a/shop.example.com` and `shop.example.com`, are both kept, and so is an HTTP server after an HTTPS server for every name; Envoy then refuses the whole listener of the port, because two filter chains have the same match. A server for TCP, or one of protocol TLS that ends TLS, is in the way in the same way as soon as a route of tcp is for it (pilot/pkg/networking/core/gateway.go createGatewayTCPFilterChainOpts), two with AUTO_PASSTHROUGH whose hosts cover one service (builtAutoPassthroughFilterChains), and a server that passes TLS through, for the names of the routes of tls that use it (buildGatewayNetworkFiltersFromTLSRoutes). Envoy compares names in lower case, so a name can be in its own way.",
  fix: "Serve each host and port by one Gateway only, and let the VirtualServices of other namespaces name that Gateway. To move a host to another Gateway, create it for other hosts first, or delete the old server in the same change.",
  incident: {
    symptoms: ["no-route", "config-refused"],
    proxies: ["gateway"],
    seen: "Requests for a host of the server that is left out get 404, another certificate than theirs, or no redirect. If Envoy refuses the listener, the whole port keeps its old configuration.",
    wayOut: "Delete the newer of the two Gateways, or its server: the older one is complete again at once.",
    silentWhen:
      "The servers are at different proxies or ports, have different hosts with TLS, or speak plain HTTP on one port, which is merged; the older server redirects all hosts to HTTPS that this one would redirect, or is left out itself. VirtualServices that are not exported to all namespaces are not looked at. Servers of different ports that a Service leads to one are compared if its selector has the labels of the Gateway's, or all of its labels are among these.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  *check(gateway, mesh) {
    for (const conflict of conflictsByServer(gateway, mesh))
      yield conflict && {
        ...problemOf(conflict, gateway),
        ...(conflict.kind === "listener refused" ? {} : onlyOwnLoss),
      };
  },

  *compare(before, after) {
    const known = new Set<string | undefined>();
    for (const conflict of conflictsByServer(before.object, before.mesh)) {
      yield;
      if (conflict !== undefined) known.add(problemOf(conflict, before.object).key);
    }
    const isOwnChange = JSON.stringify(before.object.spec) !== JSON.stringify(after.object.spec);
    for (const conflict of conflictsByServer(after.object, after.mesh)) {
      yield;
      if (conflict === undefined) continue;
      const problem = problemOf(conflict, after.object);
      yield {
        ...problem,
        ...(known.has(problem.key) ? { existed: true as const } : {}),
        ...(isOwnChange && conflict.kind !== "listener refused" ? onlyOwnLoss : {}),
      };
    }
  },
});

/** What istiod leaves out takes nothing from others. Only a change elsewhere can make it a loss of somebody else. */
const onlyOwnLoss = { onlyWarns: "every other Gateway is served as if this server was not there" } as const;

function problemOf(conflict: ServerConflict, gateway: Gateway): Problem {
  const { kind, what, other, workload, routes, server, elsewhere } = conflict;
  const own = gateway.spec.servers[server];
  const isOwn = other === gateway;
  const related = [...(isOwn ? [] : [other]), ...routes];
  const evidence = [...related, workload, elsewhere?.service].filter((one) => one !== undefined);
  return {
    at: ["spec", "servers", server],
    message: messageOf(conflict, own, otherOf(conflict, gateway)),
    // The same server is lost, whichever other one takes its place.
    key: `${kind} ${own?.port?.number ?? 0} ${what} ${isOwn ? "own" : "other"}`,
    ...(related.length > 0 ? { related } : {}),
    ...(evidence.length > 0 ? { evidence } : {}),
  };
}

const otherOf = ({ other, isWithItself }: ServerConflict, gateway: Gateway): string => {
  if (isWithItself) return "another name of this server";
  return other === gateway ? "an earlier server of this Gateway" : idOf(other);
};

/** The port where both servers are, as it is said of the other one. */
function portOf({ elsewhere }: ServerConflict, server: Server | undefined): string {
  const own = server?.port?.number ?? 0;
  return elsewhere === undefined
    ? `${own}`
    : `${elsewhere.port}, which ${idOf(elsewhere.service)} makes one with port ${own},`;
}

function messageOf(conflict: ServerConflict, server: Server | undefined, other: string): string {
  const { kind, what } = conflict;
  const port = portOf(conflict, server);
  if (kind === "host taken" && server !== undefined && isPlainHttp(server))
    return `Istio leaves this server out with all its hosts: ${other} has host ${JSON.stringify(what)} with settings of TLS on port ${port} at the same proxies too`;
  if (kind === "host taken")
    return `Istio leaves this server out: ${other} serves host ${JSON.stringify(what)} over TLS on port ${port} at the same proxies`;
  if (kind === "port taken")
    return `This server does not work: ${other} uses port ${port} of the same proxies in a way that excludes ${what}`;
  if (what === servicesBehind)
    return `Envoy refuses the listener of port ${port} with all its servers: ${other} passes connections to the same services on too, with AUTO_PASSTHROUGH`;
  const connections = what === "*" ? "connections with any server name" : `connections to ${JSON.stringify(what)}`;
  return `Envoy refuses the listener of port ${port} with all its servers: ${other} is for the same connections, ${connections}`;
}
