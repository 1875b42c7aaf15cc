// Which HTTP route of a VirtualService one request follows, read from Istio's API as plainly as possible. It is the second opinion
// for src/mesh/requests/routes.ts.

import type { PlainRequest } from "../authorization/requests/interpreter.ts";

export interface PlainStringMatch {
  readonly exact?: string;
  readonly prefix?: string;
  readonly regex?: string;
}
export interface PlainRoute {
  readonly match: readonly {
    readonly uri?: PlainStringMatch;
    readonly method?: PlainStringMatch;
    readonly headers?: Readonly<Record<string, PlainStringMatch>>;
    readonly withoutHeaders?: Readonly<Record<string, PlainStringMatch>>;
  }[];
}

/** The position of the first route that matches; undefined: none does. Headers have one value at most. */
export function routeOf(request: PlainRequest, routes: readonly PlainRoute[]): number | undefined {
  const found = routes.findIndex(({ match }) => match.length === 0 || match.some((one) => isMatched(one, request)));
  return found < 0 ? undefined : found;
}

function isMatched(
  { uri, method, headers = {}, withoutHeaders = {} }: PlainRoute["match"][number],
  request: PlainRequest,
): boolean {
  const valueOf = (name: string) => request.headers[name]?.[0];
  return (
    isLike(uri, request.path) &&
    isLike(method, request.method) &&
    Object.entries(headers).every(
      ([name, asked]) => valueOf(name) !== undefined && isLike(asked, valueOf(name) ?? ""),
    ) &&
    !Object.entries(withoutHeaders).some(
      // What is not there counts as empty, unless only presence is asked for.
      ([name, asked]) => isLike(asked, valueOf(name) ?? ""),
    )
  );
}

function isLike(asked: PlainStringMatch | undefined, text: string): boolean {
  if (asked?.exact !== undefined) return text === asked.exact;
  if (asked?.prefix !== undefined) return text.startsWith(asked.prefix);
  return asked?.regex === undefined || new RegExp(`^(?:${asked.regex})$`).test(text);
}
