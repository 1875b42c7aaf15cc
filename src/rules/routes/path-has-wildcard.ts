import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { isServed } from "../../mesh/objects/revision.ts";

type Route = ObjectOf<"VirtualService" | "KubernetesRoute">;

export const routesPathHasWildcard = defineRule({
  id: "routes-path-has-wildcard",
  subject: ["VirtualService", "KubernetesRoute"],
  reads: [],
  worksWithout: ["VirtualService", "KubernetesRoute"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "A path or a host that is compared as text contains a `*`, which routes do not know as a wildcard.",
  why: "Envoy compares `exact` and `prefix` character by character (Istio pilot/pkg/networking/core/route/route.go TranslateRouteMatch, pilot/pkg/config/kube/gateway/conversion.go createURIMatch), so only requests that have the `*` themselves match. What the route was meant for takes the next one, or 404.",
  fix: "Write the beginning alone: `prefix: /api/`, or type PathPrefix. For a `*` in the middle, use a regular expression.",
  incident: {
    symptoms: ["no-route", "other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests for the path go where they would go without the match.",
    wayOut: "Remove the `*` from a prefix, or apply the previous version of the route.",
    silentWhen: "The path is a regular expression, or the `*` is in a header or a query parameter.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(route, { settings }) {
    if (!isServed(route, settings)) return;
    for (const { text, at } of textsOf(route))
      if (text?.includes("*"))
        yield {
          at,
          message: `${JSON.stringify(text)} matches only requests that contain a "*" there: it is no wildcard`,
          ...(isBeginning(text, at) ? { fix: `Write ${JSON.stringify(text.slice(0, -1))}.` } : {}),
        };
  },
});

/** Without the `*` at its end, a prefix is what was meant. */
const isBeginning = (text: string, at: Path): boolean =>
  (at.at(-1) === "prefix" || at.at(-1) === "value") && text.indexOf("*") === text.length - 1 && text.length > 1;

interface Text {
  readonly text: string | undefined;
  readonly at: Path;
}
const textsOf = (route: Route): readonly Text[] =>
  route.kind === "VirtualService" ? textsOfVirtualService(route) : textsOfKubernetesRoute(route);

const textsOfVirtualService = ({ spec }: ObjectOf<"VirtualService">): readonly Text[] =>
  spec.http.flatMap(({ match }, i) =>
    match.flatMap((one, j) =>
      (["uri", "authority"] as const).flatMap((field) =>
        (["exact", "prefix"] as const).map((by) => ({
          text: one[field]?.[by],
          at: ["spec", "http", i, "match", j, field, by],
        })),
      ),
    ),
  );

const textsOfKubernetesRoute = ({ spec }: ObjectOf<"KubernetesRoute">): readonly Text[] =>
  spec.rules.flatMap(({ matches }, i) =>
    matches.map(({ path }, j) => ({
      text: path?.type === "RegularExpression" ? undefined : path?.value,
      at: ["spec", "rules", i, "matches", j, "path", "value"],
    })),
  );
