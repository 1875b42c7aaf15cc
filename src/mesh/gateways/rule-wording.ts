import { pathOf, type RouteOrigin } from "./converted-rules.ts";

const pathKinds: Readonly<Record<string, string>> = {
  Exact: "path",
  PathPrefix: "path prefix",
  RegularExpression: "path expression",
};

/** The first conditions of the match of a rule; undefined: it has none. */
export function ruleMatchInWords(origin: Pick<RouteOrigin, "object" | "match">): string | undefined {
  const { match } = origin;
  if (match === undefined) return undefined;
  const path = pathOf(origin);
  const { method, headers, queryParams } = match;
  const conditions = [
    ...(path === undefined || (path.type === "PathPrefix" && path.value === "/")
      ? []
      : [`${pathKinds[path.type] ?? path.type} "${path.value}"`]),
    ...(typeof method === "string" ? [method] : []),
    ...headers.map(({ name, value }) => `header ${name}=${value}`),
    ...queryParams.map(({ name, value }) => `parameter ${name}=${value}`),
  ];
  return conditions.length === 0 ? undefined : conditions.slice(0, 4).join(", ");
}
