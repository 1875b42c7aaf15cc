import { idOf } from "../../kube/identity.ts";
import { type ObjectOf, readObject } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { relation } from "../../view/view.ts";
import { gatewayOfProxy, isIstiosIngress, isRemote, type KubernetesGateway } from "../membership/gateways.ts";
import { oldestSetFirst } from "../objects/creation-order.ts";
import { kubernetesGatewayByName } from "../objects/indexes.ts";
import {
  type AuthorityRef,
  type ClientValidation,
  isOwnCertificate,
  terminateModeOf,
  tooManyCertificates,
  validationOf,
} from "./listener-certificates.ts";
import type { Gateway } from "./servers.ts";

export type ListenerSet = ObjectOf<"ListenerSet">;
/** What the user wrote listeners in. */
export type ListenerOwner = KubernetesGateway | ListenerSet;
export type Listener = KubernetesGateway["spec"]["listeners"][number];

/** A listener at a Gateway of the Gateway API, and the Gateway of Istio's kind that istiod generates for it. */
export interface ListenerGateway {
  /** The Gateway whose proxies have the listener. */
  readonly of: KubernetesGateway;
  /** That Gateway, or the ListenerSet that adds the listener to it. */
  readonly owner: ListenerOwner;
  /** All listeners of the same owner, with this one. */
  readonly siblings: readonly ListenerGateway[];
  readonly listener: Listener;
  /** With one server. It is not stored in the API server. */
  readonly generated: Gateway;
  /** Why istiod leaves the listener out, whatever its certificates are; undefined: it does not. */
  readonly leftOut: string | undefined;
}

/** With HBONE and without it, which depends on the class of the Gateway. */
const known = {
  with: new KeptIn<KubernetesGateway, readonly ListenerGateway[]>(),
  without: new KeptIn<KubernetesGateway, readonly ListenerGateway[]>(),
};

/**
 * What istiod generates for a Gateway's own listeners, which ListenerSets take nothing from (Istio pilot/pkg/config/kube/gateway/gateway_collection.go
 * GatewayCollection, conversion.go buildListener, buildTLS; gatewaycommon/listener_conflict.go). Which routes a listener allows is
 * decided where routes are attached, so the server offers its host to every namespace.
 */
export function listenerGateways(gateway: KubernetesGateway, settings: MeshSettings): readonly ListenerGateway[] {
  const kept = known[isForHbone(gateway, settings) ? "with" : "without"];
  let found = kept.get(gateway);
  if (found === undefined) kept.set(gateway, (found = generatedFor([gateway], gateway, settings)));
  return found;
}

/** The same with the listeners that ListenerSets add, which come after those of the Gateway in the order of the sets. */
export const listenersWithSets = (
  gateway: KubernetesGateway,
  sets: readonly ListenerSet[],
  settings: MeshSettings,
): readonly ListenerGateway[] =>
  sets.length === 0
    ? listenerGateways(gateway, settings)
    : generatedFor([gateway, ...sets.toSorted(oldestSetFirst)], gateway, settings);

function generatedFor(
  owners: readonly ListenerOwner[],
  of: KubernetesGateway,
  settings: MeshSettings,
): readonly ListenerGateway[] {
  const accepted = new AcceptedListeners();
  return owners.flatMap((owner) => {
    const siblings: ListenerGateway[] = [];
    for (const listener of owner.spec.listeners) {
      const taking = accepted.take(listener, owner);
      const leftOut = taking === undefined ? unusable(listener, of, settings) : takenBy(taking, owner);
      siblings.push({ of, owner, siblings, listener, generated: gatewayFor(listener, owner, of), leftOut });
    }
    return siblings;
  });
}

interface Accepted {
  readonly listener: Listener;
  readonly owner: ListenerOwner;
}

const takenBy = ({ listener, owner }: Accepted, own: ListenerOwner): string =>
  `listener ${listener.name}${owner === own ? "" : ` of ${idOf(owner)}`} takes its port and host`;

/**
 * The listeners that no earlier one excludes (gatewaycommon/listener_conflict.go listenersDistinct): of those with hosts, each host is
 * there once, and what takes a port for connections leaves it to nothing else.
 */
class AcceptedListeners {
  readonly #accepted = new Map<string, Accepted>();

  /** The listener that excludes this one, which is accepted otherwise. */
  take(listener: Listener, owner: ListenerOwner): Accepted | undefined {
    const { own, others } = placesOf(listener);
    for (const place of [...own.slice(0, 1), ...others]) {
      const taking = this.#accepted.get(place);
      if (taking !== undefined) return taking;
    }
    for (const place of own) if (!this.#accepted.has(place)) this.#accepted.set(place, { listener, owner });
    return undefined;
  }
}

/** The places at a port that a listener takes, of which the first one is its alone, and others that it cannot be beside. */
function placesOf(listener: Listener): { readonly own: readonly string[]; readonly others: readonly string[] } {
  const { port = 0, hostname, protocol = "" } = listener;
  const anyHost = `${port} host`;
  const stream = `${port} stream`;
  if (isStream(listener)) return { own: [stream], others: [anyHost] };
  if (hasHost(listener)) return { own: [`${anyHost} ${hostname || "*"}`, anyHost], others: [stream] };
  return { own: [`${port} protocol ${protocol}`], others: [] };
}

/** The name is that of Istio pkg/config/gateway/kube/gatewayapi.go InternalGatewayName. */
const gatewayFor = (listener: Listener, { metadata }: ListenerOwner, of: KubernetesGateway): Gateway => {
  const { port, hostname, protocol } = listener;
  const gateway: ObjectOf<"Gateway"> = readObject("Gateway", {
    kind: "Gateway",
    metadata: {
      namespace: metadata.namespace,
      name: `${metadata.name}~istio-autogenerated-k8s-gateway~${listener.name}`,
      creationTimestamp: metadata.creationTimestamp,
    },
    spec: {
      servers: [
        {
          port: { number: port, name: "default", protocol },
          hosts: [hostname || "*"],
          ...tlsOf(listener, metadata, of),
        },
      ],
    },
  });
  return gateway;
};

const ownModes: ReadonlySet<string> = new Set(["MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"]);

function tlsOf(listener: Listener, { labels }: ListenerOwner["metadata"], of: KubernetesGateway): object {
  const { tls } = listener;
  if (tls === undefined) return {};
  if (tls.mode === "Passthrough")
    return { tls: { mode: passesOnToOthers(listener, labels) ? "AUTO_PASSTHROUGH" : "PASSTHROUGH" } };
  return { tls: terminated(terminateModeOf(tls), validationOf(of, listener.port), of) };
}

/** The TLS that a listener ends itself, in the mode that an option of it asks for. */
function terminated(asked: string, written: ClientValidation, of: KubernetesGateway): object {
  const validation = isOwnCertificate(asked) ? undefined : written;
  const [authority] = validation?.caCertificateRefs ?? [];
  const ca = authority && { caCertCredentialName: authorityName(authority, of) };
  if (ownModes.has(asked)) return { mode: asked, ...ca };
  if (ca === undefined) return { mode: "SIMPLE" };
  const isFallback = validation?.mode === "AllowInsecureFallback";
  return { mode: isFallback ? "OPTIONAL_MUTUAL" : "MUTUAL", insecureSkipVerify: isFallback, ...ca };
}

/** A gateway between networks passes on what is for other clusters (Istio pilot/pkg/serviceregistry/kube/conversion.go IsAutoPassthrough). */
function passesOnToOthers({ port }: Listener, labels: Readonly<Record<string, string>>): boolean {
  const own = labels["networking.istio.io/gatewayPort"] ?? "15443";
  return labels["topology.istio.io/network"] !== undefined && String(port) === own;
}

/** Conversion.go caCertificateResourceName. */
const authorityName = ({ kind, name, namespace }: AuthorityRef, of: KubernetesGateway): string =>
  `${kind ?? "ConfigMap"} ${namespace ?? of.metadata.namespace}/${name}`;

const protocols: ReadonlySet<string> = new Set(["HTTP", "HTTPS", "TLS", "TCP"]);
/**
 * HBONE is for waypoints and east-west gateways (Istio pilot/pkg/config/kube/gateway/conversion.go listenerProtocolToIstio). What
 * another controller supports is not known.
 */
export const isSupported = ({ protocol = "" }: Listener, gateway: KubernetesGateway, settings: MeshSettings): boolean =>
  protocols.has(protocol) || (protocol === "HBONE" && isForHbone(gateway, settings));
const isForHbone = (gateway: KubernetesGateway, settings: MeshSettings): boolean =>
  !isIstiosIngress(gateway, settings) && !isRemote(gateway, settings);

/** Why istiod accepts no such listener; undefined: it does, or another one has its place. */
export function unusable(listener: Listener, gateway: KubernetesGateway, settings: MeshSettings): string | undefined {
  const { protocol, tls } = listener;
  if (!isSupported(listener, gateway, settings))
    return `Istio does not support protocol ${JSON.stringify(protocol ?? "")} there`;
  if (tls === undefined) return protocol === "HTTPS" || protocol === "TLS" ? "it has no TLS settings" : undefined;
  return tooManyCertificates(listener, gateway);
}

const isStream = ({ protocol }: Listener): boolean => protocol === "TCP" || protocol === "UDP";
const hasHost = ({ protocol }: Listener): boolean => ["HTTP", "HTTPS", "TLS"].includes(protocol ?? "");

/** Whether routes of every namespace can have every host at a listener. Routes of TCP and UDP have no host. */
export const isOpenToAll = (listener: Listener): boolean =>
  hasHost(listener) && listener.tls?.mode !== "Passthrough" && !listener.hostname && allowsEveryNamespace(listener);

/**
 * An empty selector, and none, allow every namespace as `All` does (conversion.go namespacesFromSelector), and so does one for whatever has the
 * label that the API server gives to each namespace.
 */
function allowsEveryNamespace({ allowedRoutes }: Listener): boolean {
  const { from, selector } = allowedRoutes?.namespaces ?? {};
  if (from !== "Selector") return from === "All";
  return (
    selector === undefined ||
    (Object.keys(selector.matchLabels ?? {}).length === 0 &&
      selector.matchExpressions.every(({ key, operator }) => key === nameLabel && operator === "Exists"))
  );
}

const nameLabel = "kubernetes.io/metadata.name";

/** A Gateway of the Gateway API and the workloads that look like its proxy. */
export const workloadsOfKubernetesGateway = relation(
  "workloadsOfKubernetesGateway",
  kubernetesGatewayByName,
  gatewayOfProxy.from,
);
