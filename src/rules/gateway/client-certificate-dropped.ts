import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { type ListenerGateway, listenerGateways, type ListenerOwner } from "../../mesh/gateways/listener-gateways.ts";
import { gatewayOfListenerSet, listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import type { Server } from "../../mesh/gateways/servers.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [gatewayOfListenerSet, listenersOfGateway] as const;
type View = MeshView<(typeof reads)[number]>;

export const gatewayClientCertificateDropped = defineRule({
  id: "gateway-client-certificate-dropped",
  subject: ["Gateway", "KubernetesGateway", "ListenerSet"],
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "ListenerSet"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls"],
  summary: "A Gateway no longer demands a client certificate for a host.",
  why: "A server with mode MUTUAL or ISTIO_MUTUAL refuses clients without a valid certificate. With SIMPLE or OPTIONAL_MUTUAL, or with insecureSkipVerify, everybody gets in whom no policy refuses (Istio pilot/pkg/networking/core/listener.go BuildListenerTLSContext, pilot/pkg/security/model/authentication.go ApplyToCommonTLSContext). Gateways and ListenerSets of the Gateway API say it with the option gateway.istio.io/tls-terminate-mode of a listener or with spec.tls.frontend (pilot/pkg/config/kube/gateway/conversion.go buildTLS).",
  fix: "Keep mode MUTUAL for the host, and serve other clients by a host of their own.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["gateway"],
    seen: "Requests to the host without a client certificate, which failed in the TLS handshake before, get answers.",
    wayOut: "Apply the previous version of the Gateway.",
    silentWhen:
      "The host is served by plain HTTP too (gateway-plain-http), by another Gateway, or the Gateway is new or deleted.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
  },

  *compare(before, after) {
    const old = openedHosts(before.object, before.mesh);
    for (const [host, open] of openedHosts(after.object, after.mesh))
      if (open !== undefined && old.has(host) && old.get(host) === undefined)
        yield {
          at: open.at,
          message: `Clients of host ${JSON.stringify(host)} no longer need ${open.what}`,
          key: `client certificate ${host}`,
        };
  },
});

/** Where and how a host is open to clients without a certificate. */
interface Opening {
  readonly at: Problem["at"];
  /** What clients no longer need, and why. */
  readonly what: string;
}

/** The hosts that are served; undefined: only clients with a valid certificate get in. */
function openedHosts(
  gateway: ObjectOf<"Gateway"> | ListenerOwner,
  mesh: View,
): ReadonlyMap<string, Opening | undefined> {
  const found = new Map<string, Opening | undefined>();
  if (!isServed(gateway, mesh.settings)) return found;
  const servers = gateway.kind === "Gateway" ? serversOf(gateway) : listenersOf(listenersIn(gateway, mesh));
  for (const { hosts, opening } of servers) for (const host of hosts) found.set(host, found.get(host) ?? opening);
  return found;
}

interface Served {
  readonly hosts: readonly string[];
  readonly opening: Opening | undefined;
}

function* serversOf({ spec }: ObjectOf<"Gateway">): Iterable<Served> {
  for (const [i, server] of spec.servers.entries()) yield* served(server, ["spec", "servers", i, "tls"]);
}

/** All listeners of an object, in their order there. */
function listenersIn(owner: ListenerOwner, mesh: View): readonly ListenerGateway[] {
  if (owner.kind === "KubernetesGateway") return listenerGateways(owner);
  const [gateway] = mesh.related(gatewayOfListenerSet, owner);
  return gateway === undefined ? [] : (mesh.get(listenersOfGateway, gateway).byOwner.get(owner) ?? []);
}

function* listenersOf(listeners: readonly ListenerGateway[]): Iterable<Served> {
  for (const [i, { generated, leftOut }] of listeners.entries())
    for (const server of leftOut === undefined ? generated.spec.servers : [])
      yield* served(server, ["spec", "listeners", i, "tls"]);
}

function* served({ hosts, tls }: Server, at: Problem["at"]): Iterable<Served> {
  // Plain HTTP has a rule of its own, and a backend behind PASSTHROUGH may demand a certificate itself.
  if (tls?.mode === undefined || tls.mode.endsWith("PASSTHROUGH")) return;
  const what = notNeeded(tls.mode, tls.insecureSkipVerify === true);
  yield { hosts: hosts.map(withoutNamespace), opening: what === undefined ? undefined : { at, what } };
}

const withoutNamespace = (host: string): string => host.slice(host.indexOf("/") + 1);

/**
 * With insecureSkipVerify, Envoy accepts any certificate of a client, also with ISTIO_MUTUAL (Istio pilot/pkg/security/model/authentication.go
 * ApplyToCommonTLSContext, ApplyCredentialSDSToServerCommonTLSContext).
 */
function notNeeded(mode: string, isUnverified: boolean): string | undefined {
  if (mode !== "MUTUAL" && mode !== "ISTIO_MUTUAL") return `a certificate: the mode is ${mode}`;
  return isUnverified ? "a valid certificate: insecureSkipVerify accepts any" : undefined;
}
