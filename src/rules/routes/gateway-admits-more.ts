import { defineRule, type Problem, type RuleSide } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Applied } from "../../mesh/authorization/requests/applied.ts";
import type { Clause } from "../../mesh/authorization/requests/boxes.ts";
import { anyCallers, Asked, type Callers, Questions } from "../../mesh/authorization/requests/gains.ts";
import type { Gain } from "../../mesh/authorization/requests/policy-change.ts";
import { hostsOf } from "../../mesh/authorization/requests/proxy-matches.ts";
import { formatGain, formatRequest, formatRule, policiesOfGain } from "../../mesh/authorization/gain-wording.ts";
import { routeAcceptances } from "../../mesh/gateways/route-acceptance.ts";
import { isOfRequests, type KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { hasClassOfIstio, isDeployedByHand, labelsOfGatewayPods } from "../../mesh/membership/gateways.ts";
import { namespaceOfWorkload } from "../../mesh/membership/workloads.ts";
import type { Enforcement } from "../../mesh/requests/decisions.ts";
import { type Guard, guards } from "../../mesh/requests/enforcement.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import {
  clientsOf,
  gatewayPodsOf,
  gatewaysOfVirtualService,
  isDelegate,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { namespaceOfGateway } from "../../mesh/waypoints/bindings.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";

// What becomes of the policies at a gateway is reported for their namespace.
const reads = [
  gatewaysOfVirtualService,
  workloadsOfGateway,
  namespaceOfWorkload,
  routeAcceptances,
  namespaceOfGateway,
  reachedBy(guards, []),
] as const;
type View = MeshView<(typeof reads)[number]>;
type Side = RuleSide<"KubernetesRoute" | "VirtualService", (typeof reads)[number]>;

export const routesGatewayAdmitsMore = defineRule({
  id: "routes-gateway-admits-more",
  subject: ["KubernetesRoute", "VirtualService"],
  reads,
  onlyWith: "AuthorizationPolicy",
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary: "A route is offered at another gateway, which admits requests that the gateways before refused.",
  why: "Policies at an ingress gateway are for the pods of that gateway, whatever the routes are (Istio pilot/pkg/security/authz/builder/builder.go, pilot/pkg/model/authorization.go GetAuthorizationPolicies). A route that moves to another gateway, or is offered there too, leaves behind what checked its requests: tokens that a policy demands, addresses of clients, or the provider of a CUSTOM policy. The destination sees a gateway as the caller in any case, and cannot tell what was checked.",
  fix: "Apply the same policies to the other gateway first, or demand at the workload itself what must be true of every request.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["gateway"],
    seen: "Requests that got 403, or were sent to a provider of CUSTOM policies, get answers through another gateway.",
    wayOut: "Apply the previous version of the route, or the policies of the old gateway to the new one.",
    silentWhen:
      "The route is new; no gateway offered it before, or each of several refuses something that another one admits; it has no host that it had before; the pods of the gateways are not known, for a VirtualService; or a Gateway begins to select other pods. Routes of connections and delegates are not compared.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-ingress/",
  },

  *compare(before, after) {
    const [old, now] = [entrancesOf(before), entrancesOf(after)];
    const known = new Set(old.map(({ gateway }) => idOf(gateway)));
    const added = now.filter(({ gateway }) => !known.has(idOf(gateway)));
    if (old.length === 0 || added.length === 0 || old.length * added.length > mostCompared) return;
    const questions = new Questions((values) => after.mesh.visited(Math.ceil(values / 100)));
    for (const entrance of added) {
      yield;
      const problem = problemOf(old, entrance, questions);
      if (problem !== undefined) yield { at: placeIn(after.object), ...problem };
    }
  },
});

/** Pairs of gateways. Most routes have one or two. */
const mostCompared = 100;

/** A gateway at which requests by a route come in. */
interface Entrance {
  /** The workload of its proxies, or the Gateway of which istiod makes them. */
  readonly gateway: AnyObject;
  readonly hosts: readonly string[];
  readonly tokens: Guard["tokens"];
  readonly enforcement: Enforcement;
}

const entrancesOf = ({ object, mesh }: Side): readonly Entrance[] =>
  object.kind === "VirtualService" ? ofVirtualService(object, mesh) : ofRoute(object, mesh);

function ofVirtualService(virtualService: VirtualService, mesh: View): readonly Entrance[] {
  const { hosts, http } = virtualService.spec;
  if (http.length === 0 || isDelegate(virtualService)) return [];
  const found = new Map<string, Entrance>();
  const clients = clientsOf(virtualService, mesh.settings);
  for (const [name, pods] of gatewayPodsOf(virtualService, mesh)) {
    mesh.visited(pods.length);
    for (const { workload } of pods) {
      const [namespace] = mesh.related(namespaceOfWorkload, workload);
      const visibleTo = clients.get(name);
      if (namespace === undefined || visibleTo === undefined || found.has(idOf(workload))) continue;
      if (!includesNamespace(visibleTo, workload.metadata.namespace)) continue;
      const guard = mesh.get(guards, namespace).ofProxy({ workload, labels: workload.pod.labels }, "http");
      addTo(found, workload, hosts, guard);
    }
  }
  return [...found.values()];
}

function ofRoute(route: KubernetesRoute, mesh: View): readonly Entrance[] {
  if (!isOfRequests(route)) return [];
  const found = new Map<string, Entrance>();
  for (const { parent, offered } of mesh.get(routeAcceptances, route)) {
    if (parent.kind !== "KubernetesGateway" || offered.size === 0) continue;
    if (!hasClassOfIstio(parent, mesh.settings) || isDeployedByHand(parent)) continue;
    const [namespace] = mesh.related(namespaceOfGateway, parent);
    if (namespace === undefined) continue;
    const guard = mesh
      .get(guards, namespace)
      .ofProxy({ workload: undefined, labels: labelsOfGatewayPods(parent, mesh.settings) }, "http");
    addTo(found, parent, [...offered.keys()], guard);
  }
  return [...found.values()];
}

function addTo(
  found: Map<string, Entrance>,
  gateway: AnyObject,
  hosts: readonly string[],
  { enforcement, tokens, unclear }: Guard,
): void {
  if (enforcement === undefined || unclear !== undefined) return;
  found.set(idOf(gateway), { gateway, hosts, tokens, enforcement });
}

type Found = Omit<Problem, "at">;

/** What all gateways of before refuse, and this one does not. */
function problemOf(old: readonly Entrance[], entrance: Entrance, questions: Questions): Found | undefined {
  const hosts = entrance.hosts.filter((host) => old.some((one) => one.hosts.includes(host)));
  if (hosts.length === 0) return undefined;
  const [former] = old;
  const gains = old.map((one) => gainBetween(one, entrance, hosts, questions));
  const [first] = gains;
  if (former === undefined || first === undefined || gains.includes(undefined)) return undefined;
  const by = [idOf(entrance.gateway), idOf(former.gateway)] as const;
  return {
    ...(first === "undecided" ? undecided(...by) : wordingFor(first, ...by)),
    evidence: [entrance.gateway, former.gateway],
  };
}

function wordingFor({ gain, isOfProvider }: Gained, name: string, former: string): Found {
  const message =
    isOfProvider && gain.lost !== undefined
      ? `CUSTOM ${formatRule(gain.lost)} at ${former} calls its provider for ${formatRequest(gain.request, "http")}, and nothing does so at ${name}, which offers this route from now on`
      : `${name} offers this route from now on, and admits requests that ${former} refuses: ${formatGain(gain)}`;
  return { message, key: name, related: policiesOfGain(gain) };
}

const undecided = (name: string, former: string): Found => ({
  message: `${name} offers this route from now on, and it takes too much work to find out whether it admits requests that ${former} refuses`,
  key: name,
});

interface Gained {
  readonly gain: Gain;
  readonly isOfProvider: boolean;
}

function gainBetween(
  was: Entrance,
  is: Entrance,
  hosts: readonly string[],
  questions: Questions,
): Gained | "undecided" | undefined {
  const callers: Callers = { ...anyCallers, haveNoToken: !is.tokens.isRead, passSidecar: true, ...toHosts(hosts) };
  const asked = new Asked(was.enforcement.applied, is.enforcement.applied, is.gateway);
  const providers = new Asked(customOf(was.enforcement), customOf(is.enforcement), is.gateway);
  const answers = [
    { ...questions.widened(asked, callers), isOfProvider: false },
    { ...questions.denyLost(asked, callers), isOfProvider: false },
    { ...questions.denyLost(providers, callers), isOfProvider: true },
  ];
  for (const { gain, isOfProvider } of answers) if (gain !== undefined) return { gain, isOfProvider };
  return answers.some(({ isUndecided }) => isUndecided) ? "undecided" : undefined;
}

const customOf = ({ custom, applied: { place, settings } }: Enforcement): Applied =>
  custom ?? { place, settings, lists: [] };

/** Any host is asked about if the route is for all of them. */
function toHosts(hosts: readonly string[]): { readonly among?: Clause } {
  return hosts.includes("*") || hosts.includes("")
    ? {}
    : { among: { attribute: "host", values: hostsOf(hosts), not: false } };
}

const placeIn = (route: KubernetesRoute | VirtualService): readonly string[] =>
  route.kind === "VirtualService" ? ["spec", "gateways"] : ["spec", "parentRefs"];
