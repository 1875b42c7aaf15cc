import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { addressesOfGateway, closedPort, type Unserved } from "../../mesh/gateways/gateway-addresses.ts";
import {
  grantsForGateway,
  type MissingCertificate,
  missingCertificate,
} from "../../mesh/gateways/listener-certificates.ts";
import {
  isSupported,
  type Listener,
  type ListenerGateway,
  listenerGateways,
  unusable,
} from "../../mesh/gateways/listener-gateways.ts";
import { fixOfKinds, unsupportedKinds } from "../../mesh/gateways/listener-kinds.ts";
import { canHaveListenerSets } from "../../mesh/gateways/listener-sets.ts";
import {
  inboundBindingOf,
  isIstiosIngress,
  isIstiosWaypoint,
  type KubernetesGateway,
} from "../../mesh/membership/gateways.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [grantsForGateway, addressesOfGateway] as const;
type View = MeshView<(typeof reads)[number]>;

export const kubernetesGatewayListenerNotUsed = defineRule({
  id: "kubernetes-gateway-listener-not-used",
  subject: "KubernetesGateway",
  reads,
  worksWithout: ["ReferenceGrant", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A listener of a Gateway does not work: no proxy serves the Gateway, its protocol is not supported, another listener takes its port, the Services that the Gateway names as its addresses do not have its port, what it names as a certificate may not be used, or it allows kinds of routes that its protocol cannot have; or a waypoint has no listener with the port of HBONE.",
  why: "For a listener that it does not accept, istiod generates no server, and the gateway has no such port or host (Istio pilot/pkg/config/kube/gateway/conversion.go buildListener, pilot/pkg/config/kube/gateway/controller.go List). It supports the protocols HTTP, HTTPS, TLS and TCP, in upper case. A listener that ends TLS may have two certificates, which are Secrets, and one CA certificate in a Secret or a ConfigMap; those of other namespaces need a ReferenceGrant for Gateways (buildTLS, pilot/pkg/config/kube/gatewaycommon/references.go SecretAllowed). What takes a port for TCP or UDP leaves it to no other listener (pilot/pkg/config/kube/gatewaycommon/listener_conflict.go listenersDistinct). Kinds in `allowedRoutes` that a protocol cannot have are left out (pilot/pkg/config/kube/gatewaycommon/conversion.go GenerateGatewaySupportedKinds). A Gateway with `spec.addresses` is served by the pods behind these Services, and a listener is opened only at the target of the Service port with its number (pilot/pkg/model/gateway.go resolvePorts). Addresses of other types than Hostname are ignored (extractGatewayServices). Waypoints have one listener, for which istiod generates no server: its port becomes that of the Service of the waypoint, to which ztunnel always sends at 15008 (pilot/pkg/serviceregistry/ambient/waypoints.go getGatewayAddress, unexpectedWaypointListener). Other classes have other rules.",
  fix: "Correct the protocol, the port, the certificates or the kinds of the listener, or create the ReferenceGrant.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway", "waypoint"],
    seen: "The gateway refuses connections to the port, or does not know the host. The condition `Accepted` or `Programmed` of the listener is False.",
    wayOut: "Apply the previous version of the Gateway, or the ReferenceGrant again.",
    silentWhen:
      "The class of the Gateway is neither `istio` nor `istio-waypoint`, or an annotation says how the waypoint takes requests. A ServiceEntry of the namespace has the host of an address. Whether the Secret or the ConfigMap exists and is valid is not looked at.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(gateway, mesh) {
    if (isIstiosWaypoint(gateway, mesh.settings)) yield* ofWaypoint(gateway, mesh.settings);
    if (!isIstiosIngress(gateway, mesh.settings)) return;
    const { unserved } = mesh.get(addressesOfGateway, gateway);
    if (unserved !== undefined) yield withoutProxies(unserved, gateway, mesh);
    for (const [i, one] of listenerGateways(gateway, mesh.settings).entries()) {
      const { name } = one.listener;
      if (one.leftOut === undefined) yield* kindsOfListener(one.listener, i);
      const refusal = isLeftToOthers(one, gateway, mesh.settings) ? undefined : refusalOf(one, gateway, mesh);
      if (refusal === undefined) continue;
      const { because, field, ...more } = refusal;
      yield {
        at: ["spec", "listeners", i, field],
        message: `Listener ${name} does not work: ${because}`,
        key: `${name} ${because}`,
        ...more,
      };
    }
  },
});

const hbonePort = 15008;

/** The proxy of a waypoint takes requests at one port, which its Service has if a listener has it, whatever the protocol is. */
function* ofWaypoint(gateway: KubernetesGateway, settings: MeshSettings): Iterable<Problem> {
  const { listeners } = gateway.spec;
  const [first] = listeners;
  if (first === undefined || inboundBindingOf(gateway, settings) !== undefined) return;
  if (listeners.some(({ port }) => port === hbonePort)) return;
  yield {
    at: ["spec", "listeners", 0, "port"],
    message: `Listener ${first.name} does not work: ztunnel sends requests to port ${hbonePort} of a waypoint, which its Service does not have without a listener`,
    key: "waypoint",
    fix: `Write one listener with port ${hbonePort} and protocol HBONE, as \`istioctl waypoint generate\` does.`,
  };
}

function withoutProxies({ lacks, names }: Unserved, { metadata }: KubernetesGateway, mesh: View): Problem {
  const shown = names
    .slice(0, mostShown)
    .map((name) => JSON.stringify(name))
    .join(", ");
  const at = ["spec", "addresses"];
  const none = "No proxy serves this Gateway, and no listener works";
  if (lacks === "hostname")
    return {
      at,
      message: `${none}: istiod reads only addresses of type Hostname, which ${shown} is not`,
      key: "no hostname",
      fix: "Write the name of the Service of the proxies as an address of type Hostname, or remove spec.addresses, so that istiod runs the proxies.",
    };
  return {
    at,
    message: `${none}: no Service of namespace ${metadata.namespace} has the name ${shown}`,
    key: "no service",
    fix: "Correct the name, or create the Service of the proxies in the namespace of the Gateway. Without spec.addresses, istiod runs the proxies.",
    evidence: [absent("Service", metadata.namespace)],
    ...(mesh.knowsAll("Service") ? {} : { guess: "all Services" }),
  };
}
const mostShown = 3;

function* kindsOfListener(listener: Listener, i: number): Iterable<Problem> {
  for (const { i: place, kind, words } of unsupportedKinds(listener))
    yield {
      at: ["spec", "listeners", i, "allowedRoutes", "kinds", place],
      message: `Listener ${listener.name} ${words}`,
      key: `${listener.name} ${listener.protocol} ${kind}`,
      fix: fixOfKinds,
    };
}

/** A listener for HTTPS without TLS settings may stand for those of ListenerSets, unless another one has its place. */
const isLeftToOthers = (
  { listener, leftOut }: ListenerGateway,
  gateway: KubernetesGateway,
  settings: MeshSettings,
): boolean =>
  listener.tls === undefined &&
  isSupported(listener, gateway, settings) &&
  leftOut === unusable(listener, gateway, settings) &&
  canHaveListenerSets(gateway, settings);

interface Refusal extends Pick<Problem, "fix" | "guess"> {
  readonly because: string;
  readonly field: "port" | "protocol" | "tls";
}

function refusalOf(one: ListenerGateway, gateway: KubernetesGateway, mesh: View): Refusal | undefined {
  const { listener, leftOut } = one;
  if (leftOut !== undefined) {
    const isTaken = leftOut !== unusable(listener, gateway, mesh.settings);
    return { because: leftOut, ...(isTaken ? elsewhere : placeAndFix(listener, gateway, mesh.settings)) };
  }
  const closed = closedPort(listener.port, mesh.get(addressesOfGateway, gateway));
  if (closed !== undefined) return { ...closed, field: "port" };
  const missing = missingCertificate(one, mesh.get(grantsForGateway, gateway));
  if (missing === undefined || (missing.needsGrant && !mesh.knows("ReferenceGrant"))) return undefined;
  return { because: missing.because, field: "tls", ...grantOf(missing, mesh) };
}

const elsewhere = {
  field: "port",
  fix: "Use another port: one for TCP or UDP is left to nothing else, and a hostname is on a port once.",
} as const;

function placeAndFix(
  listener: Listener,
  gateway: KubernetesGateway,
  settings: MeshSettings,
): Pick<Refusal, "field" | "fix"> {
  if (!isSupported(listener, gateway, settings))
    return { field: "protocol", fix: "Write one of the protocols HTTP, HTTPS, TLS and TCP, in upper case." };
  if (listener.tls === undefined)
    return { field: "protocol", fix: "Give the listener `tls` with a Secret in `certificateRefs`." };
  return { field: "tls", fix: "Name at most two certificates, and one CA certificate in `spec.tls.frontend`." };
}

function grantOf({ needsGrant }: MissingCertificate, mesh: View): Pick<Refusal, "fix" | "guess"> {
  if (!needsGrant)
    return { fix: "Name a Secret in `certificateRefs`, and a ConfigMap or a Secret as the CA certificate." };
  return {
    fix: "Create a ReferenceGrant in that namespace, from kind Gateway and the namespace of the Gateway to it, or copy it to the namespace of the Gateway.",
    ...(mesh.knowsAll("ReferenceGrant") ? {} : { guess: "all ReferenceGrants" }),
  };
}
