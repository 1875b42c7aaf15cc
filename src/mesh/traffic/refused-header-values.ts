import type { Path } from "../../kube/read.ts";
import { endsVariables, faultOfHeaderValue, type ValueFault } from "./header-values.ts";
import type { HttpRoute, VirtualService } from "./virtual-services.ts";

/** A value that istiod accepts, and that Envoy rejects the route configuration for. */
export interface RefusedValue extends ValueFault {
  readonly at: Path;
  readonly name: string;
  readonly value: string;
}

/**
 * The values of headers in a VirtualService of which istiod's webhook asks only that all variables end (Istio
 * pkg/config/validation/validation.go ValidateHTTPHeaderValue).
 */
export function* refusedHeaderValues({ spec }: VirtualService): Iterable<RefusedValue> {
  for (const [i, { headers, redirect, route }] of spec.http.entries()) {
    const at = ["spec", "http", i];
    yield* refusedIn(headers, [...at, "headers"]);
    if (redirect !== undefined) continue;
    for (const [j, destination] of route.entries())
      yield* refusedIn(destination.headers, [...at, "route", j, "headers"]);
  }
}

const lists = [
  ["request", "set"],
  ["request", "add"],
  ["response", "set"],
  ["response", "add"],
] as const;

function* refusedIn(headers: HttpRoute["headers"], at: Path): Iterable<RefusedValue> {
  for (const [message, list] of lists)
    for (const [name, value] of Object.entries(headers?.[message]?.[list] ?? {})) {
      const fault = isLeftOut(name) || !endsVariables(value) ? undefined : faultOfHeaderValue(value);
      if (fault !== undefined) yield { ...fault, at: [...at, message, list, name], name, value };
    }
}

/** istiod takes the host out (Istio pilot/pkg/networking/core/route/route.go isInternalHeader). */
const isLeftOut = (name: string): boolean => name.startsWith(":") || name.toLowerCase() === "host";
