import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { authorization } from "../../mesh/authorization/effective-authorization.ts";
import { targetRefsOf } from "../../mesh/authorization/policies.ts";
import type { Applied } from "../../mesh/authorization/requests/applied.ts";
import {
  readsSenders,
  type Sender,
  servicesSentByRoute,
  servicesSentByVirtualService,
} from "../../mesh/gateways/gateway-senders.ts";
import { servicesOfRoute } from "../../mesh/gateways/routes.ts";
import { gatewaysByPodLabel, policiesAtGateways } from "../../mesh/gateways/policies-at-gateways.ts";
import { routesNaming, routesNamingReads } from "../../mesh/gateways/routes-at-gateway.ts";
import {
  gatewaysOfNamespace,
  isForIngress,
  type KubernetesGateway,
  labelsOfGatewayPods,
} from "../../mesh/membership/gateways.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { matchLabelsOf, selects } from "../../mesh/objects/selectors.ts";
import { attachments } from "../../mesh/requests/attachments.ts";
import { customPolicies } from "../../mesh/requests/enforcement.ts";
import { type JwtRule, readsWithheldTokens, WithheldTokens } from "../../mesh/requests/withheld-tokens.ts";
import { servicesOfVirtualService } from "../../mesh/traffic/registry.ts";
import {
  delegatesOfRoot,
  gatewaysOfWorkload,
  gatewaysSelecting,
  virtualServicesOfGateway,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { namespaceOfGateway } from "../../mesh/waypoints/bindings.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type MeshView, relation } from "../../view/view.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;

function mayWithhold(authentication: RequestAuthentication, settings: MeshSettings): boolean {
  const refs = targetRefsOf(authentication);
  return (
    isServed(authentication, settings) &&
    (refs.length === 0 || refs.some(({ kind }) => kind === "Gateway")) &&
    authentication.spec.jwtRules.some(({ forwardOriginalToken }) => forwardOriginalToken !== true)
  );
}

const places = policiesAtGateways("RequestAuthentication", mayWithhold);
/** A RequestAuthentication that keeps tokens for itself, and its namespace. */
const namespaceOfWithholding = relation("namespaceOfWithholding", places.namespace, namespaceByName);
/** A RequestAuthentication of the root namespace and the workloads of any namespace that may have the labels of its selector. */
const workloadsOfWithholding = relation("workloadsOfWithholding", places.meshWideLabel, workloadsOfGateway.to);
/** The same and the gateways of any namespace whose pods may have these labels. */
const gatewaysOfWithholding = relation("gatewaysOfWithholding", places.meshWideLabel, gatewaysByPodLabel);

const reads = [
  namespaceOfWithholding,
  workloadsOfWithholding,
  gatewaysOfWithholding,
  namespaceOfWorkload,
  authorization,
  gatewaysOfNamespace,
  customPolicies,
  gatewaysOfWorkload,
  virtualServicesOfGateway,
  delegatesOfRoot,
  servicesOfVirtualService,
  servicesOfRoute,
  ...routesNamingReads,
  ...readsSenders,
  ...readsWithheldTokens,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const requestAuthenticationTokenWithheld = defineRule({
  id: "request-authentication-token-withheld",
  subject: "RequestAuthentication",
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "KubernetesRoute", "ListenerSet", "Sidecar", "VirtualService"],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary:
    "An ingress gateway removes the tokens that it validates, though a Service behind it lets in requests with such a token alone.",
  why: "A proxy removes a token that it has validated from the request, unless `forwardOriginalToken` is set (Istio pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig). A sidecar or a waypoint behind it, whose policies require a request principal or claims, gets requests without a token then and denies them, also if it would accept the issuer.",
  fix: "Set `forwardOriginalToken: true` in this rule, so that the gateway passes the token on after it has validated it.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: "Clients outside the mesh get 403 with `RBAC: access denied` with a valid token, from the destination and not from the gateway; an invalid token gets 401 from the gateway.",
    wayOut: "Set `forwardOriginalToken: true`, or apply the previous version of the RequestAuthentication.",
    silentWhen:
      "A request of the gateway without a token may be let in, such as one for a path; the destination takes tokens from a header where the gateway does not look, from query parameters or from cookies, or another rule of the gateway for the issuer passes them on; an EnvoyFilter, a WasmPlugin or a CUSTOM policy at the gateway may write a token; or the change is to a policy or a route, which an audit reports.",
    page: "https://istio.io/latest/docs/reference/config/security/request_authentication/",
  },

  *check(authentication, mesh) {
    const withheld = new WithheldTokens(mesh);
    for (const place of placesOf(authentication, mesh)) {
      yield;
      const rules = place === undefined ? [] : rulesAt(authentication, place);
      if (place === undefined || rules.length === 0) continue;
      yield* strandedBehind(authentication, { place, rules, withheld }, mesh);
    }
  },
});

/** A gateway, as it is selected or targeted: its proxies, what else they do with requests, and where they send them. */
interface Place {
  readonly of: Workload | KubernetesGateway;
  readonly attached: readonly RequestAuthentication[];
  /** Whether something else may write a token into requests. */
  readonly isUnclear: boolean;
  sent(): Iterable<{ readonly service: Service; readonly sender: Sender } | undefined>;
}

function* placesOf(authentication: RequestAuthentication, mesh: View): Iterable<Place | undefined> {
  const [namespace] = mesh.related(namespaceOfWithholding, authentication);
  if (namespace === undefined) return;
  const { workloadsAndProxies } = mesh.get(authorization, namespace);
  const labels = matchLabelsOf(authentication);
  if (targetRefsOf(authentication).length === 0)
    for (const workload of new Set([...workloadsAndProxies, ...mesh.related(workloadsOfWithholding, authentication)]))
      yield selects(labels, workload.pod.labels) ? ofWorkload(workload, mesh) : undefined;
  const gateways = [
    ...mesh.related(gatewaysOfNamespace, namespace),
    ...mesh.related(gatewaysOfWithholding, authentication),
  ];
  for (const gateway of new Set(gateways)) yield ofGateway(gateway, mesh);
}

/** What is attached to a gateway counts, as a whole, if the RequestAuthentication is. */
function rulesAt(authentication: RequestAuthentication, { attached, isUnclear }: Place): readonly JwtRule[] {
  return isUnclear || !attached.includes(authentication) ? [] : attached.flatMap(({ spec }) => spec.jwtRules);
}

function ofWorkload(workload: Workload, mesh: View): Place | undefined {
  // Most workloads are no gateways.
  const gateways = gatewaysSelecting(workload, mesh);
  const [namespace] = mesh.related(namespaceOfWorkload, workload);
  if (gateways.length === 0 || namespace === undefined) return undefined;
  const { labels } = workload.pod;
  const there = mesh.get(attachments, namespace);
  return {
    of: workload,
    attached: there.tokenRulesOfPods(labels).flatMap(({ members }) => members),
    isUnclear:
      there.unclear(labels, "gateway") !== undefined ||
      hasPolicies(mesh.get(customPolicies, namespace)?.applied.toWorkload(workload)),
    *sent() {
      const roots = new Set(gateways.flatMap((gateway) => mesh.related(virtualServicesOfGateway, gateway)));
      const delegates = [...roots].flatMap((root) => mesh.related(delegatesOfRoot, root));
      for (const virtualService of new Set([...roots, ...delegates])) {
        yield;
        yield* ofPods(sentTo(virtualService, mesh), workload);
      }
    },
  };
}

const hasPolicies = (applied: Applied | undefined): boolean =>
  applied?.lists.some(({ policies }) => policies.length > 0) === true;

type Sending = { readonly service: Service; readonly sender: Sender };

/** Those that the pods of a workload send. */
function* ofPods(all: Iterable<Sending>, { metadata, pod }: Workload): Iterable<Sending> {
  for (const one of all) {
    const [, namespace, account] = one.sender.identity;
    if (namespace === metadata.namespace && account === pod.serviceAccountName) yield one;
  }
}

/** The gateway reads tokens in requests alone, not in connections that it passes on. */
function* sentTo(virtualService: VirtualService, mesh: View): Iterable<Sending> {
  if (virtualService.spec.http.length === 0) return;
  for (const { at, service, senders } of servicesSentByVirtualService(virtualService, mesh))
    if (at[1] === "http") for (const sender of senders) yield { service, sender };
}

function ofGateway(gateway: KubernetesGateway, mesh: View): Place | undefined {
  const [namespace] = mesh.related(namespaceOfGateway, gateway);
  if (namespace === undefined || !isForIngress(gateway, mesh.settings)) return undefined;
  const { name } = gateway.metadata;
  const target = {
    name,
    namespace: namespace.metadata.name,
    isWaypoint: false,
    labels: labelsOfGatewayPods(gateway, mesh.settings),
  };
  const there = mesh.get(attachments, namespace);
  const known = mesh.get(authorization, namespace).gateways.find((one) => one.name === name);
  return {
    of: gateway,
    attached: there.tokenRulesAt(target.labels, target),
    isUnclear:
      there.unclear(target.labels, target) !== undefined ||
      (known !== undefined && hasPolicies(mesh.get(customPolicies, namespace)?.applied.toGateway(known))),
    *sent() {
      for (const route of routesNaming(gateway, mesh)) {
        yield;
        for (const { service, senders } of servicesSentByRoute(route, mesh)) {
          const sender = senders.find((one) => one.name === idOf(gateway));
          if (sender !== undefined) yield { service, sender };
        }
      }
    },
  };
}

interface Withholding {
  readonly place: Place;
  readonly rules: readonly JwtRule[];
  readonly withheld: WithheldTokens;
}

/** One problem for each rule: a gateway can have very many Services behind it. */
function* strandedBehind(
  { spec }: RequestAuthentication,
  { place, rules, withheld }: Withholding,
  mesh: View,
): Iterable<Problem | undefined> {
  const seen = new Set<Service>();
  const stranded = new ServicesByRule();
  for (const sent of place.sent()) {
    yield;
    if (sent === undefined || seen.has(sent.service)) continue;
    seen.add(sent.service);
    for (const rule of withheld.by(rules, sent.service, sent.sender)) stranded.add(rule, sent.service);
  }
  mesh.visited(seen.size);
  for (const [i, rule] of spec.jwtRules.entries()) {
    const services = stranded.of(rule);
    if (services.length > 0) yield { at: ["spec", "jwtRules", i], ...problemOf(place, rule, services) };
  }
}

class ServicesByRule {
  readonly #found = new Map<JwtRule, Service[]>();

  add(rule: JwtRule, service: Service): void {
    const known = this.#found.get(rule);
    if (known === undefined) this.#found.set(rule, [service]);
    else known.push(service);
  }

  of(rule: JwtRule): readonly Service[] {
    return this.#found.get(rule)?.sort(byId) ?? [];
  }
}

function problemOf(place: Place, { issuer }: JwtRule, services: readonly Service[]): Omit<Problem, "at"> {
  const shown = services.slice(0, mostShown);
  const others = services.length - 1;
  const names = `${shown.slice(0, 1).map(idOf).join()}${others === 0 ? "" : ` and ${others} ${others === 1 ? "other" : "others"}`}`;
  return {
    message: `${idOf(place.of)} removes the tokens of this issuer, so all of its requests to ${names} are denied: the policies there let it in with a token alone`,
    key: JSON.stringify([idOf(place.of), issuer]),
    related: shown,
    evidence: [place.of, ...shown],
  };
}

const mostShown = 5;
