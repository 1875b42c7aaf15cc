import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { Work } from "../../mesh/authorization/requests/work.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { type Guard, guardReads, guards } from "../../mesh/requests/enforcement.ts";
import type { AuthorizationOutcome } from "../../mesh/requests/outcome.ts";
import { preflightsOfRouteDenied } from "../../mesh/requests/preflights.ts";
import {
  type DelegatedRoute,
  delegatedRoutes,
  delegatingReads,
  delegatingTo,
  mostDelegating,
} from "../../mesh/traffic/delegate-routes.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import {
  gatewayPodsOf,
  gatewaysOfVirtualService,
  isDelegate,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A workload, such as the pods of a gateway, and its namespace. */
const namespaceOfGatewayPods = relation(
  "namespaceOfGatewayPods",
  index("Workload", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

const reads = [
  ...delegatingReads,
  gatewaysOfVirtualService,
  workloadsOfGateway,
  namespaceOfGatewayPods,
  ...guardReads,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceCorsPreflightDenied = defineRule({
  id: "virtual-service-cors-preflight-denied",
  subject: "VirtualService",
  reads,
  onlyWith: "AuthorizationPolicy",
  onlyWithFields: ["spec.http.corsPolicy"],
  worksWithout: ["KubernetesGateway", "RequestAuthentication", "EnvoyFilter", "WasmPlugin", "TrafficExtension"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary:
    "AuthorizationPolicies of a gateway deny the preflight requests that the CORS policy of a route would answer.",
  why: "A browser asks with `OPTIONS`, without a token, whether it may send a request of another origin. In the proxy of a gateway, authorization comes before the filter that answers by the CORS policy (Istio pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager). The validation of tokens lets preflight requests pass (pilot/pkg/security/authn/policy_applier.go), but a policy that asks for a token denies them with 403, and the browser never sends the request itself.",
  fix: "Let preflight requests pass: add an ALLOW rule with `methods: [OPTIONS]` for these hosts, and `notMethods: [OPTIONS]` to a DENY rule that asks for a token. The CORS policy answers them, so that the service does not see them.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["gateway"],
    seen: "Requests with curl succeed, and browsers report a failed preflight request or a missing `Access-Control-Allow-Origin`. The access log of the gateway has 403 with `rbac_access_denied` for OPTIONS.",
    wayOut: "Add the rule for OPTIONS, or apply the previous version of the policy: the gateway has it within seconds.",
    silentWhen:
      "Some preflight requests for the route are allowed, such as those from some addresses, all requests of browsers are denied, a CUSTOM policy decides, the pods of the gateway are not known, the route asks for headers, the policies are too many to decide, or a waypoint or a sidecar behind the gateway denies them.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    if (!isServed(virtualService, mesh.settings) || !virtualService.spec.http.some(hasCors)) return;
    const found = new Map<number, Problem>();
    const work = new Work(mostWork);
    for (const { root, routes, place } of reached(virtualService, mesh)) {
      yield;
      const isOpen = ({ index: i }: DelegatedRoute) => hasCors(virtualService.spec.http[i]) && !found.has(i);
      for (const { index: i, route } of routes.filter(isOpen)) {
        const { guard, gateway } = place;
        const outcome = preflightsOfRouteDenied(route, { virtualService: root, guard, gateway, work });
        if (outcome !== undefined) found.set(i, problemOf(i, virtualService, { root, place, outcome }));
      }
    }
    yield* found.values();
  },
});

/** So much work is done for one VirtualService; what takes more stays open. */
const mostWork = 500_000;

const hasCors = (route: HttpRoute | undefined): boolean => route?.corsPolicy !== undefined;

/** The routes of a VirtualService with hosts, or those of a delegate with what the ones that name it say. */
function* routedBy(
  virtualService: VirtualService,
  mesh: View,
): Iterable<{ readonly root: VirtualService; readonly routes: readonly DelegatedRoute[] }> {
  if (!isDelegate(virtualService)) {
    yield { root: virtualService, routes: virtualService.spec.http.map((route, i) => ({ index: i, route })) };
    return;
  }
  for (const { root, route } of delegatingTo(virtualService, mesh).slice(0, mostDelegating))
    yield { root, routes: delegatedRoutes(root, route, virtualService, mesh.settings) };
}

function* reached(virtualService: VirtualService, mesh: View) {
  for (const { root, routes } of routedBy(virtualService, mesh))
    for (const place of placesOf(root, mesh)) yield { root, routes, place };
}

/** A gateway, one of the workloads with the same policies, and these. */
interface Place {
  readonly gateway: string;
  readonly workload: Workload;
  readonly guard: Guard;
}

/** The gateways of a VirtualService, each once for pods with the same policies. */
function* placesOf(root: VirtualService, mesh: View): Iterable<Place> {
  const visible = visibleTo(root.spec.exportTo, root.metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
  for (const [gateway, pods] of gatewayPodsOf(root, mesh)) {
    const known = new Set<Guard>();
    mesh.visited(pods.length);
    for (const { workload } of pods) {
      const [namespace] = mesh.related(namespaceOfGatewayPods, workload);
      if (namespace === undefined || !includesNamespace(visible, namespace.metadata.name)) continue;
      const guard = mesh.get(guards, namespace).ofProxy({ workload, labels: workload.pod.labels }, "http");
      if (!known.has(guard)) yield { gateway, workload, guard };
      known.add(guard);
    }
  }
}

interface Denied {
  readonly root: VirtualService;
  readonly place: Place;
  readonly outcome: AuthorizationOutcome;
}

const mostPolicies = 5;

function problemOf(i: number, virtualService: VirtualService, { root, place, outcome }: Denied): Problem {
  const { by, policies } = outcome;
  const route = routeInWords(virtualService.spec.http[i] as HttpRoute);
  const reason = by === undefined ? "no ALLOW policy allows OPTIONS without a token" : `${idOf(by.policy)} denies them`;
  const others = by === undefined ? policies.slice(0, mostPolicies) : [by.policy];
  const related = [place.workload, ...others, ...(root === virtualService ? [] : [root])];
  return {
    at: ["spec", "http", i, "corsPolicy"],
    message: `Preflight requests for ${route} get 403 at ${idOf(place.workload)} before the CORS policy answers them: ${reason}`,
    key: JSON.stringify([virtualService.spec.http[i]?.name, virtualService.spec.http[i]?.match]),
    related,
    evidence: related,
  };
}
