import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { namespaceOfService } from "../../mesh/membership/services.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import {
  isForGateways,
  isUsable,
  waypointBinding,
  waypointBindingOfService,
  waypointOfService,
} from "../../mesh/waypoints/bindings.ts";
import { type MeshView, setting } from "../../view/view.ts";

const reads = [
  setting("mergesSlashes"),
  registeredHost,
  namespaceOfService,
  captured,
  waypointBinding,
  waypointOfService,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesRewriteSlashMismatch = defineRule({
  id: "routes-rewrite-slash-mismatch",
  subject: ["VirtualService", "KubernetesRoute"],
  reads,
  onlyWithFields: ["spec.http.rewrite", "spec.http.redirect", "spec.rules.filters"],
  worksWithout: ["VirtualService", "KubernetesRoute", "Service", "ServiceEntry", "Workload", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  // What the application makes of such a path is not known.
  stage: "trial",
  summary: "A route replaces a prefix so that two slashes meet in the path, or none is left between its parts.",
  why: "Envoy replaces the characters of the prefix and keeps the rest of the path as it is (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination, PrefixRewrite). With `prefix: /common` and `uri: /`, `/common/api` becomes `//api`; with `prefix: /api/` and `uri: /v2`, `/api/items` becomes `/v2items`. Of an HTTPRoute, whose prefixes end at a slash, that is so for the prefix `/`, and for redirects (pilot/pkg/config/kube/gateway/conversion.go createRewriteFilter, createRedirectFilter). With `pathNormalization` MERGE_SLASHES, a proxy merges slashes as it receives a request and before it looks at routes (pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager), so the sidecar of a destination mends what the route makes, and so does the waypoint to which gateways send requests by `istio.io/ingress-use-waypoint`; an application without either gets `//`.",
  fix: "Let both end with a slash, or neither.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The application answers 404, and its log shows the path with `//`, or with two parts that have grown together. The access log of the proxy has the flag `-` and `via_upstream`.",
    wayOut: "Correct the prefix or the rewrite; proxies have the route within seconds.",
    silentWhen:
      "An earlier match takes the paths that go on with a slash, with a `pathNormalization` that merges slashes, the route redirects, or no destination is known to be without sidecars, the route rewrites by a regular expression, or a delegate leaves the prefix to the route that names it.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(route, mesh) {
    if (!isServed(route, mesh.settings)) return;
    for (const one of route.kind === "VirtualService" ? ofVirtualService(route) : ofKubernetesRoute(route)) {
      const joined = joint(one);
      if (joined === undefined) continue;
      yield;
      const isMerged = mesh.settings.mergesSlashes && one.to.endsWith("/");
      const unmerged = isMerged ? withoutSidecars(one, route, mesh) : undefined;
      if (!isMerged || unmerged !== undefined)
        yield {
          at: one.at,
          ...joined,
          key: JSON.stringify([one.prefix, one.to]),
          ...(unmerged === undefined ? {} : { evidence: [unmerged], related: [unmerged] }),
        };
    }
  },
});

interface Replaced {
  readonly prefix: string;
  readonly to: string;
  readonly at: Path;
  /** The position of the route or of the rule. */
  readonly i: number;
  readonly isRedirect: boolean;
  /** What to do about a lost slash, if both cannot end with one. */
  readonly fix?: string;
}

/** How a path goes on that is longer than the prefix, if its parts do not meet at one slash. */
function joint({ prefix, to, fix }: Replaced): Pick<Problem, "message" | "fix"> | undefined {
  const isOpen = prefix.endsWith("/");
  if (isOpen === to.endsWith("/")) return undefined;
  // Another ending, such as that of /file-, is meant to be joined.
  if (!/[A-Za-z0-9]$/.test(isOpen ? to : prefix)) return undefined;
  const path = isOpen ? `${prefix}items` : `${prefix}/items`;
  return {
    message: `${JSON.stringify(path)} becomes ${JSON.stringify(to + path.slice(prefix.length))}: ${JSON.stringify(to)} replaces ${JSON.stringify(prefix)} and nothing else`,
    fix:
      fix ??
      (isOpen
        ? `Write ${JSON.stringify(`${to}/`)}.`
        : `Match the prefix ${JSON.stringify(`${prefix}/`)}, and the path ${JSON.stringify(prefix)} itself with \`exact\`, both with this rewrite.`),
  };
}

function* ofVirtualService(virtualService: VirtualService): Iterable<Replaced> {
  const earlier = new Set<string>();
  for (const [i, route] of virtualService.spec.http.entries()) {
    const replaced = replacedBy(route);
    for (const prefix of prefixesOf(route.match, isDelegate(virtualService))) {
      if (replaced !== undefined && !earlier.has(`${prefix}/`))
        yield { ...replaced, prefix, at: ["spec", "http", i, ...replaced.at], i };
      earlier.add(prefix);
    }
  }
}

/** What a route writes in place of a prefix; undefined: it replaces none. */
function replacedBy({
  rewrite,
  redirect,
  directResponse,
}: HttpRoute): Pick<Replaced, "to" | "at" | "isRedirect"> | undefined {
  if (redirect?.prefixRewrite)
    return { to: redirect.prefixRewrite, at: ["redirect", "prefixRewrite"], isRedirect: true };
  const isAnswered = redirect !== undefined || directResponse !== undefined;
  if (isAnswered || !rewrite?.uri || rewrite.uriRegexRewrite !== undefined) return undefined;
  return { to: rewrite.uri, at: ["rewrite", "uri"], isRedirect: false };
}

type Match = VirtualService["spec"]["http"][number]["match"];

/** The prefixes of a route, which is for all paths without a match; what a delegate does not say is that of another route. */
function prefixesOf(match: Match, isPart: boolean): readonly string[] {
  const all = isPart ? [] : ["/"];
  if (match.length === 0) return all;
  return match.flatMap(({ uri }) => (uri === undefined ? all : (uri.prefix ?? [])));
}

function* ofKubernetesRoute({ spec }: ObjectOf<"KubernetesRoute">): Iterable<Replaced> {
  for (const [i, { matches, filters }] of spec.rules.entries()) {
    const prefixes = prefixesOfRule(matches);
    for (const [j, filter] of filters.entries()) {
      const at = ["spec", "rules", i, "filters", j];
      for (const found of prefixes.map((prefix) => ofFilter(filter, prefix, at)))
        yield* [...found].map((one) => ({ ...one, i }));
    }
  }
}

type Filter = ObjectOf<"KubernetesRoute">["spec"]["rules"][number]["filters"][number];

/** A prefix ends at a slash, except that of all paths; a slash at the end of what replaces it counts in redirects only. */
function* ofFilter({ urlRewrite, requestRedirect }: Filter, prefix: string, at: Path): Iterable<Omit<Replaced, "i">> {
  const rewritten = urlRewrite?.path?.replacePrefixMatch?.replace(/\/$/, "");
  const redirected = requestRedirect?.path?.replacePrefixMatch;
  // Without anything in its place, the prefix is removed with its slash.
  if (rewritten && prefix === "/")
    yield { prefix, to: rewritten, at: [...at, "urlRewrite", "path"], isRedirect: false, fix: fixOfRoot(rewritten) };
  if (redirected) {
    const fix = fixOfRedirect(redirected);
    yield { prefix, to: redirected, at: [...at, "requestRedirect", "path"], isRedirect: true, fix };
  }
}

const prefixesOfRule = (matches: ObjectOf<"KubernetesRoute">["spec"]["rules"][number]["matches"]): readonly string[] =>
  matches.length === 0
    ? ["/"]
    : matches.flatMap(({ path }) => {
        if (path === undefined) return "/";
        if ((path.type ?? "PathPrefix") !== "PathPrefix") return [];
        return (path.value ?? "/").replace(/(.)\/$/, "$1");
      });

const fixOfRoot = (to: string): string =>
  `An HTTPRoute cannot say this with Istio, which takes the slash at the end away: use a VirtualService with \`rewrite: { uri: ${to}/ }\`.`;
const fixOfRedirect = (to: string): string => `Write ${JSON.stringify(to.endsWith("/") ? to.slice(0, -1) : `${to}/`)}.`;

/** A destination whose application gets two slashes, although all proxies merge them; undefined: none is known. */
function withoutSidecars(
  { i, isRedirect }: Replaced,
  route: VirtualService | ObjectOf<"KubernetesRoute">,
  mesh: View,
): Definition | undefined {
  // Whoever follows a redirect asks a proxy again. Only redirects of the Gateway API end with a slash.
  if (isRedirect || route.kind !== "VirtualService") return undefined;
  const isAtGatewaysOnly = !isDelegate(route) && !gatewaysOf(route).has(meshGateway);
  for (const { destination } of route.spec.http[i]?.route ?? []) {
    const host = fullHost(destination.host, route.metadata.namespace, mesh.settings.domain);
    const found = mesh
      .get(registeredHost, host)
      .definitions.find((one) => isWithoutSidecars(one, mesh) && !(isAtGatewaysOnly && isBehindWaypoint(one, mesh)));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether gateways send requests for it to a waypoint, which merges slashes as a sidecar does; clients with a sidecar pass it by. */
function isBehindWaypoint(definition: Definition, mesh: View): boolean {
  if (definition.kind !== "Service") return false;
  const [namespace] = mesh.related(namespaceOfService, definition);
  if (namespace === undefined || !isForGateways(definition.metadata.labels, namespace)) return false;
  return isUsable(waypointBindingOfService(definition, namespace, mesh));
}

/** Whether nothing that merges slashes is between the route and what answers: ztunnel reads no paths. */
function isWithoutSidecars(definition: Definition, mesh: View): boolean {
  if (definition.kind === "ServiceEntry")
    return definition.spec.workloadSelector === undefined && definition.spec.location !== "MESH_INTERNAL";
  const { selector, type } = definition.spec;
  if (type === "ExternalName" || Object.keys(selector).length === 0 || !mesh.knowsAll("Workload")) return false;
  const [namespace] = mesh.related(namespaceOfService, definition);
  const pods = namespace && mesh.get(captured, namespace);
  // A gateway is a proxy itself.
  return pods !== undefined && pods.isWithoutSidecars(selector) && pods.proxies.selected(selector).length === 0;
}
