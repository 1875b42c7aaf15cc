import type { Clause } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Lists } from "../authorization/requests/lists.ts";
import { headerPatternOf } from "../authorization/requests/patterns.ts";
import { methodsOf, pathsOf } from "../authorization/requests/proxy-matches.ts";

/** Requests as users write them in intents, on the command line and in tests. An empty list is no condition. */
export interface WrittenRequests {
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  /** As in an AuthorizationPolicy: exact, `/x*`, `*x`, `/x/{*}`, `/x/{**}`. */
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
  /** One of the values for each header. */
  readonly headers?: Readonly<Record<string, readonly string[]>>;
}

/** The conditions of these requests, with the meaning that the same values have in a rule of an AuthorizationPolicy. */
export function conditionsOf({ methods, notMethods, paths, notPaths, headers = {} }: WrittenRequests): Clauses {
  const clauses: Clause[] = [];
  const add = (attribute: "method" | "path", values: readonly string[] | undefined, not: boolean) => {
    if (values === undefined || values.length === 0) return;
    clauses.push({ attribute, values: attribute === "method" ? methodsOf(values) : pathsOf(values), not });
  };
  add("method", methods, false);
  add("method", notMethods, true);
  add("path", paths, false);
  add("path", notPaths, true);
  for (const [name, values] of Object.entries(headers))
    clauses.push({
      attribute: `header ${name.toLowerCase()}`,
      values: new Lists(values.map(headerPatternOf)),
      not: false,
    });
  return clauses;
}

/**
 * Why istiod would refuse a path of an AuthorizationPolicy, or would not read it as it looks; undefined: nothing
 * (Istio pkg/config/security/security.go CheckValidPathTemplate).
 */
export function pathFault(path: string): string | undefined {
  const isTemplate = path.includes("{*}") || path.includes("{**}");
  let isRestRead = false;
  for (const segment of path.replaceAll(/^\/|\/$/g, "").split("/")) {
    const isOperator = segment === "{*}" || segment === "{**}";
    if (isOperator && isRestRead) return "{**} has to be the last operator";
    if (segment === "{**}") isRestRead = true;
    if (isOperator) continue;
    if (/[{}]/.test(segment)) return "{*} and {**} have to be whole segments, and other braces are not possible";
    if (isTemplate && segment.includes("*")) return "* cannot be combined with {*} and {**}";
  }
  if (!isTemplate && /[^*]\*[^*]/.test(path))
    return "a * between other characters stands for itself; write {*} for one segment";
  if (!/^[/*]/.test(path)) return "a path starts with /";
  return /[?#]/.test(path) ? "a path has no query and no fragment" : undefined;
}
