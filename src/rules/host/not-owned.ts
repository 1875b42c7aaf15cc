import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import {
  classesOfIngress,
  hostsOfIngress,
  type Ingress,
  isServedByIstio,
  serversOfIngress,
} from "../../mesh/gateways/ingresses.ts";
import { hostsOfStreams } from "../../mesh/gateways/attachment.ts";
import type { ListenerOwner } from "../../mesh/gateways/listener-gateways.ts";
import { hostsOfRoute } from "../../mesh/gateways/route-hosts.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { visibleTo } from "../../mesh/traffic/export-to.ts";
import {
  compared,
  hostOwnersParameter,
  type HostOwnership,
  type OwnedHost,
  ownershipOf,
} from "../../mesh/traffic/host-ownership.ts";
import { covers, fullHost, hostOfService, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import {
  otherNames,
  portsOfOwnHosts,
  routesOtherNames,
  servicesNamedByEntry,
  servicesNamedByVirtualService,
} from "../../mesh/traffic/service-claims.ts";
import { gatewaysOf, isDelegate, meshGateway, nameOf } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A VirtualService that has routes of tcp alone, for gateways, and these Gateways. */
const gatewaysOfStreams = relation(
  "gatewaysOfStreams",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && isOfStreams(virtualService) ? gatewaysOf(virtualService) : [],
  ),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? [nameOf(gateway)] : [])),
);

function isOfStreams(virtualService: VirtualService): boolean {
  const { http, tls, tcp } = virtualService.spec;
  const isOfTcp = tcp.length > 0 && http.length === 0 && tls.length === 0;
  return isOfTcp && !isDelegate(virtualService) && !gatewaysOf(virtualService).has(meshGateway);
}

type Subject = ObjectOf<
  "VirtualService" | "Gateway" | "Ingress" | "KubernetesGateway" | "KubernetesRoute" | "ListenerSet" | "ServiceEntry"
>;

export const hostNotOwned = defineRule({
  id: "host-not-owned",
  subject: [
    "VirtualService",
    "Gateway",
    "Ingress",
    "KubernetesGateway",
    "KubernetesRoute",
    "ListenerSet",
    "ServiceEntry",
  ],
  reads: [
    ...[hostsOfRoute, gatewaysOfStreams, servicesNamedByVirtualService, servicesNamedByEntry, portsOfOwnHosts],
    ...[isServedByIstio, classesOfIngress],
  ],
  worksWithout: [
    ...(["Gateway", "Ingress", "IngressClass", "KubernetesGateway", "KubernetesRoute", "ListenerSet"] as const),
    ...(["Service", "ServiceEntry"] as const),
  ],
  mode: "deny",
  since: "0.1.0",
  parameters: { hostOwners: hostOwnersParameter },
  summary: "An object uses a host that a policy gives to other namespaces.",
  why: "Istio knows no owner of a host: whoever writes a VirtualService, a route of the Gateway API, an Ingress, a Gateway or a ServiceEntry for it decides about its requests, at a shared gateway and for the sidecars that the object is exported to (Istio pilot/pkg/networking/core/gateway.go, pilot/pkg/model/virtualservice.go SelectVirtualServices). istiod makes a VirtualService for the ingress gateway of an Ingress of its class, which comes before those that users write (pilot/pkg/config/kube/ingress/virtualservices.go). The field hostOwners of a MeshwardPolicy says which namespaces may.",
  fix: "Use a host of your own namespace, move the object to a namespace that owns the host, or ask its owners to change hostOwners of the policy.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests for the host are answered by services of another namespace.",
    wayOut: "Delete the object, or remove the host from it: the routes of the owner count again within seconds.",
    silentWhen:
      "No policy has hostOwners, no entry covers the host, the routes are of tcp at servers of Gateways that see no host because they do not end TLS, the only one that does is `*` and the host is that of a Service in the object's own namespace, an Ingress is not for Istio, or its IngressClass is not known, or only clients of that namespace see it.",
    page: "https://istio.io/latest/docs/ops/best-practices/traffic-management/",
  },

  *check(object, mesh, { hostOwners }) {
    const { settings } = mesh;
    if (hostOwners.length === 0 || !isRead(object, settings)) return;
    const ownership = ownershipOf(hostOwners);
    const claims = object.kind === "KubernetesRoute" ? routedBy(object, mesh) : claimsOf(object, mesh);
    const found = new Set<string>();
    for (const claim of claims)
      for (const owned of againstClaim(ownership, claim, settings)) {
        const { at, host, written } = claim;
        const key = JSON.stringify([written ?? host, owned.host]);
        // Who owns all hosts owns those of Services, too.
        if (written !== undefined && found.has(key)) continue;
        found.add(key);
        yield {
          at,
          message: `Only ${namesOf(owned.namespaces)} may use the host "${owned.host}"${howItIs(owned.host, host, written)}`,
          key,
          ...basisOf(claim),
        };
      }
  },
});

/** What the host of a claim has to do with the owned one. */
function howItIs(owned: string, host: string, written: string | undefined): string {
  if (written !== undefined) return `, and "${written}" is another name of "${host}"`;
  return owned === host.toLowerCase() ? "" : `, which "${host}" includes or is part of`;
}

const isRead = (object: Subject, settings: MeshSettings): boolean =>
  ["Ingress", "KubernetesGateway", "KubernetesRoute", "ListenerSet"].includes(object.kind) ||
  isServed(object, settings);

interface Claim {
  readonly at: Path;
  readonly host: string;
  /** The namespace that uses the host. */
  readonly namespace: string;
  /** A gateway offers hosts, and routes use them: an offer of a wildcard takes no narrower host from anybody. */
  readonly isOffer: boolean;
  /** The object that decides which hosts these are; undefined: the subject alone. */
  readonly by?: ObjectOf<"KubernetesGateway" | "ListenerSet" | "ServiceEntry" | "Service"> | undefined;
  readonly evidence?: readonly Evidence[];
  /** The name of a Service as it is written, if it is not the full host. */
  readonly written?: string;
}

const basisOf = ({ by, evidence = [] }: Claim): { related?: readonly AnyObject[]; evidence: readonly Evidence[] } =>
  by === undefined ? { evidence } : { related: [by], evidence: [by] };

function againstClaim(
  ownership: HostOwnership,
  { host, namespace, isOffer }: Pick<Claim, "host" | "namespace" | "isOffer">,
  { domain }: MeshSettings,
): readonly OwnedHost[] {
  // Kubernetes gives a namespace the hosts of its Services. Who owns "all hosts" means those that anybody could claim.
  const isOfOwnService = namespaceOfHost(compared(host), domain) === namespace;
  return ownership
    .against(namespace, host)
    .filter((owned) => (!isOffer || covers(owned.host, compared(host))) && !(isOfOwnService && owned.host === "*"));
}

type View = MeshView<
  | typeof hostsOfRoute
  | typeof gatewaysOfStreams
  | typeof servicesNamedByVirtualService
  | typeof servicesNamedByEntry
  | typeof portsOfOwnHosts
  | typeof isServedByIstio
  | typeof classesOfIngress
>;

const routedBy = (route: KubernetesRoute, mesh: View): readonly Claim[] =>
  mesh.get(hostsOfRoute, route).map((one) => ({ ...one, namespace: route.metadata.namespace, isOffer: false }));

function claimsOf(object: Exclude<Subject, KubernetesRoute>, mesh: View): Iterable<Claim> {
  const { settings } = mesh;
  if (object.kind === "Gateway") return offersOf(object);
  if (object.kind === "Ingress") return claimsOfIngress(object, mesh);
  if (object.kind === "KubernetesGateway" || object.kind === "ListenerSet") return listenersOf(object);
  const { namespace } = object.metadata;
  const isService = object.kind === "ServiceEntry";
  const isSeen = isService ? isExported(object, settings.defaultServiceExportTo) : isForOthers(object, settings);
  if (!isSeen) return [];
  const ofStreams = isService ? undefined : claimsOfStreams(object, mesh);
  if (ofStreams !== undefined) return ofStreams;
  const asWritten = object.spec.hosts.map((host, i) => ({
    at: ["spec", "hosts", i],
    host: isService ? host : fullHost(host, namespace, settings.domain),
    namespace,
    isOffer: false,
  }));
  return [...asWritten, ...claimsOfOtherNames(object, mesh)];
}

/** Clients call a Service by other names than its full host, too. */
function claimsOfOtherNames(object: VirtualService | ObjectOf<"ServiceEntry">, mesh: View): readonly Claim[] {
  const named = new Map(servicesNamedBy(object, mesh).map((one) => [hostOfService(one, mesh.settings.domain), one]));
  if (named.size === 0) return [];
  const all = otherNames(object.spec.hosts, mesh.settings.domain);
  return object.spec.hosts.flatMap((written, i) => {
    const host = all.get(written);
    const by = host === undefined ? undefined : named.get(host);
    if (host === undefined || by === undefined) return [];
    const { namespace } = object.metadata;
    return [{ at: ["spec", "hosts", i], host, namespace, isOffer: false, by, written }];
  });
}

function servicesNamedBy(
  object: VirtualService | ObjectOf<"ServiceEntry">,
  mesh: View,
): readonly ObjectOf<"Service">[] {
  if (object.kind === "ServiceEntry") return mesh.related(servicesNamedByEntry, object);
  if (!isExported(object, mesh.settings.defaultVirtualServiceExportTo)) return [];
  const named = mesh.related(servicesNamedByVirtualService, object);
  return named.filter((service) => routesOtherNames(object, service, mesh));
}

function* offersOf({ metadata, spec }: ObjectOf<"Gateway">): Iterable<Claim> {
  for (const [i, { hosts }] of spec.servers.entries())
    for (const [j, host] of hosts.entries())
      yield { at: ["spec", "servers", i, "hosts", j], ...offered(host, metadata.namespace), isOffer: true };
}

/** An Ingress has routes for its hosts, and offers those of its certificates, which it needs no routes for. */
function* claimsOfIngress(ingress: Ingress, mesh: View): Iterable<Claim> {
  if (mesh.get(isServedByIstio, ingress) !== true) return;
  const { namespace } = ingress.metadata;
  const evidence = withoutClass(ingress, mesh);
  for (const { host, rule } of hostsOfIngress(ingress))
    yield { at: ["spec", "rules", rule, "host"], host, namespace, isOffer: false, evidence };
  for (const { hosts, tls } of serversOfIngress(ingress))
    if (tls !== undefined)
      for (const [i, host] of hosts.entries())
        yield { at: ["spec", "tls", tls, "hosts", i], host, namespace, isOffer: true, evidence };
}

/** istiod serves it for want of the IngressClass that it names, which may be created at this moment. */
function withoutClass(ingress: Ingress, mesh: View): readonly Evidence[] {
  const { ingressClassName } = ingress.spec;
  const isDecided = !ingressClassName || mesh.settings.ingress.mode !== "DEFAULT";
  if (isDecided || mesh.related(classesOfIngress, ingress).length > 0) return [];
  return [absent("IngressClass", "", ingressClassName)];
}

function* listenersOf({ metadata: { namespace }, spec }: ListenerOwner): Iterable<Claim> {
  for (const [i, { hostname }] of spec.listeners.entries())
    if (hostname) yield { at: ["spec", "listeners", i, "hostname"], host: hostname, namespace, isOffer: true };
}

/** `shop/shop.example.com` offers the host to namespace shop alone. */
function offered(host: string, own: string): Pick<Claim, "host" | "namespace"> {
  const [place = "", name] = host.split("/");
  if (name === undefined) return { host, namespace: own };
  return { host: name, namespace: place === "*" || place === "." ? own : place };
}

/** What only clients of its own namespace see is their business. */
const isForOthers = (object: VirtualService, settings: MeshSettings): boolean =>
  object.spec.gateways.some((gateway) => gateway !== meshGateway) ||
  isExported(object, settings.defaultVirtualServiceExportTo);

/**
 * The hosts of routes of tcp that Gateways serve; undefined: the object has other routes, or one of its Gateways is not known, so
 * that all its hosts count.
 */
function claimsOfStreams(object: VirtualService, mesh: View): readonly Claim[] | undefined {
  if (!isOfStreams(object)) return undefined;
  const gateways = mesh.related(gatewaysOfStreams, object);
  if (gateways.length < gatewaysOf(object).size) return undefined;
  const { namespace } = object.metadata;
  const places = new Map(gateways.flatMap((gateway) => [...hostsOfStreams(object, gateway, mesh.settings)]));
  return [...places].map(([host, i]) => ({ at: ["spec", "hosts", i], host, namespace, isOffer: false }));
}

function isExported(
  { metadata, spec }: ObjectOf<"VirtualService" | "ServiceEntry">,
  otherwise: readonly string[],
): boolean {
  for (const client of visibleTo(spec.exportTo, metadata.namespace, otherwise))
    if (client !== metadata.namespace) return true;
  return false;
}

const namesOf = (namespaces: readonly string[]): string =>
  namespaces.length === 0
    ? "no namespace"
    : `${namespaces.length === 1 ? "namespace" : "namespaces"} ${namespaces.map((name) => `"${name}"`).join(", ")}`;
