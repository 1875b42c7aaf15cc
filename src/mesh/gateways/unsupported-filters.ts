import type { Path } from "../../kube/read.ts";
import { type KubernetesRoute, weightOf } from "./routes.ts";

/** A filter that istiod does not know. */
export interface UnsupportedFilter {
  readonly at: Path;
  readonly type: string;
}

type Rule = KubernetesRoute["spec"]["rules"][number];

/**
 * The filters of an HTTPRoute or a GRPCRoute for which istiod drops all its rules, those of extensions among them. A backend can change
 * headers alone, and counts if it has a weight (Istio pilot/pkg/config/kube/gateway/conversion.go convertHTTPRoute, convertGRPCRoute,
 * buildHTTPDestination, buildGRPCDestination).
 */
export const unsupportedFilters = ({ originKind, spec }: KubernetesRoute): readonly UnsupportedFilter[] =>
  spec.rules.flatMap((rule, i) => {
    const known = originKind === "GRPCRoute" ? filtersOfGrpc : filtersOfHttp;
    const own = unknownAmong(rule.filters, known, ["spec", "rules", i, "filters"]);
    return [...own, ...ofBackends(rule, ["spec", "rules", i, "backendRefs"])];
  });

const ofBackends = ({ backendRefs }: Rule, at: Path): readonly UnsupportedFilter[] =>
  backendRefs.flatMap((ref, j) =>
    weightOf(ref) > 0 ? unknownAmong(ref.filters, filtersOfBackend, [...at, j, "filters"]) : [],
  );

const unknownAmong = (
  filters: readonly { readonly type: string }[],
  known: ReadonlySet<string>,
  at: Path,
): readonly UnsupportedFilter[] =>
  filters.flatMap(({ type }, i) => (known.has(type) ? [] : [{ at: [...at, i, "type"], type }]));

const filtersOfBackend: ReadonlySet<string> = new Set(["RequestHeaderModifier", "ResponseHeaderModifier"]);
const filtersOfGrpc: ReadonlySet<string> = new Set([...filtersOfBackend, "RequestMirror"]);
const filtersOfHttp: ReadonlySet<string> = new Set([...filtersOfGrpc, "RequestRedirect", "URLRewrite", "CORS"]);
