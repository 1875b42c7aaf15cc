import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { isDelegate } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { setting } from "../../view/view.ts";

export const routesRewriteSlashMismatch = defineRule({
  id: "routes-rewrite-slash-mismatch",
  subject: ["VirtualService", "KubernetesRoute"],
  reads: [setting("mergesSlashes")],
  onlyWithFields: ["spec.http.rewrite", "spec.http.redirect", "spec.rules.filters"],
  worksWithout: ["VirtualService", "KubernetesRoute"],
  mode: "warn",
  since: "0.1.0",
  // What the application makes of such a path is not known.
  stage: "trial",
  summary: "A route replaces a prefix so that two slashes meet in the path, or none is left between its parts.",
  why: "Envoy replaces the characters of the prefix and keeps the rest of the path as it is (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination, PrefixRewrite). With `prefix: /common` and `uri: /`, `/common/api` becomes `//api`; with `prefix: /api/` and `uri: /v2`, `/api/items` becomes `/v2items`. Of an HTTPRoute, whose prefixes end at a slash, that is so for the prefix `/`, and for redirects (pilot/pkg/config/kube/gateway/conversion.go createRewriteFilter, createRedirectFilter).",
  fix: "Let both end with a slash, or neither.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The application answers 404, and its log shows the path with `//`, or with two parts that have grown together. The access log of the proxy has the flag `-` and `via_upstream`.",
    wayOut: "Correct the prefix or the rewrite; proxies have the route within seconds.",
    silentWhen:
      "An earlier match takes the paths that go on with a slash, the mesh config merges slashes (`pathNormalization`), the route rewrites by a regular expression, or a delegate leaves the prefix to the route that names it.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(route, { settings }) {
    if (!isServed(route, settings)) return;
    for (const one of route.kind === "VirtualService" ? ofVirtualService(route) : ofKubernetesRoute(route)) {
      const joined = settings.mergesSlashes && one.to.endsWith("/") ? undefined : joint(one);
      yield joined && { at: one.at, ...joined, key: JSON.stringify([one.prefix, one.to]) };
    }
  },
});

interface Replaced {
  readonly prefix: string;
  readonly to: string;
  readonly at: Path;
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
  for (const [i, { match, rewrite, redirect, directResponse }] of virtualService.spec.http.entries()) {
    const to = rewrite?.uriRegexRewrite === undefined ? rewrite?.uri : undefined;
    const at = ["spec", "http", i, "rewrite", "uri"];
    const isAnswered = redirect !== undefined || directResponse !== undefined;
    for (const prefix of prefixesOf(match, isDelegate(virtualService))) {
      if (to && !isAnswered && !earlier.has(`${prefix}/`)) yield { prefix, to, at };
      earlier.add(prefix);
    }
  }
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
    for (const [j, filter] of filters.entries())
      for (const prefix of prefixes) yield* ofFilter(filter, prefix, ["spec", "rules", i, "filters", j]);
  }
}

type Filter = ObjectOf<"KubernetesRoute">["spec"]["rules"][number]["filters"][number];

/** A prefix ends at a slash, except that of all paths; a slash at the end of what replaces it counts in redirects only. */
function* ofFilter({ urlRewrite, requestRedirect }: Filter, prefix: string, at: Path): Iterable<Replaced> {
  const rewritten = urlRewrite?.path?.replacePrefixMatch?.replace(/\/$/, "");
  const redirected = requestRedirect?.path?.replacePrefixMatch;
  // Without anything in its place, the prefix is removed with its slash.
  if (rewritten && prefix === "/")
    yield { prefix, to: rewritten, at: [...at, "urlRewrite", "path"], fix: fixOfRoot(rewritten) };
  if (redirected)
    yield { prefix, to: redirected, at: [...at, "requestRedirect", "path"], fix: fixOfRedirect(redirected) };
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
