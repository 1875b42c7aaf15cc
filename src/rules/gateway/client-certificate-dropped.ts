import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import {
  acceptedByAny,
  type ClientCertificates,
  clientCertificatesOf,
  newlyAccepted,
  sizeOf,
} from "../../mesh/gateways/client-certificates.ts";
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
  summary: "A Gateway no longer demands a client certificate for a host, or accepts certificates that it refused.",
  why: "A server with mode MUTUAL or ISTIO_MUTUAL refuses clients without a valid certificate. With SIMPLE or OPTIONAL_MUTUAL, or with insecureSkipVerify, everybody gets in whom no policy refuses (Istio pilot/pkg/networking/core/listener.go BuildListenerTLSContext, pilot/pkg/security/model/authentication.go ApplyToCommonTLSContext). Gateways and ListenerSets of the Gateway API say it with the option gateway.istio.io/tls-terminate-mode of a listener or with spec.tls.frontend (pilot/pkg/config/kube/gateway/conversion.go buildTLS). Of valid certificates, those get in that have one of `subjectAltNames` and one of the hashes of `verifyCertificateSpki` and `verifyCertificateHash`, come from the CA of `caCertificates`, `caCertCredentialName` or `caCertificateRefs`, and are not in `caCrl` (pilot/pkg/security/model/authentication.go ApplyCredentialSDSToServerCommonTLSContext).",
  fix: "Keep mode MUTUAL and the conditions on certificates for the host, and serve other clients by a host of their own.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["gateway"],
    seen: "Requests to the host without a client certificate, or with one that failed in the TLS handshake before, get answers.",
    wayOut: "Apply the previous version of the Gateway.",
    silentWhen:
      "The host is served by plain HTTP too (gateway-plain-http), by another Gateway, or the Gateway is new or deleted; or the CA is that of another Secret in `credentialName`, or other keys are in the same Secret or ConfigMap, as when a certificate is renewed. Secrets are not read.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
  },

  *compare(before, after) {
    const old = servedHosts(before.object, before.mesh);
    const gains = new Gains((compared) => after.mesh.visited(Math.ceil(compared / 100)));
    for (const [host, now] of servedHosts(after.object, after.mesh)) {
      const was = old.get(host);
      // Everybody got in before.
      if (was === undefined || was.opening !== undefined) continue;
      const what =
        now.opening === undefined ? gains.between(was.servers, now.servers) : `no longer need ${now.opening.what}`;
      if (what !== undefined)
        yield {
          at: now.opening?.at ?? now.at,
          message: `Clients of host ${JSON.stringify(host)} ${what}`,
          key: `client certificate ${host}`,
        };
    }
  },
});

/** What the servers for one host demand. */
interface Demands {
  readonly at: Problem["at"];
  /** The first server that lets in clients without a valid certificate. */
  opening: Opening | undefined;
  /** What the others accept. */
  readonly servers: ClientCertificates[];
}

/** Where and how a host is open to clients without a certificate. */
interface Opening {
  readonly at: Problem["at"];
  /** What clients no longer need, and why. */
  readonly what: string;
}

/** What clients gain by a change, computed once for all hosts of the same servers. */
class Gains {
  readonly #found = new Map<string, string | undefined>();
  readonly #numbers = new Map<ClientCertificates, number>();
  readonly #visited: (compared: number) => void;

  constructor(visited: (compared: number) => void) {
    this.#visited = visited;
  }

  between(was: readonly ClientCertificates[], is: readonly ClientCertificates[]): string | undefined {
    const key = `${this.#keyOf(was)} ${this.#keyOf(is)}`;
    if (!this.#found.has(key)) {
      this.#visited([...was, ...is].reduce((sum, one) => sum + sizeOf(one), 0));
      this.#found.set(key, newlyAccepted(acceptedByAny(was), acceptedByAny(is)));
    }
    return this.#found.get(key);
  }

  #keyOf(servers: readonly ClientCertificates[]): string {
    for (const server of servers) if (!this.#numbers.has(server)) this.#numbers.set(server, this.#numbers.size);
    return servers.map((server) => this.#numbers.get(server)).join();
  }
}

function servedHosts(gateway: ObjectOf<"Gateway"> | ListenerOwner, mesh: View): ReadonlyMap<string, Demands> {
  const found = new Map<string, Demands>();
  if (!isServed(gateway, mesh.settings)) return found;
  const servers = gateway.kind === "Gateway" ? serversOf(gateway) : listenersOf(listenersIn(gateway, mesh));
  for (const { hosts, at, what, accepted } of servers)
    for (const host of hosts) {
      const demands: Demands = found.get(host) ?? { at, opening: undefined, servers: [] };
      found.set(host, demands);
      if (what === undefined) demands.servers.push(accepted);
      else demands.opening ??= { at, what };
    }
  return found;
}

interface Served {
  readonly hosts: readonly string[];
  readonly at: Problem["at"];
  /** What no client needs; undefined: only clients with a valid certificate get in. */
  readonly what: string | undefined;
  readonly accepted: ClientCertificates;
}

function* serversOf({ spec }: ObjectOf<"Gateway">): Iterable<Served> {
  for (const [i, server] of spec.servers.entries()) yield* served(server, ["spec", "servers", i, "tls"]);
}

/** All listeners of an object, in their order there. */
function listenersIn(owner: ListenerOwner, mesh: View): readonly ListenerGateway[] {
  if (owner.kind === "KubernetesGateway") return listenerGateways(owner, mesh.settings);
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
  yield { hosts: hosts.map(withoutNamespace), at, what, accepted: clientCertificatesOf(tls) };
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
