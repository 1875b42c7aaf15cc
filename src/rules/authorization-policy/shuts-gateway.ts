import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { authorization, type NamespaceAuthorization } from "../../mesh/authorization/effective-authorization.ts";
import {
  actionOf,
  attachesToGateway,
  type AuthorizationPolicy,
  isEnforced,
  targetRefsOf,
} from "../../mesh/authorization/policies.ts";
import { matchesAllUnnamed, namesIdentities } from "../../mesh/authorization/rule-identities.ts";
import { type ParentAcceptance, routeAcceptances } from "../../mesh/gateways/route-acceptance.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { gatewaysByPodLabel, policiesAtGateways } from "../../mesh/gateways/policies-at-gateways.ts";
import { routesNaming, routesNamingReads } from "../../mesh/gateways/routes-at-gateway.ts";
import { listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import {
  type Gateway,
  hasKnownProtocol,
  isOverTls,
  isPlainHttp,
  passesThrough,
  readsHttp,
  type Server,
} from "../../mesh/gateways/servers.ts";
import { gatewaysOfNamespace, isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { matchLabelsOf, selects } from "../../mesh/objects/selectors.ts";
import { isWildcard } from "../../mesh/traffic/hosts.ts";
import {
  gatewaysOfWorkload,
  gatewaysSelecting,
  virtualServicesOfGateway,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { namespaceOfGateway } from "../../mesh/waypoints/bindings.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type MeshView, relation } from "../../view/view.ts";

/** Whether it is a policy that can be for gateways, as workloads or as targets, and may deny requests that other teams need. */
function mayShut(policy: AuthorizationPolicy, settings: MeshSettings): boolean {
  const refs = targetRefsOf(policy);
  const isForGateways = refs.length === 0 || refs.some(({ kind }) => kind === "Gateway");
  return isForGateways && isEnforced(policy, settings) && (isForHosts(policy) || isForIdentities(policy));
}

/** Whether it is for callers with an identity alone: an ALLOW policy that names some, or a DENY policy that leaves some out. */
const isForIdentities = (policy: AuthorizationPolicy): boolean =>
  actionOf(policy) === "ALLOW"
    ? policy.spec.rules.length > 0 && policy.spec.rules.every(namesIdentities)
    : policy.spec.rules.some(matchesAllUnnamed);

const places = policiesAtGateways("AuthorizationPolicy", mayShut);
/** Such a policy, and its namespace. */
const namespaceOfHostPolicy = relation("namespaceOfHostPolicy", places.namespace, namespaceByName);
/** A host policy of the root namespace and the workloads of any namespace that may have the labels of its selector. */
const workloadsOfHostPolicy = relation("workloadsOfHostPolicy", places.meshWideLabel, workloadsOfGateway.to);
/** The same and the gateways of any namespace whose pods may have these labels. */
const gatewaysOfHostPolicy = relation("gatewaysOfHostPolicy", places.meshWideLabel, gatewaysByPodLabel);

const reads = [
  namespaceOfHostPolicy,
  workloadsOfHostPolicy,
  gatewaysOfHostPolicy,
  namespaceOfWorkload,
  namespaceOfGateway,
  authorization,
  gatewaysOfWorkload,
  virtualServicesOfGateway,
  gatewaysOfNamespace,
  ...routesNamingReads,
  routeAcceptances,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyShutsGateway = defineRule({
  id: "authorization-policy-shuts-gateway",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "KubernetesRoute", "VirtualService", "Workload"],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary:
    "An ALLOW policy at an ingress gateway is for some hosts, so requests for all its other hosts are denied, or a policy there is for callers with an identity of the mesh, which none has.",
  why: "Once a workload has an ALLOW policy, every request that no rule matches is denied (Istio pilot/pkg/security/authz/builder/builder.go). At a gateway, the first policy for one host closes the gateway for the hosts of all other teams. The identity of a caller (principals, namespaces, service accounts) comes from its client certificate, for which a server asks with tls mode MUTUAL, OPTIONAL_MUTUAL or ISTIO_MUTUAL alone (pilot/pkg/security/authz/model/generator.go, pilot/pkg/networking/core/gateway.go): at other servers, an ALLOW policy that names identities allows nobody, and a DENY rule that leaves some out denies everybody.",
  fix: "Use action DENY with notPaths, notMethods or other negative values for this host, or add rules for the other hosts of the gateway.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["gateway"],
    seen: "Requests for hosts of other teams, or all requests, get 403 from the ingress gateway since the policy was applied, and the host that it is for works.",
    wayOut: "Delete the policy or apply its previous version: the gateway accepts the other hosts again at once.",
    silentWhen:
      "No VirtualService or route with a full host name is known for the gateway, some ALLOW rule there is for every host, the hosts of the rules have other ports than 80 and 443, some server asks for client certificates, all servers have tls mode AUTO_PASSTHROUGH, where no policy is enforced, the DENY rule has other conditions, or the policy is in the root namespace without a selector and the gateway is in another one.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-ingress/",
  },

  *check(policy, mesh) {
    for (const namespace of mesh.related(namespaceOfHostPolicy, policy)) {
      const found = mesh.get(authorization, namespace);
      if (targetRefsOf(policy).length === 0) yield* closedAtWorkloads(policy, found, mesh);
      for (const gateway of mesh.related(gatewaysOfNamespace, namespace))
        yield* closedAtGateway(policy, gateway, found, mesh);
    }
    yield* closedElsewhere(policy, mesh);
  },
});

/** What a policy of the root namespace closes in other namespaces. */
function* closedElsewhere(policy: AuthorizationPolicy, mesh: View): Iterable<Problem | undefined> {
  const isElsewhere = (namespace: Namespace | undefined): namespace is Namespace =>
    namespace !== undefined && namespace.metadata.name !== policy.metadata.namespace;
  for (const workload of mesh.related(workloadsOfHostPolicy, policy)) {
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (!isElsewhere(namespace) || !selects(matchLabelsOf(policy), workload.pod.labels)) continue;
    yield* closedAtWorkload(policy, workload, mesh.get(authorization, namespace), mesh);
  }
  for (const gateway of mesh.related(gatewaysOfHostPolicy, policy)) {
    const [namespace] = mesh.related(namespaceOfGateway, gateway);
    if (isElsewhere(namespace)) yield* closedAtGateway(policy, gateway, mesh.get(authorization, namespace), mesh);
  }
}

function* closedAtWorkloads(
  policy: AuthorizationPolicy,
  found: NamespaceAuthorization,
  mesh: View,
): Iterable<Problem | undefined> {
  for (const workload of found.workloadsAndProxies)
    if (selects(matchLabelsOf(policy), workload.pod.labels)) yield* closedAtWorkload(policy, workload, found, mesh);
}

function* closedAtWorkload(
  policy: AuthorizationPolicy,
  workload: Workload,
  found: NamespaceAuthorization,
  mesh: View,
): Iterable<Problem | undefined> {
  yield;
  // Most workloads are no gateways, and a policy may have very many rules.
  const gateways = gatewaysSelecting(workload, mesh);
  if (gateways.length === 0) return;
  if (isForIdentities(policy)) {
    const servers = gateways.flatMap(({ spec }) => spec.servers);
    const applied = found.applied.toWorkload(workload);
    for (const one of closedToUnnamed(policy, workload, { servers, applied }))
      yield { ...one, related: gateways, evidence: [workload, ...gateways] };
  }
  if (!isForHosts(policy)) return;
  const { hosts, virtualServices } = closedHosts(workload, gateways, found, mesh);
  if (hosts.length > 0)
    yield { ...problemOf(workload, hosts), related: gateways, evidence: [workload, ...virtualServices] };
}

function* closedAtGateway(
  policy: AuthorizationPolicy,
  gateway: KubernetesGateway,
  found: NamespaceAuthorization,
  mesh: View,
): Iterable<Problem | undefined> {
  const target = found.gateways.find(
    ({ namespace, name }) => namespace === gateway.metadata.namespace && name === gateway.metadata.name,
  );
  if (
    target === undefined ||
    !isForIngress(gateway, mesh.settings) ||
    !attachesToGateway(policy, target, mesh.settings)
  )
    return;
  if (isForIdentities(policy)) {
    const servers = mesh
      .get(listenersOfGateway, gateway)
      .all.filter(({ leftOut }) => leftOut === undefined)
      .flatMap(({ generated }) => generated.spec.servers);
    for (const one of closedToUnnamed(policy, gateway, { servers, applied: found.applied.toGateway(target) }))
      yield { ...one, evidence: [gateway] };
  }
  if (isForHosts(policy)) yield* hostsClosedAtGateway(gateway, found.applied.toGateway(target), mesh);
}

function* hostsClosedAtGateway(
  gateway: KubernetesGateway,
  applied: Applied,
  mesh: View,
): Iterable<Problem | undefined> {
  const patterns = allowedHosts(applied);
  const isOpenTo = { http: openHosts(patterns, "http"), grpc: openHosts(patterns, "grpc") };
  const hosts = new Set<string>();
  const routes: KubernetesRoute[] = [];
  for (const route of routesNaming(gateway, mesh)) {
    yield;
    const isOpen = isOpenTo[route.originKind === "GRPCRoute" ? "grpc" : "http"];
    const closed = hostsAt(gateway, route, mesh).filter((host) => !isWildcard(host) && !isOpen(host));
    if (closed.length > 0) routes.push(route);
    for (const host of closed) hosts.add(host);
  }
  if (hosts.size > 0)
    yield {
      ...problemOf(gateway, [...hosts].sort()),
      related: routes.slice(0, mostShown),
      evidence: [gateway, ...routes],
    };
}

const mostShown = 5;

const isOwnerAt = (gateway: KubernetesGateway, owner: ParentAcceptance["parent"], mesh: View): boolean =>
  owner === gateway || mesh.get(listenersOfGateway, gateway).byOwner.has(owner);

/** The hostnames of a route for HTTP that the Gateway offers. */
const hostsAt = (gateway: KubernetesGateway, route: KubernetesRoute, mesh: View): readonly string[] =>
  ["HTTPRoute", "GRPCRoute"].includes(route.originKind)
    ? mesh
        .get(routeAcceptances, route)
        .flatMap((one) => (isOwnerAt(gateway, one.parent, mesh) ? [...one.offered.keys()] : []))
    : [];

function problemOf(place: Workload | KubernetesGateway, [first, ...others]: readonly string[]): Problem {
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return {
    at: ["spec", "rules"],
    message: `Requests at ${idOf(place)} for ${JSON.stringify(first)}${more} are denied: no ALLOW policy there is for these hosts`,
    key: idOf(place),
  };
}

interface Unnamed {
  readonly servers: readonly Server[];
  readonly applied: Applied;
}

/**
 * What denies every request at a gateway, because none of its servers asks callers for a certificate, from which their identity would
 * come (Istio pilot/pkg/security/authz/model/generator.go, pilot/pkg/networking/core/gateway.go buildGatewayListenerTLSContext).
 */
function* closedToUnnamed(
  policy: AuthorizationPolicy,
  place: Workload | KubernetesGateway,
  { servers: all, applied }: Unnamed,
): Iterable<Problem> {
  // No policy is enforced between networks, as at an east-west gateway (gateway.go builtAutoPassthroughFilterChains).
  const servers = all.filter(({ tls }) => tls?.mode !== "AUTO_PASSTHROUGH");
  if (servers.length === 0 || !servers.every(asksForNoCertificate)) return;
  const isOfHttp = servers.some(readsHttp);
  const reason = isOfHttp ? "ask for no client certificate" : "pass connections on and ask for no client certificate";
  const because = `no caller of ${idOf(place)} has an identity, because its servers ${reason}`;
  const key = JSON.stringify([idOf(place), "no identity"]);
  const fix = isOfHttp ? fixOfHttp : fixOfStreams;
  if (actionOf(policy) === "DENY") {
    for (const [i, rule] of policy.spec.rules.entries())
      if (matchesAllUnnamed(rule))
        yield { at: ["spec", "rules", i], message: `This rule denies every request: ${because}`, key, fix };
  } else if (allowing(applied).every(({ spec }) => spec.rules.every(namesIdentities)))
    yield { at: ["spec", "rules"], message: `Every request is denied: ${because}`, key, fix };
}

const fixOfHttp =
  "Name the callers by something that they have here: remoteIpBlocks, or requestPrincipals of a token. Or ask for client certificates, with tls mode MUTUAL or ISTIO_MUTUAL.";
const fixOfStreams =
  "Write the policy for the workloads behind the gateway, which end the TLS of the callers and know them, or name the callers by ipBlocks.";

/** Nor do servers that pass TLS on, and those for plain TCP: policies are enforced there too (pilot/pkg/networking/core/networkfilter.go). */
function asksForNoCertificate(server: Server): boolean {
  const { tls } = server;
  if (isPlainHttp(server) || !hasKnownProtocol(server)) return isPlainHttp(server);
  return tls === undefined ? !isOverTls(server) : passesThrough(server) || tls.mode === "SIMPLE";
}

interface Closed {
  readonly hosts: readonly string[];
  readonly virtualServices: readonly VirtualService[];
}

/** The hosts of VirtualServices at a workload's gateways that no ALLOW rule can match. */
function closedHosts(
  workload: Workload,
  gateways: readonly Gateway[],
  found: NamespaceAuthorization,
  mesh: View,
): Closed {
  const patterns = allowedHosts(found.applied.toWorkload(workload));
  const isForGrpc = gateways.some(({ spec }) => spec.servers.some(({ port }) => port?.protocol === "GRPC"));
  const isOpen = openHosts(patterns, isForGrpc ? "grpc" : "http");
  const routed = [...new Set(gateways.flatMap((gateway) => mesh.related(virtualServicesOfGateway, gateway)))];
  const closed = routed.filter(({ spec }) => spec.hosts.some((host) => !isWildcard(host) && !isOpen(host)));
  const hosts = new Set(closed.flatMap(({ spec }) => spec.hosts.filter((host) => !isWildcard(host) && !isOpen(host))));
  return { hosts: [...hosts].sort(), virtualServices: closed };
}

type Applied = ReturnType<NamespaceAuthorization["applied"]["toWorkload"]>;
const allowing = ({ lists }: Applied): readonly AuthorizationPolicy[] =>
  lists.flatMap(({ policies }) => policies).filter((policy) => actionOf(policy) === "ALLOW");
const allowedHosts = (applied: Applied): readonly string[] => allowing(applied).flatMap(hostsOfRules);

/** The host patterns of the rules; a rule without hosts is for all of them. */
const hostsOfRules = ({ spec }: AuthorizationPolicy): readonly string[] =>
  spec.rules.flatMap(({ to }) =>
    to.length === 0 ? ["*"] : to.flatMap(({ operation }) => (operation.hosts.length === 0 ? ["*"] : operation.hosts)),
  );

/** Whether it is an ALLOW policy and its rules are all for some hosts. */
const isForHosts = (policy: AuthorizationPolicy): boolean =>
  actionOf(policy) === "ALLOW" && policy.spec.rules.length > 0 && !hostsOfRules(policy).includes("*");

/**
 * Whether a pattern matches a host: exactly, by a prefix or by a suffix, without case (Istio
 * pilot/pkg/security/authz/matcher/header.go HostMatcher). It is compared with the Host header as a client sends it, because istiod lets
 * proxies ignore the port only when they look for a route (pilot/pkg/networking/core/gateway.go, IgnorePortInHostMatching). HTTP clients
 * leave out the usual port of the scheme (RFC 9110 section 4.2.3), so that a pattern with one matches none of them; clients of gRPC write it.
 * Which other port clients use is not known, because a load balancer or a NodePort can have another one than the server.
 */
function openHosts(patterns: readonly string[], clients: "http" | "grpc"): (host: string) => boolean {
  const ofOtherPort = clients === "grpc" ? /:\d+$/ : /:(?!(?:80|443)$)\d+$/;
  const nameOf = (pattern: string): string => pattern.replace(ofOtherPort, "");
  const all = new Set(patterns.map((pattern) => pattern.toLowerCase()));
  const exact = new Set([...all].filter((pattern) => !pattern.includes("*")).map(nameOf));
  const ends = [...all].filter((pattern) => pattern.startsWith("*")).map((pattern) => nameOf(pattern.slice(1)));
  const starts = [...all].filter((pattern) => pattern.endsWith("*")).map((pattern) => pattern.slice(0, -1));
  return (host) => {
    const name = host.toLowerCase();
    return (
      exact.has(name) ||
      ends.some((end) => name.endsWith(end)) ||
      starts.some((start) => name.startsWith(start) || start.startsWith(`${name}:`))
    );
  };
}
